# SPDX-License-Identifier: Apache-2.0
"""Errors per case and landmark, checked by hand; presence is never turned into an error."""

from __future__ import annotations

import csv
import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark import LandmarkError, LandmarkSet, read_landmarks, write_landmarks
from auto3dlandmark.data.datalist import Case
from auto3dlandmark.estimates import Estimates
from auto3dlandmark.evaluation.baseline import mean_position_error
from auto3dlandmark.evaluation.compare import evaluate
from auto3dlandmark.evaluation.tables import summary_text, write_evaluation
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN

NAN = [float("nan")] * 3
NAMES = ("A", "B", "C")


def put(folder, case, points, status=None):
    write_landmarks(folder / f"{case}.mrk.json", LandmarkSet(NAMES, points, status))


@pytest.fixture
def folders(tmp_path):
    """Two cases: errors 5 and 3 mm in one, 1 mm in the other; the rest absent or unknown."""
    truth, predictions = tmp_path / "landmarks", tmp_path / "predictions"
    put(truth, "one", [[0, 0, 0], [10, 0, 0], NAN], [PRESENT, PRESENT, UNKNOWN])
    put(predictions, "one", [[3, 4, 0], [11, 2, 2], [5, 5, 5]])
    put(truth, "two", [[0, 0, 0], NAN, [7, 7, 7]], [PRESENT, ABSENT, PRESENT])
    put(predictions, "two", [[0, 0, 1], [9, 9, 9], NAN], [PRESENT, PRESENT, ABSENT])
    cases = [Case(case, truth / f"{case}.nii.gz", truth / f"{case}.mrk.json") for case in ("one", "two")]
    return cases, predictions


def test_the_summary_averages_all_compared_points(folders):
    summary = evaluate(folders[0], NAMES, folders[1]).summary()
    assert summary["points_compared"] == 3
    assert summary["mre_mm"] == 3  # (5 + 3 + 1) / 3
    assert summary["median_mm"] == 3
    assert summary["macro_mre_mm"] == 3  # landmark A: (5 + 1) / 2, landmark B: 3, C has none
    assert summary["std_mm"] == pytest.approx(1.633, abs=1e-3)
    assert [summary[f"sdr_{t}mm"] for t in (2, 3, 4)] == [
        25,
        50,
        50,
    ]  # one of four is missed


def test_presence_is_counted_and_unknown_is_not(folders):
    assert evaluate(folders[0], NAMES, folders[1]).summary()["presence"] == {
        "present_found": 3,
        "present_missed": 1,
        "absent_recognised": 0,
        "absent_but_predicted": 1,
        "f1_absent": 0.0,
        "accuracy": 0.6,
    }


def test_cases_that_look_otherwise_are_named(folders, tmp_path):
    cases, predictions = folders
    for case, odd in (("one", 0.4), ("two", 3.25)):
        estimates = dataclasses.replace(Estimates.unknown(3), unusual=odd)
        points = read_landmarks(predictions / f"{case}.mrk.json")
        told = LandmarkSet(NAMES, points.points, points.status, points.scores, estimates)
        write_landmarks(predictions / f"{case}.mrk.json", told)
    evaluation = evaluate(cases, NAMES, predictions)
    assert evaluation.summary()["unusual_cases"] == {"two": 3.25}
    assert {row["case"]: row["unusual"] for row in evaluation.per_case()} == {"one": 0.4, "two": 3.25}
    write_evaluation(tmp_path / "out", evaluation)
    assert "do not look like the training images (usual is below 1): two (3.2)" in summary_text(
        tmp_path / "out", "test"
    )


def test_the_worst_points_come_first(folders):
    evaluation = evaluate(folders[0], NAMES, folders[1])
    assert evaluation.summary()["worst"][0] == {"case": "one", "landmark": "A", "error_mm": 5}
    assert [row["case"] for row in evaluation.per_case()] == ["one", "two"]
    assert evaluation.per_case()[0]["worst_landmark"] == "A"


