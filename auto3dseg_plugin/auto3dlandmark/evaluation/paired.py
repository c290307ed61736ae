# SPDX-License-Identifier: Apache-2.0
"""Which of several systems is better, told by the cases that all of them predicted.

Cases are the unit: landmarks of one case err together. Of each case the mean error counts, over the landmarks
that both systems of a pair give a point for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Difference", "differences_to_best", "holm", "rank_shares"]

RESAMPLES, LEVEL, SEED = 5000, 0.95, 0
FEWEST_CASES = 6  # below, no order of signs is rarer than one in twenty


@dataclass(frozen=True)
class Difference:
    """
    How much worse a system is than the best.

    Args:
        mean_mm, low_mm, high_mm: the mean over cases, and where it lies with 95 % over other cases; NaN where
            cases are too few.
        p: that a difference so clear comes by chance (Wilcoxon's signed ranks, two-sided); NaN where cases
            are too few.
        p_holm: corrected for the number of systems.
        cases: in how many both have a point.
    """

    mean_mm: float
    low_mm: float
    high_mm: float
    p: float
    p_holm: float
    cases: int

    def verdict(self) -> str:
        """A few words."""
        if np.isnan(self.p_holm):
            return "too few cases to tell"
        return "worse" if self.p_holm < 1 - LEVEL else "no clear difference"


def differences_to_best(errors_mm: Mapping[str, np.ndarray]) -> tuple[str, dict[str, Difference]]:
    """
    Compare each system with the one of the least mean error.

    Args:
        errors_mm: of each system, shape (cases, landmarks), of the same cases and landmarks; NaN where it has
            no point.

    Returns:
        the best system, and of each other the difference to it.

    Source: Wiesenfarth et al., "Methods and open-source toolkit for analyzing and visualizing challenge
        results", Scientific Reports 2021.
    """
    best = min(errors_mm, key=lambda name: _mean(errors_mm[name]))
    found = {name: _difference(errors, errors_mm[best]) for name, errors in errors_mm.items() if name != best}
    corrected = holm([one[3] for one in found.values()])
    return best, {
        name: Difference(*one[:4], float(p), one[4]) for (name, one), p in zip(found.items(), corrected)
    }


def _difference(errors: np.ndarray, best: np.ndarray) -> tuple[float, float, float, float, int]:
    """Mean, its bounds, p, and the number of cases."""
    values = np.array([_mean(row) for row in errors - best])
    values = values[np.isfinite(values)]
    mean = float(values.mean()) if len(values) else float("nan")
    if len(values) < FEWEST_CASES:
        return mean, float("nan"), float("nan"), float("nan"), len(values)
    if np.ptp(values) == 0:
        return mean, mean, mean, 1.0 if mean == 0 else float(stats.wilcoxon(values).pvalue), len(values)
    found = stats.bootstrap(
        (values,), np.mean, confidence_level=LEVEL, n_resamples=RESAMPLES, rng=np.random.default_rng(SEED)
    ).confidence_interval
    return mean, float(found.low), float(found.high), float(stats.wilcoxon(values).pvalue), len(values)


def holm(p_values: list[float]) -> np.ndarray:
    """
    Holm's correction of p-values for their number; NaN stays, and does not count.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
        Statistics 1979.
    """
    p = np.array(p_values, dtype=float)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    p[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return p


def rank_shares(errors_mm: Mapping[str, np.ndarray]) -> np.ndarray:
    """
    How often each system takes each rank when cases are drawn again with replacement.

    Args:
        errors_mm: as for :func:`differences_to_best`.

    Returns:
        shape (systems, ranks), rows add up to 1; of equal means the earlier system has the better rank.
    """
    cases = np.array([[_mean(row) for row in errors] for errors in errors_mm.values()])
    cases = cases[:, np.isfinite(cases).all(axis=0)]
    count = len(cases)
    shares = np.full((count, count), np.nan)
    if cases.shape[1]:
        random = np.random.default_rng(SEED)
        drawn = random.integers(cases.shape[1], size=(RESAMPLES, cases.shape[1]))
        ranks = cases[:, drawn].mean(axis=2).argsort(axis=0, kind="stable").argsort(axis=0)
        shares = np.stack([(ranks == rank).mean(axis=1) for rank in range(count)], axis=1)
    return shares


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
