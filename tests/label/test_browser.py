# SPDX-License-Identifier: Apache-2.0
"""The review page in a real browser, against a real server."""

from __future__ import annotations

import io
import json
import shutil
import threading
import time
from urllib.parse import quote

import itk
import nibabel as nib
import numpy as np
import pytest
from LandmarkReviewLib.client import Client
from LandmarkReviewLib.points import Point, read_points, write_points
from PIL import Image

from auto3dlandmark import read_landmarks
from auto3dlandmark.data.images import read_geometry, read_image
from auto3dlandmark.geometry import voxel_to_world
from auto3dlandmark.landmarks import ABSENT, PRESENT

from .conftest import Server, fill_studies

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
# Software rendering; and nothing that Chromium asks the world for by itself.
SWITCHES = (
    "--no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader --ignore-gpu-blocklist "
    "--disable-background-networking --disable-component-update --disable-sync --no-first-run"
)
CASE = "C3HeB.FeJ_"
CHOSEN = np.array([0xF0, 0xE4, 0x42])  # the colour of the chosen landmark
OPENED = 240_000  # milliseconds: the model is loaded for the first case


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES.split())
        yield running
        running.close()


def until(page, expression, seconds=30.0):
    """Wait for something to become true; the page's policy lets nobody else evaluate text."""
    begun = time.time()
    while not page.evaluate(expression):
        assert time.time() - begun < seconds, f"{expression} stays false"
        time.sleep(0.05)


class ReviewPage:
    """The page in a browser of its own, as somebody who reviews sees it."""

    def __init__(self, browser, url):
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.url = url
        self.open()

    def open(self):
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._console)
        self.page.goto(self.url)
        until(self.page, "document.querySelector('#progress').value.includes('reviewed')")

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def next_case(self):
        self.page.select_option("#strategy", "first")
        self.page.click("#next")
        self.page.wait_for_selector("#rows tr", timeout=OPENED)
        self.settle()

    def settle(self):
        """Until nothing is being asked, and all of it is drawn."""
        until(self.page, "!window.review.busy", OPENED / 1000)
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def choose(self, name):
        self.page.click(f"#rows td:text-is('{name}')")
        self.settle()

    def said(self):
        return self.page.text_content("#said")

    def tile(self, plane):
        tiles = {tile["plane"]: tile for tile in self.page.evaluate("window.review.viewer.tiles()")}
        return tiles[plane]

    def ring(self, plane):
        """Where the chosen landmark's ring is on the screen, CSS pixels of the stage."""
        box = self.page.locator("#marks").bounding_box()
        shot = self.page.evaluate("document.querySelector('#marks').toDataURL()")
        import base64

        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(shot.partition(",")[2]))).convert("RGBA"))
        assert abs(drawn.shape[1] - box["width"]) <= 1  # one pixel for each of the page's
        tile = self.tile(plane)
        left, top = round(tile["left"]), round(tile["top"])
        part = drawn[top : top + round(tile["height"]), left : left + round(tile["width"])].astype(int)
        mine = (np.abs(part[..., :3] - CHOSEN).max(axis=2) < 40) & (part[..., 3] > 200)
        rows, columns = np.nonzero(mine)
        # The name beside it has the same colour: the ring is what is left of and below where that begins.
        point = self.page.evaluate(
            "(plane) => { const r = window.review; return r.viewer.toScreen("
            "r.open.review.get(r.chosen).position, plane); }",
            plane,
        )
        near = np.hypot(columns + left - point["x"], rows + top - point["y"]) < 9
        return columns[near].mean() + left + 0.5, rows[near].mean() + top + 0.5

    def drag(self, start, by):
        box = self.page.locator("#image").bounding_box()
        x, y = start[0] + box["x"], start[1] + box["y"]
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + by[0] / 2, y + by[1] / 2, steps=3)
        self.page.mouse.move(x + by[0], y + by[1], steps=3)
        self.page.mouse.up()
        self.settle()

    def press(self, keys):
        self.page.keyboard.press(keys)
        self.settle()

    def submit(self):
        self.page.click("#submit")
        self.settle()


@pytest.fixture
def page(own_server, browser):
    opened = ReviewPage(browser, own_server.url)
    yield opened
    opened.context.close()


