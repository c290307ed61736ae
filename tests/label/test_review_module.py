# SPDX-License-Identifier: Apache-2.0
"""The Slicer module's logic through a whole review, with a scene that is not Slicer's and a server that is
real."""

from __future__ import annotations

import ast
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from LandmarkReviewLib.client import Client, ConnectionLost, Refused
from LandmarkReviewLib.points import ABSENT, PRESENT, UNKNOWN, Point, read_points, write_points
from LandmarkReviewLib.scene import Scene
from LandmarkReviewLib.session import Conflict, ReviewSession

from auto3dlandmark import read_landmarks, write_landmarks
from auto3dlandmark.landmarks import STATUSES, LandmarkSet

from .conftest import MODULE


class FakeScene(Scene):
    """Remembers what it was asked to show."""

    def __init__(self):
        self.case, self.points, self.at = None, {}, None

    def show(self, image, case, points):
        assert Path(image).read_bytes()[:2] == b"\x1f\x8b"  # a whole .nii.gz
        self.case, self.points = case, {point.name: point for point in points}

    def clear(self):
        self.case, self.points = None, {}

    def update(self, point):
        self.points[point.name] = point

    def jump(self, position):
        self.at = position


def folders(kept):
    return str(kept / "drafts"), str(kept / "images")


@pytest.fixture
def session(request, tmp_path):
    name = "own_server" if "own_server" in request.fixturenames else "server"
    made = ReviewSession(
        Client(request.getfixturevalue(name).url, "ann"), FakeScene(), *folders(tmp_path / "kept")
    )
    made.connect()
    return made


@pytest.mark.slow
def test_a_whole_review_with_a_restart_of_the_server_in_between(own_server, session, tmp_path):
    scene = session.scene
    assert session.next_case("first") == "C3HeB.FeJ_" == scene.case
    rows = session.rows()
    risks = [point.risk for point in rows]
    assert all(point.radius > 0 for point in rows) and 0 <= min(point.probability for point in rows) <= 1
    assert risks == sorted(risks, reverse=True)  # the worst first in the table
    assert [*scene.points] == session.names

    worst, second, third, fourth = (point.name for point in rows[:4])
    session.select(worst)
    assert scene.at == rows[0].position
    moved = tuple(np.add(rows[0].position, (1.5, 0, -2)))
    session.place(worst, moved)
    session.mark_absent(second)
    session.mark_unknown(third)
    session.place(fourth, (1, 2, 3))
    session.revert(fourth)
    session.select(second)
    assert scene.at == rows[1].position  # where it was
    assert [point.name for point in session.rows()] == [point.name for point in rows]

    own_server.kill()
    with pytest.raises(ConnectionLost, match="cannot be reached .* Nothing is lost"):
        session.submit()
    session.place(worst, np.add(moved, (0.25, 0, 0)))  # she goes on meanwhile
    own_server.start()
    session.submit()

    stored = read_landmarks(own_server.studies / "labels" / "final" / "C3HeB.FeJ_.mrk.json")
    np.testing.assert_allclose(
        stored.points[stored.names.index(worst)], np.add(moved, (0.25, 0, 0)), atol=1e-9
    )
    assert stored.status[stored.names.index(second)] == 2 and stored.status[stored.names.index(third)] == 0
    kept = stored.names.index(fourth)
    np.testing.assert_allclose(stored.points[kept], rows[3].position, atol=1e-9)
    assert stored.scores[kept] == pytest.approx(rows[3].score, abs=1e-5)
    assert np.isnan(stored.scores[stored.names.index(worst)])  # a person's point has no score
    assert session.unfinished() == []

    for _ in range(2):
        assert session.next_case("random") is not None
        session.submit()
    assert session.next_case("random") is None
    info = session.connect()
    assert info["datastore"]["completed"] == 3
    session.client.train(minutes=0.02)
    time.sleep(1)
    assert session.client.training()["state"] in ("starting", "preparing", "training", "comparing")
    session.client.stop_training()


def test_a_crash_of_slicer_loses_nothing(server, session, tmp_path):
    session.open("case 1")
    name = session.names[0]
    session.place(name, (10, 11, 12))
    session.mark_absent(session.names[1])
    again = ReviewSession(Client(server.url, "ann"), FakeScene(), *folders(tmp_path / "kept"))
    again.connect()
    assert again.unfinished() == ["case 1"]
    again.open("case 1")
    assert again.points[name].position == (10, 11, 12) and again.points[again.names[1]].status == ABSENT
    assert again.scene.points[name].position == (10, 11, 12) and again.edited
    again.submit()
    assert again.unfinished() == []


