# SPDX-License-Identifier: Apache-2.0
"""The pages say what the figures say, load nothing, and take no name for code."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from auto3dlandmark.data.datalist import Case
from auto3dlandmark.evaluation.compare import evaluate
from auto3dlandmark.evaluation.comparison import comparison_rows
from auto3dlandmark.formats import read_landmarks, write_landmarks
from auto3dlandmark.landmarks import LandmarkSet
from auto3dlandmark.reports.comparison_report import write_comparison_report
from auto3dlandmark.reports.report import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for path in map(shutil.which, BROWSERS) if path), None)
EVIL = "<script>alert('x')</script> & $\\frac$ \"é\""


class Page(HTMLParser):
    """What a page shows, and what it would fetch."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.fetched = [], "", []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href", "xlink:href", "data")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def systems(write_dataset, tmp_path):
    """Eight cases of landmarks with an evil name, and two systems' predictions, one of them worse."""
    folder = write_dataset(tuple("abcdefgh"))
    random, cases = np.random.default_rng(0), []
    places = {"good": tmp_path / "good", EVIL: tmp_path / "evil"}
    for image in sorted((folder / "images").iterdir()):
        label = folder / "landmarks" / image.name.replace(".nii.gz", ".mrk.json")
        truth = read_landmarks(label)
        named = LandmarkSet((EVIL, *truth.names[1:]), truth.points)
        write_landmarks(label, named)
        for (_, place), spread in zip(places.items(), (0.5, 4.0)):
            moved = named.points + random.normal(0, spread, named.points.shape)
            write_landmarks(place / label.name, LandmarkSet(named.names, moved))
        cases.append(Case(label.name.removesuffix(".mrk.json"), image, label))
    names = (EVIL, "left_ear", "right_ear", "chin")
    return cases, places, {name: evaluate(cases, names, place) for name, place in places.items()}


@pytest.fixture
def pages(systems, tmp_path):
    cases, places, evaluations = systems
    write_report(tmp_path / "one.html", EVIL, evaluations["good"], cases, places["good"])
    rows = comparison_rows(evaluations, {"good": {"parameters": 1_234_567, "steps": 10}})
    known = {"systems": {EVIL: {"about": EVIL}, "good": {"about": "as it should be"}}, "folds": [0]}
    write_comparison_report(tmp_path / "all.html", EVIL, rows, evaluations, known, cases, places)
    return tmp_path / "one.html", tmp_path / "all.html"


def test_the_page_has_the_figures_the_charts_and_pictures_of_the_worst_cases(pages, systems):
    page, (_, _, evaluations) = Page(pages[0]), systems
    summary = evaluations["good"].summary()
    assert f"{summary['mre_mm']:.2f} mm" in page.text and f"{summary['median_mm']:.2f} mm" in page.text
    assert page.tags.count("svg") == 2 and page.tags.count("img") == 6
    assert all(name in page.text for name in ("left_ear", "right_ear", "chin", EVIL))


def test_the_comparison_says_who_is_worse(pages):
    page = Page(pages[1])
    assert "best" in page.text and "1.23 M" in page.text and "as it should be" in page.text
    assert page.tags.count("svg") == 4


def test_a_page_fetches_nothing_and_runs_nothing(pages):
    for path in pages:
        page = Page(path)
        assert "script" not in page.tags
        assert all(value.startswith(("data:image/png;base64,", "#")) for value in page.fetched)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_shows_the_page_and_asks_nobody(pages, tmp_path):
    for path in pages:
        log = tmp_path / "net.json"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        options += [
            "--enable-logging=stderr",
            f"--log-net-log={log}",
            "--dump-dom",
            f"--user-data-dir={tmp_path / 'user'}",
        ]
        shown = subprocess.run(
            [CHROMIUM, *options, path.as_uri()], capture_output=True, text=True, timeout=120
        )
        assert "<h1>" in shown.stdout and "CONSOLE" not in shown.stderr, shown.stderr
        events = json.loads(log.read_text())
        begins = events["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
        asked = [event["params"] for event in events["events"] if event["type"] == begins]
        # What the browser asks for itself has no origin.
        by_page = [one["url"] for one in asked if one.get("initiator", "not an origin") != "not an origin"]
        assert not [url for url in by_page if not url.startswith(("file:", "data:"))]