def label_of(server, case=CASE):
    return read_landmarks(server.studies / "labels" / "final" / f"{case}.mrk.json")


def field_of_view(image):
    """Its edges, RAS mm, of an image whose axes are those of the world."""
    shape, affine = read_geometry(image)
    corners = voxel_to_world(np.array([[-0.5] * 3, np.array(shape) - 0.5]), affine)
    return corners.min(axis=0), corners.max(axis=0)


AXES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}  # to the right, and up


def test_a_whole_session(own_server, page):
    page.page.fill("#reviewer", "Ada <b>")
    page.next_case()
    predicted = read_points(Client(own_server.url).infer(CASE))
    assert page.page.locator("#rows tr").count() == len(predicted) == 6
    assert page.page.text_content("#case") == CASE
    low, high = field_of_view(own_server.studies / f"{CASE}.nii.gz")
    for point in predicted[:3]:
        page.choose(point.name)
        for plane, axes in AXES.items():
            tile = page.tile(plane)
            share = [(point.position[axis] - low[axis]) / (high[axis] - low[axis]) for axis in axes]
            expected = tile["left"] + share[0] * tile["width"], tile["top"] + (1 - share[1]) * tile["height"]
            edges = np.subtract(expected, (tile["left"], tile["top"]))
            if np.minimum(edges, (tile["width"], tile["height"]) - edges).min() > 8:  # else a ring is cut off
                np.testing.assert_allclose(page.ring(plane), expected, atol=0.75, err_msg=f"{point} {plane}")

    moved = predicted[2]
    tile = page.tile("axial")
    page.drag(page.ring("axial"), (20, -12))
    page.choose(predicted[1].name)
    page.press("a")
    page.choose(predicted[0].name)
    page.press("a")
    page.press("Control+z")
    page.press("Shift+ArrowRight")  # the pointer was last in the list; the plane stays
    page.press("Control+z")
    page.submit()
    assert "handed in" in page.said()
    stored = label_of(own_server)
    scale = [(high[axis] - low[axis]) / tile[side] for axis, side in ((0, "width"), (1, "height"))]
    travelled = stored[moved.name] - np.array(moved.position)
    half = 0.5 * max(scale)
    np.testing.assert_allclose(travelled[:2], [20 * scale[0], 12 * scale[1]], atol=half)
    assert abs(travelled[2]) < 1e-3
    assert stored.status[stored.names.index(predicted[1].name)] == ABSENT
    assert stored.status[stored.names.index(predicted[0].name)] == PRESENT
    np.testing.assert_allclose(stored[predicted[0].name], predicted[0].position, atol=1e-4)
    assert page.page.text_content("#progress") == "1 of 3 reviewed"
    log = (own_server.studies / "review" / "log.jsonl").read_text()
    assert "Ada <b>" in log
    assert all(url.startswith((own_server.url, "data:", "blob:")) for url in page.asked)
    assert page.complaints == []


def test_measurements_follow_a_mark(own_server, page):
    lengths = {"long <i>axis</i>": ["anterior_tip", "posterior_tip"]}
    (own_server.studies / "measurements.json").write_text(json.dumps({"lengths": lengths}))
    page.page.reload()
    page.next_case()
    before = page.page.text_content("#values td:nth-child(2)")
    assert page.page.text_content("#values td:first-child") == "long <i>axis</i>"
    page.choose("anterior_tip")
    predicted = {point.name: point for point in read_points(Client(own_server.url).infer(CASE))}
    ends = [np.array(predicted[name].position) for name in ("anterior_tip", "posterior_tip")]
    assert before == f"{np.linalg.norm(ends[0] - ends[1]):.2f} mm"
    page.drag(page.ring("sagittal"), (30, 0))
    assert page.page.text_content("#values td:nth-child(2)") != before
    page.press("a")
    assert page.page.text_content("#values td:nth-child(2)") == "-"


