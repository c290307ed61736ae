# SPDX-License-Identifier: Apache-2.0
"""Compare predicted landmarks with annotated ones: errors per case, per landmark, and over all.

Only landmarks that are present in both count towards the error; those predicted absent, or annotated as
absent, are counted as such and never turned into an error of some millimetres.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .biometry import Measurement, compare_measurements, summarise_measurements
from .datalist import Case
from .files import read_json, write_json, write_text
from .formats import SUFFIXES, read_landmarks
from .geometry import radial_error
from .landmarks import ABSENT, PRESENT, LandmarkError
from .metrics import success_detection_rate

__all__ = [
    "Evaluation",
    "evaluate",
    "landmark_table",
    "summary_text",
    "write_cross_validation",
    "write_evaluation",
]

WORST = 10


@dataclass(frozen=True)
class Evaluation:
    """
    Errors of predictions.

    Args:
        cases: ids, one per row.
        names: landmarks, one per column.
        errors_mm: radial errors, shape (cases, landmarks); NaN where the truth or the prediction has no point.
        true_status, predicted_status: codes of landmarks.py, same shape.
        scores: of the predictions, same shape; NaN where a prediction has none.
        thresholds_mm: for the success detection rate.
        biometry: rows of :func:`auto3dlandmark.biometry.compare_measurements`.
    """

    cases: tuple[str, ...]
    names: tuple[str, ...]
    errors_mm: np.ndarray
    true_status: np.ndarray
    predicted_status: np.ndarray
    scores: np.ndarray
    thresholds_mm: tuple[float, ...]
    biometry: tuple[dict[str, Any], ...] = ()

    def summary(self) -> dict[str, Any]:
        """The numbers over all cases and landmarks; None where there is nothing to average."""
        known = self.errors_mm[~np.isnan(self.errors_mm)]
        macro = np.array(
            [row["mre_mm"] for row in self.per_landmark() if row["mre_mm"] is not None], dtype=float
        )
        truth, predicted = self.true_status, self.predicted_status
        worst = sorted(
            (
                (float(self.errors_mm[row, column]), row, column)
                for row, column in np.argwhere(~np.isnan(self.errors_mm))
            ),
            reverse=True,
        )[:WORST]
        return {
            "cases": len(self.cases),
            "landmarks": len(self.names),
            "points_compared": int(len(known)),
            "mre_mm": _rounded(known.mean()) if len(known) else None,
            "std_mm": _rounded(known.std()) if len(known) else None,
            "median_mm": _rounded(np.median(known)) if len(known) else None,
            "macro_mre_mm": _rounded(macro.mean()) if len(macro) else None,
            "macro_std_mm": _rounded(macro.std()) if len(macro) else None,
            **self._rates(known),
            "presence": {
                "present_found": int(((truth == PRESENT) & (predicted == PRESENT)).sum()),
                "present_missed": int(((truth == PRESENT) & (predicted != PRESENT)).sum()),
                "absent_recognised": int(((truth == ABSENT) & (predicted != PRESENT)).sum()),
                "absent_but_predicted": int(((truth == ABSENT) & (predicted == PRESENT)).sum()),
            },
            "worst": [
                {"case": self.cases[row], "landmark": self.names[column], "error_mm": _rounded(error)}
                for error, row, column in worst
            ],
            **({"biometry": summarise_measurements(self.biometry)} if self.biometry else {}),
        }

    def per_landmark(self) -> list[dict[str, Any]]:
        """One row per landmark."""
        return [
            {"landmark": name, **self._row(self.errors_mm[:, column])}
            for column, name in enumerate(self.names)
        ]

    def per_case(self) -> list[dict[str, Any]]:
        """One row per case, worst first."""
        rows = []
        for case, errors in zip(self.cases, self.errors_mm):
            worst = None if np.isnan(errors).all() else self.names[int(np.nanargmax(errors))]
            rows.append({"case": case, **self._row(errors), "worst_landmark": worst})
        return sorted(rows, key=lambda row: -(row["mre_mm"] if row["mre_mm"] is not None else -1.0))

    def _row(self, errors: np.ndarray) -> dict[str, Any]:
        known = errors[~np.isnan(errors)]
        statistics: dict[str, Callable[[np.ndarray], Any]] = {
            "mre_mm": np.mean,
            "std_mm": np.std,
            "median_mm": np.median,
            "max_mm": np.max,
        }
        values = {
            key: _rounded(function(known)) if len(known) else None for key, function in statistics.items()
        }
        return {"points": len(known), **values, **self._rates(known)}

    def _rates(self, known: np.ndarray) -> dict[str, float | None]:
        rates = success_detection_rate(known, self.thresholds_mm)
        return {
            f"sdr_{t:g}mm": None if np.isnan(rate) else round(rate, 2)
            for t, rate in zip(self.thresholds_mm, rates)
        }


def _rounded(value: Any) -> float:
    return round(float(value), 4)


def evaluate(
    cases: Sequence[Case],
    names: Sequence[str],
    predictions: str | os.PathLike,
    thresholds_mm: Sequence[float] = (2, 3, 4),
    measurements: Sequence[Measurement] = (),
) -> Evaluation:
    """
    Compare the annotated cases that have a prediction with it.

    Args:
        cases: of a dataset; those without landmarks are left out.
        names: the landmarks to compare.
        predictions: a folder of landmark files named after the cases.
        thresholds_mm: for the success detection rate.
        measurements: lengths and angles to compare too.

    Raises:
        LandmarkError: when the folder is missing, has no prediction for any case, or a prediction has none
            of the landmarks.
    """
    folder = Path(predictions)
    if not folder.is_dir():
        raise LandmarkError(f"{folder}: there is no such folder. Run 'auto3dlandmark predict' first.")
    if not thresholds_mm or not all(np.isfinite(threshold) and threshold > 0 for threshold in thresholds_mm):
        raise LandmarkError(f"thresholds_mm={thresholds_mm} must be positive numbers, as in 2,3,4.")
    found, errors, truth, predicted, scores, both = [], [], [], [], [], []
    for case in cases:
        path = next(
            (folder / f"{case.id}{end}" for end in SUFFIXES if (folder / f"{case.id}{end}").is_file()), None
        )
        if path is None or case.label is None:
            continue
        reference, prediction = read_landmarks(case.label).select(names), read_landmarks(path)
        if not set(prediction.names) & set(names):
            raise LandmarkError(
                f"{path}: has none of the dataset's landmarks ({', '.join(names[:5])}, ...) "
                f"but {', '.join(prediction.names[:5])}. "
                "Evaluate predictions of a bundle that was trained on this dataset's landmarks."
            )
        prediction = prediction.select(names)
        found.append(case.id)
        errors.append(radial_error(prediction.points, reference.points))
        truth.append(reference.status)
        predicted.append(prediction.status)
        scores.append(prediction.scores)
        both.append((case.id, reference, prediction))
    if not found:
        raise LandmarkError(
            f"{folder}: holds no prediction for any annotated case. Files are named after cases: CASE.mrk.json."
        )
    return Evaluation(
        tuple(found),
        tuple(names),
        np.array(errors),
        np.array(truth),
        np.array(predicted),
        np.array(scores, dtype=float),
        tuple(thresholds_mm),
        tuple(compare_measurements(both, measurements)),
    )


def write_cross_validation(path: str | os.PathLike, evaluation: Evaluation) -> None:
    """
    Write the error and score of every held-out point, by landmark, for calibration later.

    The file has ``cases`` and, for each landmark, the lists ``error_mm``, ``score``, ``true_status`` and
    ``predicted_status`` in the order of the cases; None where there is no value.
    """

    def column(values: np.ndarray, number: int) -> list[float | None]:
        return [None if np.isnan(value) else round(float(value), 4) for value in values[:, number]]

    content = {
        "mre_mm": evaluation.summary()["mre_mm"],
        "cases": list(evaluation.cases),
        "landmarks": {
            name: {
                "error_mm": column(evaluation.errors_mm, number),
                "score": column(evaluation.scores, number),
                "true_status": evaluation.true_status[:, number].tolist(),
                "predicted_status": evaluation.predicted_status[:, number].tolist(),
            }
            for number, name in enumerate(evaluation.names)
        },
    }
    write_json(path, content)


def write_evaluation(folder: str | os.PathLike, evaluation: Evaluation) -> None:
    """
    Write ``per_landmark.csv``, ``per_case.csv``, with measurements ``biometry.csv``, and, last, ``metrics.json``.
    """
    tables: dict[str, Sequence[dict[str, Any]]] = {
        "per_landmark": evaluation.per_landmark(),
        "per_case": evaluation.per_case(),
    }
    if evaluation.biometry:
        tables["biometry"] = evaluation.biometry
    for name, rows in tables.items():
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(Path(folder) / f"{name}.csv", stream.getvalue())
    write_json(Path(folder) / "metrics.json", evaluation.summary())


def landmark_table(folder: str | os.PathLike) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """
    What :func:`write_evaluation` wrote: the figures over all, and one row per landmark.
    """
    with open(Path(folder) / "per_landmark.csv", encoding="utf-8", newline="") as stream:
        return read_json(Path(folder) / "metrics.json"), list(csv.DictReader(stream))


def summary_text(folder: str | os.PathLike, title: str) -> str:
    """
    The main figures and the landmarks' errors that :func:`write_evaluation` wrote, as a table for a terminal.
    """
    metrics, rows = landmark_table(folder)
    rates = [key for key in rows[0] if key.startswith("sdr_")]
    total = {"landmark": "all landmarks", "max_mm": None, **metrics}
    width = max(len(row["landmark"]) for row in [*rows, total])
    lines = [
        f"\n{title}: {metrics['cases']} cases, {metrics['points_compared']} points",
        f"{'landmark':{width}}  {'MRE mm':>7} {'std':>6} {'median':>6} {'max':>6}  "
        + "  ".join(f"{rate[4:]:>6}" for rate in rates),
    ]
    for row in [*rows, total]:
        cells = " ".join(f"{_cell(row[key]):>6}" for key in ("std_mm", "median_mm", "max_mm"))
        lines.append(
            f"{row['landmark']:{width}}  {_cell(row['mre_mm']):>7} {cells}  "
            + "  ".join(f"{_cell(row[rate], 1):>6}" for rate in rates)
        )
    for row in metrics.get("biometry", ()):
        error, bias = _cell(row["mean_absolute_error"]), _cell(row["bias"])
        lines.append(
            f"{row['measurement']}: mean absolute error {error} {row['unit']}, bias {bias} {row['unit']}"
        )
    presence = metrics["presence"]
    if presence["present_missed"] or presence["absent_recognised"] or presence["absent_but_predicted"]:
        lines.append(
            "presence: " + ", ".join(f"{count} {key.replace('_', ' ')}" for key, count in presence.items())
        )
    return "\n".join(lines) + "\n"


def _cell(value: Any, digits: int = 2) -> str:
    return "-" if value in (None, "") else f"{float(value):.{digits}f}"
