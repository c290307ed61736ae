# SPDX-License-Identifier: Apache-2.0
"""Which of several systems is better, told by the cases that all of them predicted.

Cases are the unit, or subjects where several cases are of one: landmarks of one case err together, and so do
cases of one subject. Of each case the mean error counts, over the landmarks that both systems of a pair give
a point for.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Difference", "best_of", "differences_to_best", "holm", "rank_shares"]

RESAMPLES, LEVEL, SEED = 5000, 0.95, 0


@dataclass(frozen=True)
class Difference:
    """
    How much worse a system is than the best.

    Args:
        mean_mm, low_mm, high_mm: the mean over units, and where it lies with 95 % over other units; NaN where
            they are too few.
        median_mm: of the units.
        p: that a difference so clear comes by chance (Wilcoxon's signed ranks, two-sided).
        p_holm: corrected for all pairs of systems, since the best is known only afterwards.
        units: cases or subjects in which both have a point.
        pairs: of systems.
    """

    mean_mm: float
    low_mm: float
    high_mm: float
    median_mm: float
    p: float
    p_holm: float
    units: int
    pairs: int

    def verdict(self) -> str:
        """``worse``, ``not clear``, or ``too few cases``: so few that nothing could be clear."""
        if np.isnan(self.p) or self.pairs * 2.0 ** (1 - self.units) >= 1 - LEVEL:
            return "too few cases"
        clear = self.p_holm < 1 - LEVEL and self.mean_mm > 0 and self.median_mm > 0
        return "worse" if clear else "not clear"


def best_of(errors_mm: Mapping[str, np.ndarray]) -> str:
    """
    The system of the least error, on the points that it shares with each other one.

    Args:
        errors_mm: as for :func:`differences_to_best`.
    """
    total = dict.fromkeys(errors_mm, 0.0)
    for one, other in itertools.permutations(errors_mm, 2):
        difference = _mean(errors_mm[one] - errors_mm[other])
        total[one] += 0.0 if np.isnan(difference) else difference
    nothing = {name: not np.isfinite(errors).any() for name, errors in errors_mm.items()}
    return min(errors_mm, key=lambda name: (nothing[name], total[name]))


def differences_to_best(
    errors_mm: Mapping[str, np.ndarray], subjects: Sequence[str] | None = None
) -> tuple[str, dict[str, Difference]]:
    """
    Compare each system with the best one.

    Args:
        errors_mm: of each system, shape (cases, landmarks), of the same cases and landmarks; NaN where it has
            no point.
        subjects: of the cases; left out, each is of its own.

    Returns:
        the best system, and of each other the difference to it.

    Source: Wiesenfarth et al., "Methods and open-source toolkit for analyzing and visualizing challenge
        results", Scientific Reports 2021.
    """
    pairs = list(itertools.combinations(errors_mm, 2))
    units = {}
    for one, other in pairs:
        values = _per_subject(errors_mm[one] - errors_mm[other], subjects)
        units[one, other] = values[np.isfinite(values)]
    p = {pair: _wilcoxon(values) for pair, values in units.items()}
    corrected = dict(zip(pairs, holm(list(p.values()))))
    best = best_of(errors_mm)
    found = {}
    for pair in pairs:
        if best in pair:
            values = units[pair] * (1 if pair[1] == best else -1)
            name = pair[0] if pair[1] == best else pair[1]
            found[name] = _difference(values, p[pair], float(corrected[pair]), len(pairs))
    return best, {name: found[name] for name in errors_mm if name != best}


def _per_subject(values: np.ndarray, subjects: Sequence[str] | None) -> np.ndarray:
    """The mean of each case, or of all cases of a subject; NaN for one that has none."""
    cases = np.array([_mean(row) for row in values])
    if subjects is None:
        return cases
    names = np.asarray(subjects)
    return np.array([_mean(cases[names == one]) for one in dict.fromkeys(subjects)])


def _wilcoxon(values: np.ndarray) -> float:
    if not len(values):
        return float("nan")
    return 1.0 if not values.any() else float(stats.wilcoxon(values).pvalue)


def _difference(values: np.ndarray, p: float, p_holm: float, pairs: int) -> Difference:
    if not len(values):
        unknown = float("nan")
        return Difference(unknown, unknown, unknown, unknown, unknown, unknown, 0, pairs)
    mean, median = float(values.mean()), float(np.median(values))
    low = high = mean if len(values) > 1 else float("nan")
    if len(values) > 1 and np.ptp(values) > 0:
        low, high = stats.bootstrap(
            (values,), np.mean, confidence_level=LEVEL, n_resamples=RESAMPLES, rng=np.random.default_rng(SEED)
        ).confidence_interval
    return Difference(mean, float(low), float(high), median, p, p_holm, len(values), pairs)


def holm(p_values: Sequence[float]) -> np.ndarray:
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


def rank_shares(errors_mm: Mapping[str, np.ndarray], subjects: Sequence[str] | None = None) -> np.ndarray:
    """
    How often each system takes each rank when cases, or subjects, are drawn again with replacement.

    Args:
        errors_mm, subjects: as for :func:`differences_to_best`; only cases count in which all have a point.

    Returns:
        shape (systems, ranks), rows add up to 1; of equal means the earlier system has the better rank.
    """
    shared = np.isfinite([*errors_mm.values()]).all(axis=0)
    units = np.array([_per_subject(np.where(shared, one, np.nan), subjects) for one in errors_mm.values()])
    units = units[:, np.isfinite(units).all(axis=0)]
    count = len(units)
    shares = np.full((count, count), np.nan)
    if units.shape[1]:
        random = np.random.default_rng(SEED)
        drawn = random.integers(units.shape[1], size=(RESAMPLES, units.shape[1]))
        ranks = units[:, drawn].mean(axis=2).argsort(axis=0, kind="stable").argsort(axis=0)
        shares = np.stack([(ranks == rank).mean(axis=1) for rank in range(count)], axis=1)
    return shares


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
