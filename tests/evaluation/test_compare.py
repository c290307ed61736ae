# SPDX-License-Identifier: Apache-2.0
"""Errors per case and landmark, checked by hand; presence is never turned into an error."""

from __future__ import annotations

import csv
import json

import pytest

from auto3dlandmark import LandmarkError, LandmarkSet, write_landmarks
from auto3dlandmark.data.datalist import Case
from auto3dlandmark.evaluation.compare import evaluate
from auto3dlandmark.evaluation.tables import write_evaluation
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
    assert [summary[f"sdr_{t}mm"] for t in (2, 3, 4)] == pytest.approx([33.33, 66.67, 66.67])


def test_presence_is_counted_and_unknown_is_not(folders):
    assert evaluate(folders[0], NAMES, folders[1]).summary()["presence"] == {
        "present_found": 3,
        "present_missed": 1,
        "absent_recognised": 0,
        "absent_but_predicted": 1,
    }


def test_the_worst_points_come_first(folders):
    evaluation = evaluate(folders[0], NAMES, folders[1])
    assert evaluation.summary()["worst"][0] == {"case": "one", "landmark": "A", "error_mm": 5}
    assert [row["case"] for row in evaluation.per_case()] == ["one", "two"]
    assert evaluation.per_case()[0]["worst_landmark"] == "A"


def test_the_tables_are_written(folders, tmp_path):
    write_evaluation(tmp_path / "out", evaluate(folders[0], NAMES, folders[1], thresholds_mm=(2.5,)))
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["sdr_2.5mm"] == pytest.approx(33.33)
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
