# SPDX-License-Identifier: Apache-2.0
"""The server that shows one image tells of nothing else, and to nobody else."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request

import pytest

from auto3dlandmark import LandmarkError, LandmarkSet, read_landmarks, write_landmarks
from auto3dlandmark.reports.review_page import ViewServer


@pytest.fixture
def files(demo_dataset):
    return demo_dataset / "images" / "demo_00.nii.gz", demo_dataset / "landmarks" / "demo_00.mrk.json"


def test_it_answers_with_the_image_and_the_sets(files, tmp_path):
    image, landmarks = files
    known = read_landmarks(landmarks)
    write_landmarks(tmp_path / "other.fcsv", LandmarkSet(known.names, known.points + 1, known.status))
    server = ViewServer(image, [landmarks, tmp_path / "other.fcsv"])
    threading.Thread(target=server.run, daemon=True).start()
    try:
        address = server.url.removesuffix("?view")
        assert urllib.request.urlopen(f"{address}view/image").read() == image.read_bytes()
        page = urllib.request.urlopen(server.url)
        assert b"Landmark review" in page.read()
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        shown = json.loads(urllib.request.urlopen(f"{address}view.json").read())
        assert [one["name"] for one in shown["sets"]] == ["demo_00.mrk.json", "other.fcsv"]
        (tmp_path / "shown.mrk.json").write_text(shown["sets"][1]["text"])
        assert abs(read_landmarks(tmp_path / "shown.mrk.json").points - known.points - 1).max() < 1e-3
        for path in ("etc/passwd", "../../setup.cfg", "%2e%2e/setup.cfg", str(landmarks)):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(address + path)
        for host in ("evil.example", "evil.example:80", "", "127.0.0.1.evil.example"):
            assert server.answer_to("/view.json", host) is None
    finally:
        server.server.shutdown()


def test_what_cannot_be_shown_is_told(files, tmp_path):
    image, landmarks = files
    known = read_landmarks(landmarks)
    other = LandmarkSet((*known.names[1:], "of another atlas"), known.points, known.status)
    write_landmarks(tmp_path / "other.mrk.json", other)
    with pytest.raises(LandmarkError, match="has no 'of another atlas', unlike .*other.mrk.json"):
        ViewServer(image, [landmarks, tmp_path / "other.mrk.json"])
    with pytest.raises(LandmarkError, match="nowhere"):
        ViewServer(tmp_path / "nowhere.nii.gz", [landmarks])
    with pytest.raises(LandmarkError, match="one file of landmarks, or two"):
        ViewServer(image, [landmarks] * 3)
    first = ViewServer(image, [landmarks])
    with pytest.raises(LandmarkError, match=f"port={first.server.server_port} is taken"):
        ViewServer(image, [landmarks], first.server.server_port)
    first.server.server_close()
