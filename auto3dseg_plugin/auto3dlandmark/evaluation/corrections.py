# SPDX-License-Identifier: Apache-2.0
"""What a reviewer changed: the work that predictions leave to people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import radial_error
from ..landmarks import UNKNOWN, LandmarkSet

__all__ = ["Corrections", "corrections"]

MOVED_MM = 0.01  # less is what files round


@dataclass(frozen=True)
class Corrections:
    """
    The corrections of one case.

    Args:
        placed: landmarks that had no point and were given one.
        moved: landmarks whose point lies elsewhere now.
        removed: landmarks that had a point, and are absent or unknown now.
        moved_mm: mean distance of those that were moved; 0 when none was.
        landmarks: of which something is known now.
    """

    placed: int
    moved: int
    removed: int
    moved_mm: float
    landmarks: int

    @property
    def count(self) -> int:
        """Of all."""
        return self.placed + self.moved + self.removed


def corrections(before: LandmarkSet | None, after: LandmarkSet) -> Corrections:
    """
    What was changed between two versions of a case's landmarks.

    Args:
        before: what a reviewer was shown; None: nothing.
        after: what she submitted.
    """
    nothing = np.full(after.points.shape, np.nan)
    shown = nothing if before is None else before.select(after.names).points
    there, now = np.isfinite(shown).all(axis=1), after.present
    distance = radial_error(shown, after.points)
    moved = there & now & (distance > MOVED_MM)
    return Corrections(
        placed=int((now & ~there).sum()),
        moved=int(moved.sum()),
        removed=int((there & ~now).sum()),
        moved_mm=round(float(distance[moved].mean()), 3) if moved.any() else 0.0,
        landmarks=int((after.status != UNKNOWN).sum()),
    )
