# SPDX-License-Identifier: Apache-2.0
"""How far off a point may be, in millimetres: a scale from what is known of it, and quantiles from held-out
cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..estimates import LEVELS
from .peaks import Peaks
from .posterior import ShapePosterior

__all__ = ["Radius", "fit_radius", "radius_features"]

FEATURES, MISFIT = 5, 4  # how many there are, and which one is the case's misfit
LEAST_MM = 0.01
RIDGE = 10.0  # points that say that nothing tells the error
FEWEST_CASES, FEWEST_POINTS = 4, 60  # fewer do not say what tells an error: all points get the same radius
CASES_FOR_MISFIT = 8  # which is one number for a case
POOLED_POINTS = 10.0  # what all landmarks say together counts as so many points of each
MOST_FOLDS = 10


@dataclass(frozen=True)
class Radius:
    """
    What turns features into radii.

    Args:
        weights: of the features, shape (FEATURES,).
        bias: what is added; together the logarithm of the error to expect.
        low, high: of the features that were seen; beyond, they are taken for these, shape (FEATURES,).
        factors: of each landmark, shape (N,).
        quantiles: what an expected error is multiplied by to hold 50, 90 and 95 %, shape (3,).
        points: how many held-out points it was learnt from.
    """

    weights: np.ndarray
    bias: float
    low: np.ndarray
    high: np.ndarray
    factors: np.ndarray
    quantiles: np.ndarray
    points: int

    def radii_mm(self, features: np.ndarray) -> np.ndarray:
        """
        Radii that hold each landmark with 50, 90 and 95 %.

        Args:
            features: shape (N, FEATURES).

        Returns:
            millimetres, shape (N, 3).
        """
        return np.asarray(self.expected(features)[:, None] * self.quantiles)

    def expected(self, features: np.ndarray) -> np.ndarray:
        """The error to expect of each landmark, in millimetres, shape (..., N)."""
        seen = np.clip(features, self.low, self.high)
        return np.asarray(np.exp(seen @ self.weights + self.bias) * self.factors)

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "weights": np.round(self.weights, 6).tolist(),
            "bias": round(self.bias, 6),
            "low": np.round(self.low, 6).tolist(),
            "high": np.round(self.high, 6).tolist(),
            "factors": dict(zip(names, np.round(self.factors, 5).tolist())),
            "quantiles": {str(level): round(float(q), 5) for level, q in zip(LEVELS, self.quantiles)},
            "points": self.points,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], names: Sequence[str]) -> Radius:
        """
        Raises:
            KeyError, TypeError, ValueError: when it is not what :meth:`to_json` gives.
        """
        return cls(
            np.array(content["weights"], dtype=float).reshape(FEATURES),
            float(content["bias"]),
            np.array(content["low"], dtype=float).reshape(FEATURES),
            np.array(content["high"], dtype=float).reshape(FEATURES),
            np.array([float(content["factors"][name]) for name in names]),
            np.array([float(content["quantiles"][str(level)]) for level in LEVELS]),
            int(content["points"]),
        )


def radius_features(posterior: ShapePosterior, peaks: Peaks, noise_mm: np.ndarray) -> np.ndarray:
    """
    What may tell how far off the points of a case are, shape (N, FEATURES).
    """
    moved = np.minimum(np.nan_to_num(posterior.distance, posinf=1e3), 1e3)
    features = [
        np.log(np.maximum(posterior.deviation_mm, LEAST_MM)),
        np.log1p(moved),
        np.log(1.02 - np.minimum(posterior.near_mass, 1)),
        np.log(np.maximum(peaks.spreads[:, 0], LEAST_MM)),
        np.full(len(noise_mm), np.clip(posterior.misfit, -20, 20)),
    ]
    return np.stack(features, axis=1)


def fit_radius(features: Sequence[np.ndarray], errors_mm: Sequence[np.ndarray]) -> Radius:
    """
    Learn from held-out cases.

    Args:
        features: of each case, shape (N, FEATURES).
        errors_mm: of each case, shape (N,); NaN where there is nothing to compare.

    Source: ridge regression of the logarithm of the error, and split conformal prediction (Vovk) on scores
        that are cross-fitted: those of a case come from a regression on the others.
    """
    x, errors = np.array(features), np.array(errors_mm)  # (cases, N, FEATURES), (cases, N)
    fitted = _regress(x, errors)
    folds = np.arange(len(x)) % max(1, min(MOST_FOLDS, len(x)))
    scores = []
    for fold in np.unique(folds):
        held, rest = folds == fold, folds != fold
        others = _regress(x[rest], errors[rest]) if rest.any() else fitted
        scores.append((errors[held] / others.expected(x[held])).ravel())
    ratios = np.concatenate(scores)
    ratios = ratios[np.isfinite(ratios)]
    quantiles = np.array([_conformal(ratios, level / 100) for level in LEVELS])
    return replace(fitted, quantiles=quantiles, points=len(ratios))


def _conformal(scores: np.ndarray, level: float) -> float:
    """The quantile that a further score is below with this chance; the largest one where there are too
    few."""
    if not len(scores):
        return float("nan")
    rank = min(len(scores), int(np.ceil((len(scores) + 1) * level)))
    return float(np.sort(scores)[rank - 1])


def _regress(x: np.ndarray, errors: np.ndarray) -> Radius:
    """What tells the logarithm of the error, and what is left of each landmark, as a factor; no quantiles
    yet."""
    known = np.isfinite(errors)
    nothing = np.zeros(FEATURES)
    if not known.any():
        return Radius(
            nothing, 0.0, nothing, nothing, np.ones(errors.shape[1]), np.full(len(LEVELS), np.nan), 0
        )
    inputs, target = x[known], np.log(errors[known] + LEAST_MM)
    middle, width = inputs.mean(axis=0), inputs.std(axis=0)
    low, high = inputs.min(axis=0), inputs.max(axis=0)
    cases = int(known.any(axis=1).sum())
    usable = width > 1e-6
    usable[MISFIT] &= cases >= CASES_FOR_MISFIT
    usable &= cases >= FEWEST_CASES and known.sum() >= FEWEST_POINTS
    scaled = np.where(usable, (inputs - middle) / np.where(usable, width, 1.0), 0.0)
    gram = scaled.T @ scaled + RIDGE * np.eye(FEATURES)
    slope = np.where(usable, np.linalg.solve(gram, scaled.T @ (target - target.mean())), 0.0)
    weights = slope / np.where(usable, width, 1.0)
    bias = float(target.mean() - middle @ weights)
    left = np.where(known, np.log(np.where(known, errors, 0) + LEAST_MM) - x @ weights - bias, 0.0)
    factors = np.exp(left.sum(axis=0) / (known.sum(axis=0) + POOLED_POINTS))
    return Radius(weights, bias, low, high, factors, np.full(len(LEVELS), np.nan), 0)
