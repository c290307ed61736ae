# SPDX-License-Identifier: Apache-2.0
"""What a prediction says of itself: how far off each point may be, whether it is there, and what was found
of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["LEVELS", "POSTERIOR_MODES", "Estimates"]

# Whether landmarks decide together: where held-out cases say that it helps, always, never.
POSTERIOR_MODES = ("auto", "on", "off")
LEVELS = (50, 90, 95)  # per cent, of the radii


@dataclass(frozen=True, eq=False)
class Estimates:
    """
    How sure a prediction is, by landmark. NaN stands for what is not known.

    Args:
        probability: of being present, in [0, 1], shape (N,).
        radii_mm: radius around the point that holds the landmark with 50, 90 and 95 %, shape (N, 3).
        covariance: of the point, mm² in RAS, shape (N, 3, 3).
        peaks: what the network found, before the landmarks decided together, RAS millimetres, shape (N, 3).
        notes: why a landmark is absent, or what is odd about it; empty where there is nothing to say.
        unusual: how little the case looks like the training images; 1 is as far as they go, more is beyond.
    """

    probability: np.ndarray
    radii_mm: np.ndarray
    covariance: np.ndarray
    peaks: np.ndarray
    notes: tuple[str, ...]
    unusual: float = np.nan

    @classmethod
    def unknown(cls, count: int) -> Estimates:
        """Nothing is known of so many landmarks."""
        shapes = ((count,), (count, 3), (count, 3, 3), (count, 3))
        probability, radii, covariance, peaks = (np.full(shape, np.nan) for shape in shapes)
        return cls(probability, radii, covariance, peaks, ("",) * count)

    @property
    def radius95_mm(self) -> np.ndarray:
        """Radius that holds each landmark with 95 %, shape (N,)."""
        return np.asarray(self.radii_mm[:, LEVELS.index(95)])

    def select(self, rows: Sequence[int]) -> Estimates:
        """Those of these landmarks, in this order; a row of -1 is one of which nothing is known."""
        lost = np.asarray(rows, dtype=int) < 0
        empty = Estimates.unknown(1)

        def chosen(name: str) -> np.ndarray:
            values = np.concatenate([getattr(self, name), getattr(empty, name)])
            return np.asarray(values[np.where(lost, -1, rows).astype(int)])

        notes = tuple("" if row < 0 else self.notes[row] for row in rows)
        probability, radii = chosen("probability"), chosen("radii_mm")
        return Estimates(probability, radii, chosen("covariance"), chosen("peaks"), notes, self.unusual)
