# SPDX-License-Identifier: Apache-2.0
"""Where images usually end: they are taken by the levels of a chain, so where one ends tells which level is
which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry import image_corners

__all__ = ["FieldOfView", "fit_field_of_view"]

FEWEST_CASES = 5  # fewer do not say what is usual
STEADY, STEADIEST = 0.5, 0.1  # of a level: an end that is less steady tells none; none is steadier
ANYWHERE = 0.05  # the chance that an image ends anywhere
EXTENT_ROOM = 0.1  # by so much an image may be shorter or longer than all that were seen


@dataclass(frozen=True)
class FieldOfView:
    """
    How far images usually reach beyond the middle of the landmarks, along the chain: to that side where it is
    steadier.

    Args:
        direction: a unit vector in RAS, shape (3,).
        reach_mm: from the middle of the landmarks to the end of the image.
        deviation_mm: how steady that is, as a standard deviation.
        extents_mm: the shortest and the longest image along the direction.
    """

    direction: np.ndarray
    reach_mm: float
    deviation_mm: float
    extents_mm: tuple[float, float]

    def unlikely(self, affine: np.ndarray, shape: Sequence[int], middle: np.ndarray) -> float:
        """
        How unlikely it is that landmarks lie there: 0 where they usually do, 1 far from there. An image that
        is shorter or longer than all that were seen was taken otherwise, or cut, and says nothing: 0.

        Args:
            affine: voxel to RAS millimetres of the image, shape (4, 4).
            shape: its voxels along each axis, shape (3,).
            middle: of the landmarks, RAS millimetres, shape (3,).
        """
        begin, end = _ends(affine, shape, self.direction)
        shortest, longest = self.extents_mm
        if not shortest / (1 + EXTENT_ROOM) <= end - begin <= longest * (1 + EXTENT_ROOM):
            return 0.0
        off = (end - middle @ self.direction - self.reach_mm) / self.deviation_mm
        return float(np.log(ANYWHERE + (1 - ANYWHERE) * np.exp(-(off**2) / 2)) / np.log(ANYWHERE))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "direction": self.direction.tolist(),
            "reach_mm": round(self.reach_mm, 3),
            "deviation_mm": round(self.deviation_mm, 3),
            "extents_mm": [round(extent, 3) for extent in self.extents_mm],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> FieldOfView:
        """
        Raises:
            KeyError, TypeError, ValueError: when it is not what :meth:`to_json` gives.
        """
        shortest, longest = content["extents_mm"]
        return cls(
            np.array(content["direction"], dtype=float).reshape(3),
            float(content["reach_mm"]),
            float(content["deviation_mm"]),
            (float(shortest), float(longest)),
        )


def fit_field_of_view(
    images: Sequence[tuple[Sequence[int], np.ndarray]], middles: np.ndarray, levels: np.ndarray
) -> FieldOfView | None:
    """
    What is usual of training images; None where no end of them is steady enough to tell a level.

    Args:
        images: shape (3,) and affine (4, 4) of each of K.
        middles: of their landmarks, RAS millimetres, shape (K, 3).
        levels: from there to where the middle would lie a level further, shape (K, 3).
    """
    if len(images) < FEWEST_CASES:
        return None
    # Few cases say less than they seem to of how steady it is.
    widen = float(np.sqrt((len(images) + 1) / (len(images) - 1)))
    step = levels.mean(axis=0)
    axis = int(np.argmax(np.abs(step)))
    level_mm = float(abs(step[axis]))
    found = []
    for direction in (np.eye(3)[axis], 0.0 - np.eye(3)[axis]):
        ends = np.array([_ends(affine, shape, direction) for shape, affine in images])
        reach = ends[:, 1] - middles @ direction
        usual_mm = float(np.median(reach))
        deviation_mm = widen * float(np.sqrt(((reach - usual_mm) ** 2).mean()))
        extents = ends[:, 1] - ends[:, 0]
        span = float(extents.min()), float(extents.max())
        found.append(FieldOfView(direction, usual_mm, max(deviation_mm, STEADIEST * level_mm), span))
    steadier = min(found, key=lambda one: one.deviation_mm)
    return steadier if steadier.deviation_mm < STEADY * level_mm else None


def _ends(affine: np.ndarray, shape: Sequence[int], direction: np.ndarray) -> tuple[float, float]:
    """Where an image begins and ends along a direction, millimetres."""
    along = image_corners(affine, shape) @ direction
    return float(along.min()), float(along.max())
