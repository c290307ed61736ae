# SPDX-License-Identifier: Apache-2.0
"""What holds for every landmark file: a round trip loses nothing, and no bytes make a reader fail in another
way."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auto3dlandmark import LandmarkError, LandmarkSet, read_landmarks, write_landmarks
from auto3dlandmark.formats import SUFFIXES
from auto3dlandmark.landmarks import PRESENT

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)
TOKENS = [b"null", b"[]", b"{}", b"1e999", b"-1", b'"', b",", b"\n", b"#", b"nan", b"true", b"[[[", b"0"]
POINTS = st.lists(NUMBERS, min_size=3, max_size=3)


@st.composite
def landmark_sets(draw):
    names = draw(st.lists(NAMES, unique=True, max_size=6))
    status = draw(st.lists(st.integers(0, 2), min_size=len(names), max_size=len(names)))
    points = [draw(POINTS) if state == PRESENT else [np.nan] * 3 for state in status]
    scores = [draw(st.one_of(st.just(np.nan), st.floats(0, 1))) for _ in names]
    return LandmarkSet(names, np.array(points).reshape(-1, 3), np.array(status, int), np.array(scores, float))


@pytest.mark.parametrize("suffix", SUFFIXES)
@QUICK
@given(landmarks=landmark_sets())
def test_a_round_trip_loses_nothing(suffix, landmarks):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"case{suffix}"
        write_landmarks(path, landmarks)
        found = read_landmarks(path)
    assert found.names == landmarks.names
    assert found.status.tolist() == landmarks.status.tolist()
    np.testing.assert_allclose(found.points, landmarks.points, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.scores, landmarks.scores, rtol=1e-5, atol=1e-300)


def valid_files() -> dict[str, bytes]:
    folder = Path(__file__).parents[1] / "data"
    return {suffix: (folder / f"four_points{suffix}").read_bytes() for suffix in SUFFIXES}


@st.composite
def broken_files(draw, suffix):
    """A good file with pieces cut out, doubled, swapped for others or overwritten."""
    content = bytearray(valid_files()[suffix])
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 30)))
        kind = draw(st.sampled_from(["cut", "double", "bytes", "token"]))
        piece = bytes(content[start:end])
        new = {
            "cut": b"",
            "double": piece * 2,
            "bytes": draw(st.binary(max_size=8)) if kind == "bytes" else b"",
            "token": draw(st.sampled_from(TOKENS)) if kind == "token" else b"",
        }[kind]
        content[start:end] = new
    return bytes(content)


@pytest.mark.parametrize("suffix", SUFFIXES)
@QUICK
@given(data=st.data())
def test_a_broken_file_is_read_or_refused_and_nothing_else(suffix, data):
    read_or_refuse(suffix, data.draw(st.one_of(broken_files(suffix), st.binary(max_size=200))))


def read_or_refuse(suffix: str, content: bytes) -> bool:
    """Whether the bytes are read; any other error than LandmarkError is a failure."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"case{suffix}"
        path.write_bytes(content)
        try:
            read_landmarks(path)
        except LandmarkError as error:
            assert str(path) in str(error)
            return False
    return True
