# SPDX-License-Identifier: Apache-2.0
"""Compare predicted landmarks with annotated ones: errors per case, per landmark, and over all.

Only landmarks that are present in both count towards the error; those predicted absent, or annotated as
absent, are counted as such and never turned into an error of some millimetres.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.datalist import Case
from ..data.measurements import Measurement, compare_measurements, summarise_measurements
from ..errors import LandmarkError
from ..estimates import Estimates
from ..formats import SUFFIXES, read_landmarks
from ..geometry import radial_error
from ..landmarks import ABSENT, PRESENT, ROUNDING_MM
from .baseline import mean_position_error
from .uncertainty import presence_figures, uncertainty_figures

__all__ = ["Evaluation", "evaluate", "prediction_of", "success_detection_rate"]

WORST = 10


@dataclass(frozen=True)
class Evaluation:
    """
    Errors of predictions.

    Args:
        cases: ids, one per row.
        names: landmarks, one per column.
        errors_mm: radial errors, shape (cases, landmarks); NaN where the truth or the prediction has no
            point.
        true_status, predicted_status: codes of landmarks.py, same shape.
        scores: of the predictions, same shape; NaN where a prediction has none.
        thresholds_mm: for the success detection rate, over all present points: one that is predicted absent
            is not detected.
        no_image_mm: the error of the mean position of the other cases, which a network must beat; None when
            it is not known.
        radii_mm: that are to hold each landmark with 50, 90 and 95 %, shape (cases, N, 3); NaN where none is
            given.
        as_found_mm: errors of what the network found, before the landmarks decided together, shape (cases,
            N).
        unusual: how little each case looks like the training images, as its prediction says, shape (cases,);
            NaN where it does not.
        biometry: rows of :func:`auto3dlandmark.data.measurements.compare_measurements`.
    """

    cases: tuple[str, ...]
    names: tuple[str, ...]
    errors_mm: np.ndarray
    true_status: np.ndarray
    predicted_status: np.ndarray
    scores: np.ndarray
    thresholds_mm: tuple[float, ...]
    biometry: tuple[dict[str, Any], ...] = ()
    no_image_mm: float | None = None
    radii_mm: np.ndarray | None = None
    as_found_mm: np.ndarray | None = None
    unusual: np.ndarray | None = None

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
            "points_compared": len(known),
            "mre_mm": _rounded(known.mean()) if len(known) else None,
            "std_mm": _rounded(known.std()) if len(known) else None,
            "median_mm": _rounded(np.median(known)) if len(known) else None,
            "macro_mre_mm": _rounded(macro.mean()) if len(macro) else None,
            "macro_std_mm": _rounded(macro.std()) if len(macro) else None,
            **self._rates(self.errors_mm, truth, predicted),
            **({} if self.no_image_mm is None else {"no_image_mre_mm": _rounded(self.no_image_mm)}),
            **self._as_found(),
            **uncertainty_figures(self.errors_mm, self.radii_mm),
            **self._unusual(),
            "presence": {
                "present_found": int(((truth == PRESENT) & (predicted == PRESENT)).sum()),
                "present_missed": int(((truth == PRESENT) & (predicted != PRESENT)).sum()),
                "absent_recognised": int(((truth == ABSENT) & (predicted != PRESENT)).sum()),
                "absent_but_predicted": int(((truth == ABSENT) & (predicted == PRESENT)).sum()),
                **presence_figures(truth, predicted),
            },
            "worst": [
                {"case": self.cases[row], "landmark": self.names[column], "error_mm": _rounded(error)}
                for error, row, column in worst
            ],
            **({"biometry": summarise_measurements(self.biometry)} if self.biometry else {}),
        }

    def _as_found(self) -> dict[str, Any]:
        """The errors of what the network found, where something else was made of it."""
        if self.as_found_mm is None or np.allclose(
            self.as_found_mm, self.errors_mm, atol=ROUNDING_MM, equal_nan=True
        ):
            return {}
        both = np.isfinite(self.as_found_mm) & np.isfinite(self.errors_mm)
        found = self.as_found_mm[both]
        return {"as_found": {"mre_mm": _rounded(found.mean()), "median_mm": _rounded(np.median(found))}}

    def _unusual(self) -> dict[str, Any]:
        """The cases that are said not to look like the training images, oddest first."""
        if self.unusual is None or np.isnan(self.unusual).all():
            return {}
        odd = {case: _rounded(value) for case, value in zip(self.cases, self.unusual) if value > 1}
        return {"unusual_cases": dict(sorted(odd.items(), key=lambda one: -one[1]))}

    def errors_with_missed(self) -> np.ndarray:
        """``errors_mm``, infinite for points that are there and were missed."""
        missed = (self.true_status == PRESENT) & (self.predicted_status != PRESENT)
        return np.where(missed, np.inf, self.errors_mm)

    def per_landmark(self) -> list[dict[str, Any]]:
        """One row per landmark."""
        return [
            {"landmark": name, **self._row((slice(None), column))} for column, name in enumerate(self.names)
        ]

    def per_case(self) -> list[dict[str, Any]]:
        """One row per case, worst first."""
        rows = []
        for number, (case, errors) in enumerate(zip(self.cases, self.errors_mm)):
            worst = None if np.isnan(errors).all() else self.names[int(np.nanargmax(errors))]
            row = {"case": case, **self._row((number, slice(None))), "worst_landmark": worst}
            if self.unusual is not None and np.isfinite(self.unusual).any():
                row["unusual"] = _rounded(self.unusual[number]) if np.isfinite(self.unusual[number]) else None
            rows.append(row)
        return sorted(rows, key=lambda row: -(row["mre_mm"] if row["mre_mm"] is not None else -1.0))

    def _row(self, which: Any) -> dict[str, Any]:
        """Errors and presence of one case or one landmark."""
        errors, truth, predicted = (
            array[which] for array in (self.errors_mm, self.true_status, self.predicted_status)
        )
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
        counts = {
            "present": int((truth == PRESENT).sum()),
            "found": len(known),
            "missed": int(((truth == PRESENT) & (predicted != PRESENT)).sum()),
            "false": int(((truth == ABSENT) & (predicted == PRESENT)).sum()),
        }
        return {"points": len(known), **values, **self._rates(errors, truth, predicted), **counts}

    def _rates(self, errors: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> dict[str, float | None]:
        missed = (truth == PRESENT) & (predicted != PRESENT)
        rates = success_detection_rate(np.where(missed, np.inf, errors), self.thresholds_mm)
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
    annotated: Sequence[Case] = (),
) -> Evaluation:
    """
    Compare the annotated cases that have a prediction with it.

    Args:
        cases: of a dataset; those without landmarks are left out.
        names: the landmarks to compare.
        predictions: a folder of landmark files named after the cases.
        thresholds_mm: for the success detection rate.
        measurements: lengths and angles to compare too.
        annotated: all cases with landmarks, to tell what their mean position would err by; none: not told.

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
    radii, as_found, unusual = [], [], []
    for case in cases:
        path = prediction_of(folder, case)
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
        told = prediction.estimates or Estimates.unknown(len(names))
        radii.append(told.radii_mm)
        as_found.append(radial_error(told.peaks, reference.points))
        unusual.append(told.unusual)
        both.append((case.id, reference, prediction))
    if not found:
        raise LandmarkError(
            f"{folder}: holds no prediction for any annotated case. Files are named after cases: "
            "CASE.mrk.json."
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
        mean_position_error(annotated, set(found), names),
        np.array(radii),
        None if np.isnan(as_found).all() else np.array(as_found),
        np.array(unusual, dtype=float),
    )


def prediction_of(folder: str | os.PathLike, case: Case) -> Path | None:
    """A case's file in a folder of predictions, of any landmark format; None where there is none."""
    paths = (Path(folder) / f"{case.id}{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def success_detection_rate(errors_mm: np.ndarray, thresholds_mm: Sequence[float] = (2, 3, 4)) -> list[float]:
    """
    Percentage of errors at or below each threshold (SDR); NaN errors do not count.

    Args:
        errors_mm: any shape.
        thresholds_mm: millimetres.

    Returns:
        one percentage per threshold; NaN when there are no errors.
    """
    known = np.asarray(errors_mm, dtype=np.float64)
    known = known[~np.isnan(known)]
    return [
        float(100 * np.mean(known <= threshold)) if len(known) else float("nan")
        for threshold in thresholds_mm
    ]
