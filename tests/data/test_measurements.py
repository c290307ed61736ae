# SPDX-License-Identifier: Apache-2.0
"""Lengths and angles are measured in the world, and unknown where a landmark is."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from auto3dlandmark import LandmarkError, LandmarkSet, read_landmarks, write_landmarks
from auto3dlandmark.cli import main
from auto3dlandmark.data.measurements import (
    Measurement,
    compare_measurements,
    half_width,
    measure,
    read_measurements,
    summarise_measurements,
)
from auto3dlandmark.estimates import Estimates
from auto3dlandmark.files import read_json, write_json

NAMES = ("a", "b", "c", "gone")
LENGTH = Measurement("ab", "lengths", ("a", "b"))
ANGLE = Measurement("abc", "angles", ("a", "b", "c"))


def landmarks(a=(0, 0, 0), b=(3, 4, 0), c=(3, 4, 7)):
    return LandmarkSet(NAMES, np.array([a, b, c, [np.nan] * 3], dtype=float))


def test_a_length_and_an_angle():
    assert measure(LENGTH, landmarks()) == pytest.approx(5)
    assert measure(ANGLE, landmarks()) == pytest.approx(90)
    assert measure(ANGLE, landmarks(c=(-3, -4, 0))) == pytest.approx(0, abs=1e-5)
    assert np.isnan(measure(ANGLE, landmarks(a=(3, 4, 0))))
    assert np.isnan(measure(Measurement("x", "lengths", ("a", "gone")), landmarks()))


def test_errors_are_predicted_less_true_and_unknown_ones_do_not_count():
    missing = LandmarkSet(NAMES, np.array([[0, 0, 0], [np.nan] * 3, [1, 1, 1], [np.nan] * 3], dtype=float))
    cases = [
        ("1", landmarks(), landmarks(b=(6, 8, 0))),
        ("2", landmarks(), landmarks(b=(3, 3, 0))),
        ("3", landmarks(), missing),
    ]
    rows = compare_measurements(cases, [LENGTH])
    assert [row["error"] for row in rows] == [5, pytest.approx(18**0.5 - 5, abs=1e-4), None]
    (row,) = summarise_measurements(rows)
    assert row["cases"] == 2 and row["unit"] == "mm"
    assert row["mean_absolute_error"] == pytest.approx((5 + 5 - 18**0.5) / 2, abs=1e-3)
    assert row["bias"] == pytest.approx((5 - 5 + 18**0.5) / 2, abs=1e-3)


def test_the_file_is_read(tmp_path):
    write_json(tmp_path / "m.json", {"lengths": {"ab": ["a", "b"]}, "angles": {"abc": ["a", "b", "c"]}})
    assert read_measurements(tmp_path / "m.json", NAMES) == [LENGTH, ANGLE]


@pytest.mark.parametrize(
    "content, message",
    [
        ([], "must be an object"),
        ({"areas": {}}, "must be an object"),
        ({"lengths": ["a", "b"]}, "'lengths' must be an object"),
        ({"lengths": {"x": ["a"]}}, "'x' of 'lengths' must list 2"),
        ({"lengths": {"x": ["a", "a"]}}, "'x' of 'lengths' must list 2"),
        ({"angles": {"x": ["a", "b"]}}, "'x' of 'angles' must list 3"),
        ({"lengths": {"x": "ab"}}, "'x' of 'lengths' must list 2"),
        ({"lengths": {"x": ["a", "nose"]}}, "'x' needs the landmark 'nose'"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path, content, message):
    write_json(tmp_path / "m.json", content)
    with pytest.raises(LandmarkError, match=rf"m\.json: .*{message}"):
        read_measurements(tmp_path / "m.json", NAMES)


def test_evaluate_compares_the_measurements_of_a_dataset(demo_dataset, tmp_path, capsys):
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    for part in ("images", "landmarks"):
        (dataset / part).symlink_to(demo_dataset / part)
    write_json(dataset / "measurements.json", {"lengths": {"beads": ["bead_left", "bead_right"]}})
    for path in (demo_dataset / "landmarks").iterdir():
        truth = read_landmarks(path)
        points = truth.points.copy()
        points[truth.names.index("bead_left")] += 1.0
        write_landmarks(tmp_path / "predictions" / path.name, LandmarkSet(truth.names, points, truth.status))
    main(["evaluate", str(dataset), str(tmp_path / "predictions"), str(tmp_path / "out")])
    (row,) = read_json(tmp_path / "out" / "metrics.json")["biometry"]
    assert row["measurement"] == "beads" and row["cases"] == 5 and 0 < row["mean_absolute_error"] <= 3**0.5
    with open(tmp_path / "out" / "biometry.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6 and [row["error"] for row in rows].count("") == 1
    assert "beads: mean absolute error" in capsys.readouterr().out


def test_a_length_says_how_far_off_it_may_be():
    """Along the line between them: 3² + 4² mm² of variance are 5 mm of standard deviation."""
    covariance = np.array([np.diag([9.0, 100, 100]), np.diag([16.0, 100, 100]), np.eye(3)])
    nothing = Estimates.unknown(3)
    known = Estimates(
        nothing.probability, nothing.radii_mm, covariance, nothing.peaks, nothing.notes, nothing.unusual
    )
    points = np.array([[0.0, 0, 0], [50, 0, 0], [0, 50, 0]])
    landmarks = LandmarkSet(["a", "b", "c"], points, estimates=known)
    length = Measurement("width", "lengths", ("a", "b"))
    assert half_width(length, landmarks) == pytest.approx(1.96 * 5, rel=1e-3)
    assert np.isnan(half_width(length, LandmarkSet(["a", "b", "c"], points)))
    assert half_width(Measurement("corner", "angles", ("b", "a", "c")), landmarks) > 0
