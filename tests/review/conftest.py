# SPDX-License-Identifier: Apache-2.0
"""What the tests of reviewing share."""

from __future__ import annotations

import json

import pytest

from auto3dlandmark.formats import read_landmarks, write_landmarks
from auto3dlandmark.landmarks import LandmarkSet


@pytest.fixture
def label(write_dataset, tmp_path):
    """The bytes of a label, moved by so many millimetres."""
    source = tmp_path / "dataset" / "landmarks" / "a.mrk.json"

    def make(shift=0.0, **changes):
        found = read_landmarks(source)
        moved = LandmarkSet(found.names, found.points + shift)
        path = tmp_path / "made.mrk.json"
        write_landmarks(path, moved)
        content = json.loads(path.read_text())
        content["markups"][0].update(changes)
        return json.dumps(content).encode()

    return make