def test_a_conflict_keeps_both(server, session, tmp_path):
    other = ReviewSession(Client(server.url, "ben"), FakeScene(), *folders(tmp_path / "ben"))
    other.connect()
    session.open("case 2")
    other.open("case 2")
    name = session.names[2]
    session.place(name, (10, 20, 10))
    other.place(name, (12, 20, 10))
    other.submit()
    with pytest.raises(Conflict, match="somebody saved another label of 'case 2' meanwhile"):
        session.submit()
    assert session.points[name].position == (10, 20, 10) and session.unfinished() == ["case 2"]
    session.keep_mine()
    stored = read_points(session.client.label("case 2")[0])
    assert {point.name: point for point in stored}[name].position == (10, 20, 10)
    other.place(name, (14, 20, 10))
    with pytest.raises(Conflict):
        other.submit()
    other.take_theirs()
    assert other.points[name].position == (10, 20, 10) and other.unfinished() == []
    assert other.bring_back() and other.points[name].position == (14, 20, 10)
    other.submit()
    assert not other.bring_back()


def test_points_are_handed_in_on_the_image_they_were_placed_on(own_server, session):
    session.open("case 1")
    name = session.names[0]
    session.place(name, (10, 20, 10))
    path = own_server.studies / "case 1.nii.gz"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)  # another image of the same name
    with pytest.raises(Conflict, match="the image 'case 1' was replaced meanwhile"):
        session.submit()
    session.open("case 1")
    assert session.points[name].position != (10, 20, 10) and not session.edited


def test_a_change_of_the_server_closes_the_case(server, own_server, tmp_path):
    session = ReviewSession(Client(server.url, "ann"), FakeScene(), *folders(tmp_path / "kept"))
    session.connect()
    session.open("case 1")
    session.place(session.names[0], (10, 20, 10))
    with pytest.raises(ConnectionLost):
        session.connect(Client("http://127.0.0.1:9", "ann"))
    assert session.client.url == server.url and session.case == "case 1"  # nothing has changed
    session.connect(Client(own_server.url, "ann"))
    assert session.case is None and session.points == {} and session.unfinished() == []
    assert session.scene.case is None and session.scene.points == {}
    session.connect(Client(server.url, "ann"))
    assert session.unfinished() == ["case 1"]


@pytest.mark.parametrize(
    "content",
    [
        *("[]", "3", "null", '"text"', "{}", "[" * 10_000, '{"server": "SERVER"}'),
        '{"server": "SERVER", "case": 3, "base": "", "points": "[]"}',
        '{"server": "SERVER", "case": "case 2", "base": "", "mark": "MARK", "points": "{}"}',
    ],
)
def test_a_broken_draft_hides_no_other_one(server, session, content):
    session.open("case 1")
    session.place(session.names[0], (10, 20, 10))
    broken = content.replace("SERVER", server.url).replace("MARK", session.mark)
    for path in (session._draft("case 2"), Path(session.drafts, "a broken one.json")):
        Path(path).write_text(broken)
    assert session.unfinished() == ["case 1"]
    session.open("case 2")
    assert not session.edited


