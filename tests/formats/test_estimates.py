# SPDX-License-Identifier: Apache-2.0
"""What a prediction says of itself survives every format of landmarks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from auto3dlandmark.estimates import Estimates
from auto3dlandmark.formats import SUFFIXES, read_landmarks, write_landmarks
from auto3dlandmark.landmarks import ABSENT, PRESENT, LandmarkSet


@pytest.fixture
def prediction():
    nowhere = np.full(3, np.nan)
    covariance = np.array([[[1.0, 0.2, 0.1], [0.2, 2.0, 0.3], [0.1, 0.3, 3.0]], np.full((3, 3), np.nan)])
    known = Estimates(
        np.array([0.98, 0.03]),
        np.array([[0.5, 1.5, 2.5], nowhere]),
        covariance,
        np.array([[1.5, -2.0, 3.25], [40.0, 50.0, 60.0]]),
        ("moved 0.5 mm: its own peak does not fit", "outside the image"),
        0.75,
    )
    points = np.array([[1.0, -2.0, 3.25], nowhere])
    return LandmarkSet(["tip", "root, left"], points, [PRESENT, ABSENT], [0.9, 0.1], known)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_estimates_come_back(prediction, tmp_path, suffix):
    write_landmarks(tmp_path / f"case{suffix}", prediction)
    again = read_landmarks(tmp_path / f"case{suffix}")
    assert again.status.tolist() == prediction.status.tolist()
    for key in ("probability", "radii_mm", "covariance", "peaks"):
        np.testing.assert_allclose(
            getattr(again.estimates, key), getattr(prediction.estimates, key), rtol=1e-5, err_msg=key
        )
    assert again.estimates.notes == prediction.estimates.notes and again.estimates.unusual == 0.75


def test_slicer_gets_the_radii_as_a_measurement(prediction, tmp_path):
    write_landmarks(tmp_path / "case.mrk.json", prediction)
    radius, unusual = json.loads((tmp_path / "case.mrk.json").read_text())["markups"][0]["measurements"]
    assert radius["name"] == "radius95" and radius["controlPointValues"] == [2.5, 0.0]
    assert unusual["name"] == "unusual" and unusual["value"] == 0.75


def test_points_without_estimates_have_none(four_points, tmp_path):
    write_landmarks(tmp_path / "case.mrk.json", four_points)
    assert read_landmarks(tmp_path / "case.mrk.json").estimates is None


def test_a_selection_keeps_what_is_known(prediction):
    chosen = prediction.select(["new", "tip"])
    assert np.isnan(chosen.estimates.probability[0]) and chosen.estimates.probability[1] == 0.98
    assert chosen.estimates.notes == ("", "moved 0.5 mm: its own peak does not fit")
    assert chosen.columns()["moved_mm"][1] == 0.5
