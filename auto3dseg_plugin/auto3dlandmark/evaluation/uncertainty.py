# SPDX-License-Identifier: Apache-2.0
"""Whether a prediction knows how far off it is: coverage of its radii, ranking, and who is there at all."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import spearmanr

from ..estimates import LEVELS
from ..landmarks import ABSENT, PRESENT

__all__ = ["presence_figures", "uncertainty_figures"]

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the surest points
FEWEST_POINTS = 3


def uncertainty_figures(errors_mm: np.ndarray, radii_mm: np.ndarray | None) -> dict[str, Any]:
    """
    How well radii fit errors.

    Args:
        errors_mm: shape (cases, N).
        radii_mm: that are to hold the landmark with 50, 90 and 95 %, shape (cases, N, 3); NaN where none is
            given.

    Returns:
        ``coverage`` in per cent by level, ``radius95_mm`` (its median), ``spearman`` of radius and error, and
        ``risk_coverage``: the mean error of the surest quarter, half, three quarters, and of all; nothing
        without radii.
    """
    if radii_mm is None:
        return {}
    known = np.isfinite(errors_mm) & np.isfinite(radii_mm).all(axis=-1)
    if known.sum() < FEWEST_POINTS:
        return {}
    errors, radii = errors_mm[known], radii_mm[known]
    sure = errors[np.argsort(radii[:, -1], kind="stable")]
    varied = len(np.unique(radii[:, -1])) > 1 and len(np.unique(errors)) > 1
    figures = {
        "coverage": {
            str(level): round(float(100 * np.mean(errors <= radii[:, row])), 2)
            for row, level in enumerate(LEVELS)
        },
        "radius95_mm": round(float(np.median(radii[:, -1])), 4),
        "spearman": round(float(spearmanr(radii[:, -1], errors).statistic), 4) if varied else None,
        "risk_coverage": {
            f"{share:g}": round(float(sure[: max(1, round(share * len(sure)))].mean()), 4) for share in SHARES
        },
    }
    return {"uncertainty": figures}


def presence_figures(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """
    Accuracy over present and absent landmarks, and F1 of absence, in [0, 1]; nothing where none is absent.

    Args:
        truth, predicted: codes of landmarks.py, any shape.
    """
    known = (truth == PRESENT) | (truth == ABSENT)
    absent, called = truth[known] == ABSENT, predicted[known] != PRESENT
    if not absent.any():
        return {}
    f1 = 2 * (absent & called).sum() / (absent.sum() + called.sum())
    return {"f1_absent": round(float(f1), 4), "accuracy": round(float((absent == called).mean()), 4)}