@pytest.mark.slow
def test_nothing_is_lost(own_server, page):
    """Neither with a server that is gone, nor with a closed tab."""
    page.next_case()
    first = page.page.locator("#rows tr td:first-child").first.text_content()
    page.choose(first)
    page.press("p")
    tile = page.tile("coronal")
    box = page.page.locator("#image").bounding_box()
    page.page.mouse.click(
        box["x"] + tile["left"] + tile["width"] / 3, box["y"] + tile["top"] + tile["height"] / 3
    )
    page.settle()
    placed = page.page.evaluate("window.review.open.review.get(window.review.chosen).position")
    own_server.stop()
    page.submit()
    assert "cannot be reached" in page.said()
    page.page.close()
    own_server.start()
    page.open()
    assert CASE in page.said()
    page.page.click("#cases")
    page.page.wait_for_selector("#listed tr")
    assert page.page.text_content(f"#listed tr:has-text('{CASE}') td:nth-child(2)") == "not handed in"
    page.page.click(f"#listed a:text-is('{CASE}')")
    page.page.wait_for_selector("#rows tr", timeout=OPENED)
    page.settle()
    assert "back" in page.said()
    page.submit()
    np.testing.assert_allclose(label_of(own_server)[first], placed, rtol=0, atol=1e-9)
    page.page.close()
    page.open()
    assert CASE not in page.said()


def test_two_reviewers_of_one_case(own_server, page):
    page.next_case()
    client = Client(own_server.url, "other")
    points = read_points(client.infer(CASE))
    other = [Point(one.name, np.array(one.position) + 1, "present") for one in points]
    client.submit(CASE, write_points(other), "")
    page.choose(points[0].name)
    page.press("a")
    page.submit()
    assert page.page.is_visible("#conflict") and "meanwhile" in page.said()
    page.page.click("#mine")
    page.settle()
    assert not page.page.is_visible("#conflict")
    stored = label_of(own_server)
    assert stored.status[stored.names.index(points[0].name)] == ABSENT
    history = list((own_server.studies / "review" / "history" / "final" / CASE).iterdir())
    assert [read_landmarks(path)[points[1].name].tolist() for path in history] == [
        pytest.approx(other[1].position)
    ]


def test_a_second_reviewer_sees_nothing_of_the_first(own_server, page):
    """Who is not to see others' points sees none of them, and how far both lie apart is told afterwards."""
    client = Client(own_server.url, "Ann")
    predicted = {point.name: point for point in read_points(client.infer(CASE))}
    first = [Point(one.name, np.array(one.position) + [3, 0, 4], "present") for one in predicted.values()]
    client.submit(CASE, write_points(first), "")
    page.page.fill("#reviewer", "Ben")
    page.page.press("#reviewer", "Tab")
    page.page.click("#cases")
    page.page.click("#listed button:text-is('Blind')")
    page.page.wait_for_selector("#rows tr", timeout=OPENED)
    page.settle()
    assert "not shown" in page.page.text_content("#origin") and not page.page.is_visible("#past")
    name = page.page.evaluate("window.review.chosen")
    shown = page.page.evaluate("window.review.open.review.get(window.review.chosen).position")
    np.testing.assert_allclose(shown, predicted[name].position, atol=1e-6)
    page.press("Shift+ArrowRight")
    page.page.reload()  # what is not handed in stays blind
    until(page.page, "window.review?.open", OPENED / 1000)
    page.settle()
    assert "back" in page.said() and not page.page.is_visible("#past")
    page.submit()
    assert "handed in" in page.said()
    page.page.click("#cases")
    page.page.wait_for_selector("#listed tr")
    apart = float(page.page.text_content(f"#listed tr:has-text('{CASE}') td:nth-child(5)"))
    assert 4 < apart < 6 and "1 of them without" in page.page.text_content("#counts")
    with page.page.expect_download() as table:
        page.page.click("text=agreement as CSV")
    rows = table.value.path().read_text().splitlines()
    assert rows[0].startswith("case,first,second,blind,landmark") and len(rows) == 1 + len(predicted)
    assert all(row.startswith(f"{CASE},Ann,Ben,True,") for row in rows[1:])
    page.page.fill("#filter", "case 1")
    assert page.page.locator("#listed tr:visible").count() == 1
    page.page.click("#listed a:visible")
    page.settle()
    assert page.page.text_content("#case") == "case 1" and page.page.url.endswith("?case=case+1")


