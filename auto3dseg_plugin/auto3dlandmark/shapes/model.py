# SPDX-License-Identifier: Apache-2.0
"""The usual shape of a set of landmarks: a mean, and the ways in which cases differ from it.

A Gaussian in the frame of the mean shape: ``x = mean + modes @ b + e``, with b standard normal and e alike
in all directions. Cases with missing landmarks count with what they have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import LandmarkError
from .alignment import aligned, mean_shape, size_mm

__all__ = ["ShapeModel", "fit_shape"]

SHRINK_CASES = 12.0  # with so few cases, deviations are taken to be alike in all directions
MOST_MODES = 40
EM_ROUNDS = 15
LEAST_SPREAD, LEAST_SPREAD_MM = 1e-4, 1e-3  # of the shape's size, and in millimetres: nothing is known better


@dataclass(frozen=True)
class ShapeModel:
    """
    A Gaussian over shapes.

    Args:
        names: of the N landmarks.
        mean: millimetres in a frame of its own, shape (N, 3).
        modes: what one standard deviation of each mode adds, millimetres, shape (N, 3, K).
        spread_mm: standard deviation of what the modes leave, along each axis.
        cases: how many it was fitted to.
        seen: in how many of them each landmark was present, shape (N,).
    """

    names: tuple[str, ...]
    mean: np.ndarray
    modes: np.ndarray
    spread_mm: float
    cases: int
    seen: np.ndarray

    @property
    def size_mm(self) -> float:
        """Root mean square distance of the landmarks from their middle."""
        return size_mm(self.mean)

    def variance(self) -> np.ndarray:
        """
        How much each landmark varies in the frame of the mean shape: mm² summed over the axes, shape (N,).
        """
        return np.asarray((self.modes**2).sum(axis=(1, 2)) + 3 * self.spread_mm**2)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, rounded to a micrometre."""
        return {
            "cases": self.cases,
            "spread_mm": round(self.spread_mm, 6),
            "landmarks": {
                name: {
                    "seen": int(self.seen[row]),
                    "mean_mm": np.round(self.mean[row], 4).tolist(),
                    "modes_mm": np.round(self.modes[row], 4).tolist(),
                }
                for row, name in enumerate(self.names)
            },
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str = "shape model") -> ShapeModel:
        """
        Raises:
            LandmarkError: when it is not what :meth:`to_json` gives.
        """
        try:
            landmarks = content["landmarks"]
            mean = np.array([one["mean_mm"] for one in landmarks.values()], dtype=np.float64).reshape(-1, 3)
            modes = np.array([one["modes_mm"] for one in landmarks.values()], dtype=np.float64)
            return cls(
                tuple(landmarks),
                mean,
                modes.reshape(len(mean), 3, -1),
                float(content["spread_mm"]),
                int(content["cases"]),
                np.array([int(one["seen"]) for one in landmarks.values()]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LandmarkError(
                f"{where}: is not a shape model ({error}). Calibrate the bundle again."
            ) from error


def fit_shape(shapes: np.ndarray, names: Sequence[str]) -> ShapeModel:
    """
    Fit a model to the annotated landmarks of several cases.

    Args:
        shapes: millimetres, shape (cases, N, 3), NaN where there is no point; frames need not agree.
        names: of the N landmarks.

    Raises:
        LandmarkError: when no case has a landmark.

    Source: generalised Procrustes alignment; expectation-maximisation over missing coordinates; the
        covariance shrunk towards an even one by min(1, 12 / cases).
    """
    shapes = np.asarray(shapes, dtype=np.float64).reshape(-1, len(names), 3)
    shapes = shapes[np.isfinite(shapes).any(axis=(1, 2))]
    if not len(shapes):
        raise LandmarkError("no training case has a landmark, so there is no shape to learn.")
    mean = mean_shape(shapes)
    seen = np.isfinite(shapes).all(axis=2).sum(axis=0)
    # A landmark that no case has is expected in the middle, and may be anywhere.
    mean = np.where(np.isfinite(mean), mean, np.nanmean(mean, axis=0))
    turned = np.array([aligned(shape, mean) for shape in shapes]).reshape(len(shapes), -1)
    centre, covariance = _complete(turned, mean.reshape(-1))
    shrink = min(1.0, SHRINK_CASES / len(shapes))
    even = float(np.trace(covariance)) / len(covariance)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][: min(MOST_MODES, len(shapes) - 1)]
    order = order[values[order] > 1e-9 * max(values.max(), 1e-30)]
    modes = vectors[:, order] * np.sqrt((1 - shrink) * values[order])
    left = (1 - shrink) * (float(values.sum()) - float(values[order].sum())) / len(covariance)
    least = LEAST_SPREAD * size_mm(centre.reshape(-1, 3)) + LEAST_SPREAD_MM
    spread = float(np.sqrt(shrink * even + max(left, 0.0) + least**2))
    return ShapeModel(
        tuple(names),
        centre.reshape(-1, 3),
        modes.reshape(len(names), 3, len(order)),
        spread,
        len(shapes),
        seen,
    )


def _complete(data: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of vectors with missing values (NaN)."""
    missing = np.isnan(data)
    filled = np.where(missing, mean, data)
    if len(data) < 2 or not missing.any():
        centre = filled.mean(axis=0)
        return centre, (filled - centre).T @ (filled - centre) / len(data)
    centre, covariance = mean, np.cov(filled.T, bias=True)
    patterns = np.unique(missing, axis=0)
    for _ in range(EM_ROUNDS):
        # Even in the first rounds nothing is known exactly.
        regular = covariance + (1e-3 * np.trace(covariance) / len(covariance) + 1e-12) * np.eye(
            len(covariance)
        )
        left_open = np.zeros_like(covariance)
        for pattern in patterns[patterns.any(axis=1)]:
            rows = (missing == pattern).all(axis=1)
            gain = np.linalg.solve(regular[np.ix_(~pattern, ~pattern)], regular[np.ix_(~pattern, pattern)]).T
            filled[np.ix_(rows, pattern)] = (
                centre[pattern] + (data[rows][:, ~pattern] - centre[~pattern]) @ gain.T
            )
            rest = regular[np.ix_(pattern, pattern)] - gain @ regular[np.ix_(~pattern, pattern)]
            left_open[np.ix_(pattern, pattern)] += rows.sum() * rest
        centre = filled.mean(axis=0)
        covariance = ((filled - centre).T @ (filled - centre) + left_open) / len(data)
    return centre, covariance
