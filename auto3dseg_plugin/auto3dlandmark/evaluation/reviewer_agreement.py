# SPDX-License-Identifier: Apache-2.0
"""How far two people who looked at one case lie apart: no network can be asked to be better than that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import radial_error
from ..landmarks import UNKNOWN, LandmarkSet

__all__ = ["InterobserverAgreement", "agreement"]


@dataclass(frozen=True)
class InterobserverAgreement:
    """
    Two labels of one case.

    Args:
        names: landmarks of which both say something.
        distance_mm: between their points, shape (N,); NaN where one of them has no point.
        presence_differs: one says present, the other one absent, shape (N,).
    """

    names: tuple[str, ...]
    distance_mm: np.ndarray
    presence_differs: np.ndarray

    @property
    def mean_mm(self) -> float | None:
        """None when they have no point in common."""
        known = self.distance_mm[~np.isnan(self.distance_mm)]
        return float(known.mean()) if len(known) else None

    @property
    def worst(self) -> str | None:
        """The landmark they differ most about."""
        return None if self.mean_mm is None else self.names[int(np.nanargmax(self.distance_mm))]


def agreement(first: LandmarkSet, second: LandmarkSet) -> InterobserverAgreement:
    """
    Compare two labels; a landmark that one of them leaves unknown is not compared.

    Args:
        first, second: of the same image, with the same names in any order.
    """
    second = second.select(first.names)
    both = (first.status != UNKNOWN) & (second.status != UNKNOWN)
    return InterobserverAgreement(
        names=tuple(name for name, counts in zip(first.names, both) if counts),
        distance_mm=radial_error(first.points[both], second.points[both]),
        presence_differs=first.status[both] != second.status[both],
    )
