# SPDX-License-Identifier: Apache-2.0
"""Lengths and angles between landmarks: what many landmarks are placed for.

Measured in the world, so a length is a length whatever the voxels are.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LandmarkError
from ..files import read_json
from ..landmarks import LandmarkSet

__all__ = [
    "Measurement",
    "compare_measurements",
    "dataset_measurements",
    "half_width",
    "measure",
    "read_measurements",
    "summarise_measurements",
]

POINTS = {"lengths": 2, "angles": 3}
UNITS = {"lengths": "mm", "angles": "deg"}
STEP_MM = 1e-3  # a move that is small against any radius
NORMAL_95 = 1.96  # standard deviations that hold a normal value with 95 %


@dataclass(frozen=True)
class Measurement:
    """
    A length between two landmarks, or the angle at the second of three.

    Args:
        name: what it is called.
        kind: ``lengths`` or ``angles``, as in the file.
        landmarks: the names of its landmarks.
    """

    name: str
    kind: str
    landmarks: tuple[str, ...]

    @property
    def unit(self) -> str:
        """``mm`` or ``deg``."""
        return UNITS[self.kind]


def read_measurements(path: str | os.PathLike, names: Collection[str]) -> list[Measurement]:
    """
    Read ``{"lengths": {"TCD": ["TCD_left", "TCD_right"]}, "angles": {"gonial": ["chin", "corner",
    "condyle"]}}``.

    Args:
        names: the landmarks there are.

    Raises:
        LandmarkError: for another form, or a landmark that is not there.
    """
    content = read_json(path)
    if not isinstance(content, dict) or set(content) - set(POINTS):
        raise LandmarkError(f"{path}: must be an object of 'lengths' and 'angles'.")
    found = []
    for kind, count in POINTS.items():
        entries = content.get(kind) or {}
        if not isinstance(entries, dict):
            raise LandmarkError(f"{path}: {kind!r} must be an object of names and their landmarks.")
        for name, landmarks in entries.items():
            unknown = [one for one in landmarks if one not in names] if isinstance(landmarks, list) else []
            if (
                not isinstance(landmarks, list)
                or len(set(map(str, landmarks))) != count
                or len(landmarks) != count
            ):
                raise LandmarkError(f"{path}: {name!r} of {kind!r} must list {count} different landmarks.")
            if unknown:
                raise LandmarkError(
                    f"{path}: {name!r} needs the landmark {unknown[0]!r}, which the data does not have."
                )
            found.append(Measurement(name, kind, tuple(landmarks)))
    return found


def dataset_measurements(folder: str | os.PathLike, names: Collection[str]) -> list[Measurement]:
    """
    Those of ``measurements.json`` in a dataset's folder, as the converters write it; none without the file.
    """
    path = Path(folder) / "measurements.json"
    return read_measurements(path, names) if path.is_file() else []


def measure(measurement: Measurement, landmarks: LandmarkSet) -> float:
    """
    The value in millimetres or degrees; NaN when one of its landmarks is not present.
    """
    points = [landmarks.points[landmarks.names.index(name)] for name in measurement.landmarks]
    if measurement.kind == "lengths":
        return float(np.linalg.norm(points[0] - points[1]))
    first, second = points[0] - points[1], points[2] - points[1]
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.degrees(np.arccos(np.clip(first @ second / norms, -1, 1)))) if norms > 0 else math.nan


def half_width(measurement: Measurement, landmarks: LandmarkSet) -> float:
    """
    How far off a measured value may be with 95 %, by the covariances of its points; NaN where they are not
    known.

    Source: propagation of uncertainty to first order, for points whose errors do not hang together.
    """
    known = landmarks.estimates
    value = measure(measurement, landmarks)
    if known is None or math.isnan(value):
        return math.nan
    variance = 0.0
    for row in (landmarks.names.index(name) for name in measurement.landmarks):
        slope = np.zeros(3)
        for axis in range(3):
            points = np.array(landmarks.points)
            points[row, axis] += STEP_MM
            moved = LandmarkSet(landmarks.names, points, landmarks.status)
            slope[axis] = (measure(measurement, moved) - value) / STEP_MM
        variance += float(slope @ known.covariance[row] @ slope)
    return NORMAL_95 * math.sqrt(variance)


def compare_measurements(
    cases: Sequence[tuple[str, LandmarkSet, LandmarkSet]], measurements: Sequence[Measurement]
) -> list[dict[str, Any]]:
    """
    Rows of case, measurement, unit, true and predicted value, error (predicted less true), and how far off
    the predicted value says that it may be with 95 %; None where unknown.

    Args:
        cases: id, true landmarks, predicted landmarks.
        measurements: to take.
    """

    def rounded(value: float) -> float | None:
        return None if math.isnan(value) else round(value, 4)

    rows = []
    for case, truth, prediction in cases:
        for one in measurements:
            true, predicted = measure(one, truth), measure(one, prediction)
            values = {
                "true": rounded(true),
                "predicted": rounded(predicted),
                "error": rounded(predicted - true),
                "within_95": rounded(half_width(one, prediction)),
            }
            rows.append({"case": case, "measurement": one.name, "unit": one.unit, **values})
    return rows


def summarise_measurements(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    For each measurement its unit, how many cases have both values, and mean absolute error, bias and spread.
    """
    summary = []
    for name in dict.fromkeys(row["measurement"] for row in rows):
        mine = [row for row in rows if row["measurement"] == name]
        errors = np.array([row["error"] for row in mine if row["error"] is not None], dtype=float)
        figures: dict[str, float | None] = dict.fromkeys(("mean_absolute_error", "bias", "std"))
        if len(errors):
            values = (np.abs(errors).mean(), errors.mean(), errors.std())
            figures = {key: round(float(value), 4) for key, value in zip(figures, values)}
        summary.append({"measurement": name, "unit": mine[0]["unit"], "cases": len(errors), **figures})
    return summary