def test_the_tables_are_written(folders, tmp_path):
    write_evaluation(tmp_path / "out", evaluate(folders[0], NAMES, folders[1], thresholds_mm=(2.5,)))
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["sdr_2.5mm"] == 25
    with open(tmp_path / "out" / "per_landmark.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["landmark"] for row in rows] == list(NAMES)
    assert float(rows[0]["mre_mm"]) == 3 and rows[2]["mre_mm"] == ""
    with open(tmp_path / "out" / "per_case.csv", newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == ["one", "two"]


def test_cases_without_a_prediction_are_left_out(folders):
    (folders[1] / "two.mrk.json").unlink()
    assert evaluate(folders[0], NAMES, folders[1]).cases == ("one",)


def test_predictions_of_other_landmarks_are_refused(folders):
    write_landmarks(folders[1] / "one.mrk.json", LandmarkSet(["X"], [[0, 0, 0]]))
    with pytest.raises(LandmarkError, match=r"one\.mrk\.json: has none of the dataset's landmarks \(A, B, C"):
        evaluate(folders[0], NAMES, folders[1])


def test_an_empty_or_missing_folder_is_named(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LandmarkError, match="empty: holds no prediction"):
        evaluate(folders[0], NAMES, tmp_path / "empty")
    with pytest.raises(LandmarkError, match="nowhere: there is no such folder"):
        evaluate(folders[0], NAMES, tmp_path / "nowhere")


@pytest.mark.parametrize("thresholds", [(), (0,), (-2, 3)])
def test_thresholds_must_be_positive(folders, thresholds):
    with pytest.raises(LandmarkError, match="thresholds_mm"):
        evaluate(folders[0], NAMES, folders[1], thresholds)


def test_presence_is_counted_for_each_landmark_and_each_case(folders):
    evaluation = evaluate(folders[0], NAMES, folders[1])
    counts = ("present", "found", "missed", "false")
    by_landmark = {row["landmark"]: [row[key] for key in counts] for row in evaluation.per_landmark()}
    assert by_landmark == {"A": [2, 2, 0, 0], "B": [1, 1, 0, 1], "C": [1, 0, 1, 0]}
    by_case = {row["case"]: [row[key] for key in counts] for row in evaluation.per_case()}
    assert by_case == {"one": [2, 2, 0, 0], "two": [2, 1, 1, 1]}


def test_a_missed_point_is_not_detected(folders):
    (row,) = (row for row in evaluate(folders[0], NAMES, folders[1]).per_landmark() if row["landmark"] == "C")
    assert row["sdr_4mm"] == 0 and row["mre_mm"] is None


def test_the_table_says_which_landmark_has_no_error_and_why(folders, tmp_path):
    put(tmp_path / "landmarks", "two", [[0, 0, 0], NAN, NAN], [PRESENT, ABSENT, UNKNOWN])
    write_evaluation(tmp_path / "out", evaluate(folders[0], NAMES, folders[1]))
    assert "no error for 'C': it is present in none of these cases" in summary_text(tmp_path / "out", "cases")


def test_the_mean_position_of_the_other_cases_is_told(tmp_path):
    """Three images of one size and different origins; landmark A lies 3 mm off in one of them."""
    cases, truth = [], tmp_path / "landmarks"
    for number, shift in enumerate((0, 0, 3)):
        affine = np.eye(4)
        affine[:3, 3] = 100 * number
        image = tmp_path / f"{number}.nii.gz"
        nib.save(nib.Nifti1Image(np.zeros((9, 9, 9), np.uint8), affine), image)
        point = np.array([4.0 + shift, 4, 4]) + 100 * number
        put(truth, str(number), [point, NAN, NAN])
        cases.append(Case(str(number), image, truth / f"{number}.mrk.json"))
    # The others' mean is off by 1.5, 1.5 and 3 mm.
    assert mean_position_error(cases, {"0", "1", "2"}, NAMES) == pytest.approx(2)
    assert mean_position_error(cases, {"2"}, NAMES) == pytest.approx(3)
    assert mean_position_error(cases[:1], {"0"}, NAMES) is None