def test_notes_and_earlier_labels_are_beside(own_server, page):
    client = Client(own_server.url, "=Ann")
    predicted = read_points(client.infer(CASE))
    moved = [Point(one.name, np.array(one.position) + [0, 0, 1.5], "present") for one in predicted]
    client.submit(CASE, write_points(moved), "")
    client.submit(CASE, write_points(predicted), client.label(CASE)[1])
    page.page.goto(f"{own_server.url}/?case={CASE}")
    until(page.page, "window.review?.open", OPENED / 1000)
    page.settle()
    assert page.page.text_content("#origin") == "Reviewed before by =Ann, one earlier version."
    page.page.click("#noted")
    titles = page.page.locator("#compared option").all_text_contents()
    assert len(titles) == 4 and titles[1].startswith("=Ann, ") and titles[3] == "the prediction"
    page.page.select_option("#compared", "1")
    apart = page.page.locator("#rows td:nth-child(4)").all_text_contents()
    assert set(apart) == {"1.50 mm"} and page.page.text_content("#between") == "Apart"
    page.page.select_option("#compared", "")
    assert page.page.text_content("#between") == "Moved"
    text = "<b>left</b> /home/of/somebody\n=1+1"
    page.page.fill("#said_of_it", text)
    page.page.click("#remark")
    page.settle()
    assert text in page.page.text_content("#remarks li") and page.page.locator("#remarks b").count() == 0
    page.page.click("#cases")
    page.page.wait_for_selector("#listed tr")
    assert page.page.text_content(f"#listed tr:has-text('{CASE}') td:last-child") == text
    table = page.page.request.get(f"{own_server.url}/datastore/cases.csv").text()
    assert ",'=Ann," in table and text in table  # a spreadsheet runs no formula
    assert page.complaints == []


def test_the_next_case_is_there_already(own_server, page):
    page.next_case()
    asked = f"datastore/image?image={quote('case 1')}"
    until(page.page, "window.review.ahead.kept !== null", OPENED / 1000)
    page.page.evaluate("window.review.ahead.kept.whole.then(() => null)")
    before = [url for url in page.asked if asked in url]
    assert len(before) == 1
    page.press("n")
    assert page.page.text_content("#case") == "case 1"
    assert [url for url in page.asked if asked in url] == before
    predicted = read_points(Client(own_server.url).infer("case 1"))
    shown = {one["name"]: one["position"] for one in page.page.evaluate("window.review.open.review.all()")}
    for point in predicted:
        np.testing.assert_allclose(shown[point.name], point.position, atol=1e-6)


@pytest.mark.slow
def test_images_of_every_kind_lie_where_the_server_says(own_server, page):
    """A folder of channels, another format, and a NIfTI file whose two geometries differ."""
    source = own_server.studies / "case 1.nii.gz"
    array, affine = read_image(source)
    array = array.astype(np.float32)
    for place in own_server.studies.glob("*.nii.gz"):
        place.unlink()
    twice = nib.Nifti1Image(array, None)
    twice.set_sform(affine, code=1)
    twice.set_qform(np.diag([3, 3, 3, 1.0]), code=2)
    nib.save(twice, own_server.studies / "two geometries.nii")
    image = itk.image_from_array(np.ascontiguousarray(array.T))
    image.SetSpacing([0.5, 1, 2])
    itk.imwrite(image, str(own_server.studies / "other.nrrd"))
    for case in ("two geometries", "other"):
        page.page.goto(f"{own_server.url}/?case={case}")
        until(page.page, "window.review?.viewer?.shown && !window.review.busy", OPENED / 1000)
        seen = page.page.evaluate("window.review.viewer.niivue.volumes[0].hdr.affine")
        kept = own_server.studies / ("other.nrrd" if case == "other" else "two geometries.nii")
        np.testing.assert_allclose(seen, read_geometry(kept)[1], atol=1e-5)
        assert "differently" not in page.said()
    for file in own_server.studies.glob("*.n*"):
        file.unlink()
    folder = own_server.studies / "channels"
    folder.mkdir()
    for number, name in enumerate(("t1", "t2")):
        nib.save(nib.Nifti1Image(array * (number + 1), affine), folder / f"channels_{name}.nii.gz")
    page.page.goto(f"{own_server.url}/?case=channels")
    until(page.page, "window.review?.viewer?.shown && !window.review.busy", OPENED / 1000)
    assert "by hand" in page.said()  # the model takes one channel
    assert page.page.locator("#channel option").count() == 2
    brightest = page.page.evaluate("window.review.viewer.window.high")
    page.page.select_option("#channel", "1")
    assert page.page.evaluate("window.review.viewer.window.high") == pytest.approx(2 * brightest, rel=0.05)
    page.press("p")
    tile, box = page.tile("axial"), page.page.locator("#image").bounding_box()
    page.page.mouse.click(
        box["x"] + tile["left"] + tile["width"] / 2, box["y"] + tile["top"] + tile["height"] / 2
    )
    page.settle()
    page.submit()
    assert "handed in" in page.said()


