# SPDX-License-Identifier: Apache-2.0
"""The chance that a landmark is there at all: by what was found of it, and by where it would have to be.

A landmark is judged together with those that were always absent with it, such as all points of one vertebra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

__all__ = ["Presence", "fit_presence", "groups_of_absence", "presence_features"]

FEATURES = 4
LEAST_MASS = 1e-4
RIDGE = 0.05  # of the weights: a separable sample must not be believed without end
FEWEST = 3  # held-out points of each kind that a chance can be learnt from


@dataclass(frozen=True)
class Presence:
    """
    A logistic regression on :func:`presence_features`, and the chance below which a landmark is absent.

    Args:
        weights: of the features, shape (FEATURES,).
        bias: what is added.
        threshold: in [0, 1].
        points: how many held-out points it was learnt from, present and absent.
    """

    weights: np.ndarray
    bias: float
    threshold: float
    points: tuple[int, int]

    def chance(self, features: np.ndarray) -> np.ndarray:
        """Of being present, from features of shape (N, FEATURES)."""
        return np.asarray(expit(features @ self.weights + self.bias))


def groups_of_absence(absent: np.ndarray) -> np.ndarray:
    """
    Landmarks that were always absent together.

    Args:
        absent: of the training cases, True where a landmark is known to be absent, shape (cases, N).

    Returns:
        a number for each landmark, the same within a group, shape (N,); -1 for one that was never absent.
    """
    groups = np.full(absent.shape[1], -1)
    for column in np.flatnonzero(absent.any(axis=0)):
        alike = (absent == absent[:, [column]]).all(axis=0)
        groups[column] = int(np.flatnonzero(alike)[0])
    return groups


def presence_features(
    masses: np.ndarray,
    near_masses: np.ndarray,
    inside_mm: np.ndarray,
    spread_mm: np.ndarray,
    groups: np.ndarray,
) -> np.ndarray:
    """
    What tells whether landmarks are there.

    Args:
        masses: of each landmark's first peak, shape (N,).
        near_masses: of its peaks near the expected place, shape (N,).
        inside_mm: how far the expected place lies inside the image, negative outside, shape (N,).
        spread_mm: how well the expected place is known, shape (N,).
        groups: as of :func:`groups_of_absence`.

    Returns:
        shape (N, FEATURES).
    """

    def logit(chance: np.ndarray) -> np.ndarray:
        clipped = np.clip(chance, LEAST_MASS, 1 - LEAST_MASS)
        return np.asarray(np.log(clipped / (1 - clipped)) / 4)

    inside = np.clip(inside_mm / np.maximum(spread_mm, 1e-6) / 4, -2, 2)
    features = np.stack([logit(masses), logit(near_masses), inside, logit(near_masses)], axis=1)
    for group in np.unique(groups[groups >= 0]):
        rows = groups == group
        features[rows, 2] = features[rows, 2].min()
        features[rows, 3] = features[rows, 3].mean()
    return features


def fit_presence(features: Sequence[np.ndarray], present: Sequence[np.ndarray]) -> Presence | None:
    """
    Learn from held-out cases.

    Args:
        features: of each case, shape (n, FEATURES), of the landmarks that may be absent.
        present: whether they are there, shape (n,).

    Returns:
        None when too few points are present, or absent, to learn from.
    """
    x = np.concatenate([*features, np.zeros((0, FEATURES))])
    y = np.concatenate([*present, np.zeros(0, dtype=bool)]).astype(bool)
    if min(y.sum(), (~y).sum()) < FEWEST:
        return None
    side = np.where(y, 1.0, -1.0)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        margin = side * (x @ parameters[:-1] + parameters[-1])
        pull = -side * expit(-margin) / len(y)
        gradient = np.append(x.T @ pull + 2 * RIDGE * parameters[:-1] / FEATURES, pull.sum())
        penalty = RIDGE * float((parameters[:-1] ** 2).sum()) / FEATURES
        return float(-log_expit(margin).mean()) + penalty, gradient

    # More speaks for presence, never less: masses and room inside the image.
    bounds = [(0.0, None)] * FEATURES + [(None, None)]
    found = minimize(loss, np.zeros(FEATURES + 1), jac=True, bounds=bounds, method="L-BFGS-B").x
    chance = expit(x @ found[:-1] + found[-1])
    return Presence(found[:-1], float(found[-1]), _threshold(chance, y), (int(y.sum()), int((~y).sum())))


def _threshold(chance: np.ndarray, present: np.ndarray) -> float:
    """The threshold with the best F1 of absence; of those alike, the one nearest to one half."""
    edges = np.unique(np.concatenate([chance, [0.0, 1.0]]))
    candidates = np.append((edges[1:] + edges[:-1]) / 2, 0.5)
    candidates = candidates[(candidates >= 0.05) & (candidates <= 0.95)]
    absent = ~present
    hits = (chance < candidates[:, None]) & absent
    scores = 2 * hits.sum(axis=1) / np.maximum((chance < candidates[:, None]).sum(axis=1) + absent.sum(), 1)
    best = candidates[scores >= scores.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])