@pytest.fixture
def silent_server():
    """A web server that answers everything with what its ``content`` is set to."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.content)))
            self.end_headers()
            self.wfile.write(self.server.content)

        do_POST = do_PUT = do_DELETE = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"3", b"<html>"])
def test_an_answer_of_something_else_is_told(silent_server, content):
    silent_server.content = content
    client = Client(f"http://127.0.0.1:{silent_server.server_port}", "ann")
    asked = (
        client.info,
        client.cases,
        client.training,
        client.train,
        lambda: client.next_case("first"),
        lambda: client.submit("case 1", b"", ""),
    )
    for ask in asked:
        with pytest.raises(ConnectionLost, match="does not answer like a MONAI Label server"):
            ask()
    client.stop_training()  # says nothing when there is none


def test_what_is_reverted_is_no_edit(server, session):
    session.open("case 1")
    session.place(session.names[0], (10, 20, 10))
    session.revert(session.names[0])
    assert not session.edited and session.unfinished() == []


@pytest.mark.parametrize(
    "changed",
    [
        {"coordinateUnits": "um"},
        {"coordinateUnits": ["cm", "UCUM", "centimeter"]},
        {"coordinateSystem": "RAS"},
        {"coordinateSystem": "1"},
        {"point": {"positionStatus": None}},
        {"point": {"positionStatus": "Defined"}},
        {"point": {"description": 7}},
    ],
)
def test_the_module_reads_a_label_as_the_server_does(tmp_path, changed):
    document = json.loads(write_points([Point("a", (1, -2, 3), PRESENT, 0.5), Point("b", None, ABSENT)]))
    node, changed = document["markups"][0], dict(changed)
    node["controlPoints"][0].update(changed.pop("point", {}))
    node.update(changed)
    path = tmp_path / "x.mrk.json"
    path.write_text(json.dumps(document))
    theirs, ours = read_landmarks(path), read_points(path.read_bytes())
    assert [STATUSES[status] for status in theirs.status] == [point.status for point in ours]
    np.testing.assert_allclose(theirs.points[0], ours[0].position, rtol=1e-12)


def test_what_the_server_refuses_is_told_and_kept(server, session):
    session.open("case 1")
    session.place(session.names[0], (900, 0, 0))
    with pytest.raises(Refused, match="voxels outside the image"):
        session.submit()
    assert session.unfinished() == ["case 1"]
    session.revert(session.names[0])
    session.submit()


def test_another_server_has_other_images_and_drafts(server, own_server, tmp_path):
    sessions = []
    for url in (server.url, own_server.url):
        made = ReviewSession(Client(url, "ann"), FakeScene(), *folders(tmp_path / "kept"))
        made.connect()
        assert made.unfinished() == []
        made.open("case 1")
        made.place(made.names[0], (len(sessions), 20, 10))
        sessions.append(made)
    for x, made in enumerate(sessions):
        made.open("case 1")
        assert made.points[made.names[0]].position == (x, 20, 10) and made.unfinished() == ["case 1"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://nobody.invalid", "nonsense", "ftp://x"])
def test_a_wrong_address_is_told(url):
    with pytest.raises(ConnectionLost, match="cannot be reached"):
        Client(url).info()


def test_the_modules_files_are_those_of_the_package(tmp_path):
    """One writes what the other reads, to the last digit."""
    points = [
        Point("a b", (1.23456789, -2.5, 1e-7), PRESENT, 0.25),
        Point("Größe", None, ABSENT),
        Point("c", None, UNKNOWN),
        Point("d", (0, 0, 0), PRESENT),
    ]
    path = tmp_path / "x.mrk.json"
    path.write_bytes(write_points(points))
    found = read_landmarks(path)
    assert found.names == ("a b", "Größe", "c", "d") and [*found.status] == [1, 2, 0, 1]
    np.testing.assert_allclose(found.points[0], points[0].position, rtol=0, atol=1e-12)
    write_landmarks(path, LandmarkSet(found.names, found.points, found.status, found.scores))
    assert read_points(path.read_bytes()) == points


@pytest.mark.parametrize("position", [(float("nan"), 0, 0), (1, 2), None])
def test_a_present_point_has_three_numbers(position):
    with pytest.raises(ValueError):
        Point("a", position, PRESENT)


@pytest.mark.parametrize("file", sorted(path.name for path in (MODULE / "LandmarkReviewLib").glob("*.py")))
def test_the_logic_needs_nothing_but_python(file):
    """Slicer brings its own Python; only slicer_scene.py may import Slicer."""
    tree = ast.parse((MODULE / "LandmarkReviewLib" / file).read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level == 0
            else []
        )
    }
    allowed = set(sys.stdlib_module_names) | ({"slicer", "vtk"} if file == "slicer_scene.py" else set())
    assert imported <= allowed


def test_the_extension_lists_every_file_of_the_module():
    said = (MODULE / "CMakeLists.txt").read_text()
    for path in (MODULE / "LandmarkReviewLib").glob("*.py"):
        assert f"Lib/{path.name}" in said
    for path in MODULE.rglob("*.py"):
        ast.parse(path.read_text())
    assert (MODULE / "Resources" / "Icons" / "LandmarkReview.png").is_file()