@pytest.mark.slow
def test_a_training_is_begun_and_followed(own_server, page):
    client = Client(own_server.url)
    for case in (CASE, "case 1", "case 2"):
        client.submit(case, client.infer(case), "")
    client.train(minutes=0.05)
    page.page.close()
    page.open()
    page.page.click("#training summary")
    ended = "/promoted|refused/.test(document.querySelector('#trained').textContent)"
    until(page.page, ended, OPENED / 1000)
    assert "held-out cases" in page.page.text_content("#trained")
    served = client.info()["models"]["landmarks"]["version"]
    until(page.page, f"document.querySelector('#version').value === '{served}'")
    page.page.select_option("#version", "0")
    page.settle()
    assert "version 0 finds" in page.said() and client.info()["models"]["landmarks"]["version"] == 0
    page.page.click("#next")
    page.settle()
    assert "all of them are reviewed" in page.said()


def test_the_page_is_accessible_and_framed_by_nobody(server, browser):
    from axe_playwright_python.sync_playwright import Axe

    page = ReviewPage(browser, server.url)
    try:
        page.next_case()
        found = Axe().run(page.page).response["violations"]
        serious = [one["id"] for one in found if one["impact"] in ("serious", "critical")]
        assert serious == []
        policy = page.page.request.get(server.url).headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
    finally:
        page.context.close()


def test_the_page_asks_for_the_token_once(browser, tmp_path):
    running = Server(fill_studies(tmp_path / "studies"), token="Zwei-Drei*Vier")
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(running.url)
        page.fill("#token", "another one")
        page.press("#token", "Enter")
        until(page, "document.querySelector('#refused').textContent.includes('another token')")
        page.fill("#token", running.token)
        page.press("#token", "Enter")
        until(page, "document.querySelector('#progress').value === '0 of 3 reviewed'")
        page.reload()
        until(page, "document.querySelector('#progress').value === '0 of 3 reviewed'")
        assert not page.is_visible("#entry")
    finally:
        context.close()
        running.stop()


def test_two_sets_are_compared_read_only(browser, tmp_path):
    """And whatever a landmark is called, it never becomes part of the page."""
    from auto3dlandmark import LandmarkSet, write_landmarks
    from auto3dlandmark.reports.review_page import ViewServer

    name = "<img src=x onerror=alert(1)>"
    (image,) = fill_studies(tmp_path / "images", 1).glob("*.nii.gz")
    shape, affine = read_geometry(image)
    middle = voxel_to_world((np.array([shape]) - 1) / 2, affine)
    for file, by in (("a", 0), ("b", 2)):
        write_landmarks(tmp_path / f"{file}.mrk.json", LandmarkSet([name], middle + [by, 0, 0]))
    server = ViewServer(image, [tmp_path / "a.mrk.json", tmp_path / "b.mrk.json"])
    threading.Thread(target=server.run, daemon=True).start()
    context = browser.new_context()
    try:
        page = context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(server.url)
        page.wait_for_selector("#rows tr")
        assert page.text_content("#rows td:nth-child(4)") == "2.00 mm"
        assert "a.mrk.json; diamonds: b.mrk.json" in page.text_content("#origin")
        assert not page.is_visible("#submit") and not page.is_visible("#next")
        assert page.text_content("#rows td") == name and page.locator("#rows img").count() == 0
        page.keyboard.press("a")
        assert page.text_content("#rows td:nth-child(4)") == "2.00 mm"
        assert complaints == []
    finally:
        context.close()
        server.server.shutdown()
