# SPDX-License-Identifier: Apache-2.0
"""Landmarks that are annotated in one slice: points that share a coordinate along an axis of their image.

Whoever places several points in the same slice gives them exactly one coordinate across it, also where the
anatomy is tilted. A network finds each point alone and follows the anatomy; so its points are laid into one
slice again, at the place that they agree on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from ..errors import LandmarkError
from ..geometry import image_axes, voxel_along

__all__ = ["SameSlice", "find_same_slice"]

AXES = ("left to right", "back to front", "down to up")
FEWEST_CASES = 5  # that have both of two points: fewer may agree by chance
SAME_VOXELS = 0.05  # by which points of one slice may differ, for what files round
ROUNDS = 3
FURTHER = 1.5  # times further from their slices than usual: the image lies askew, and its slices are others


@dataclass(frozen=True)
class SameSlice:
    """
    Which landmarks lie in one slice.

    Args:
        groups: for each axis of an image, from left to right, back to front and up: landmarks with the same
            number share their coordinate, shape (3, N); -1 for those that share it with no other.
        usual_mm: how far what networks find lies from these slices, at most, in images that lie as usual.
    """

    groups: np.ndarray
    usual_mm: float = float("inf")

    @property
    def count(self) -> int:
        """How many landmarks share a coordinate with another one."""
        return int((self.groups >= 0).any(axis=0).sum())

    def apart_mm(self, points: np.ndarray, weights: np.ndarray, affine: np.ndarray) -> float:
        """
        How far points lie from their slices, the weighted median of those that share one; 0 where none do.

        Args:
            points, weights, affine: as for :meth:`laid`.
        """
        moved = np.linalg.norm(self.laid(points, weights, affine) - points, axis=1)
        known = np.isfinite(moved) & (weights > 0) & (self.groups >= 0).any(axis=0)
        return _middle(moved[known], weights[known]) if known.any() else 0.0

    def askew(self, points: np.ndarray, weights: np.ndarray, affine: np.ndarray) -> bool:
        """
        Whether the image lies otherwise than usual, so that its slices are not those that landmarks share.

        Args:
            points: as a network found them, RAS millimetres, shape (N, 3).
            weights, affine: as for :meth:`laid`.
        """
        return self.apart_mm(points, weights, affine) > FURTHER * self.usual_mm

    def seen_in(self, found: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> SameSlice:
        """
        The same, with what is usual in some cases.

        Args:
            found: points, weights and affine of each, as for :meth:`askew`.
        """
        return replace(self, usual_mm=max((self.apart_mm(*case) for case in found), default=float("inf")))

    def laid(self, points: np.ndarray, weights: np.ndarray, affine: np.ndarray) -> np.ndarray:
        """
        Points with those of one slice moved into it, each along the one axis.

        The slice is the weighted mean under Student's t noise: a point that is far from the others says
        little.

        Args:
            points: RAS millimetres, shape (N, 3), NaN where there is none.
            weights: how much each says, shape (N,).
            affine: voxel to RAS millimetres of the image, shape (4, 4).
        """
        axes = image_axes(affine)
        along = points @ axes
        there = np.isfinite(points).all(axis=1) & (weights > 0)
        for axis, groups in enumerate(self.groups):
            for group in np.unique(groups[groups >= 0]):
                rows = np.flatnonzero((groups == group) & there)
                if len(rows) > 1:
                    along[rows, axis] = _agreed(along[rows, axis], weights[rows])
        return np.asarray(np.where(there[:, None], along @ axes.T, points))

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """The names of landmarks that share a coordinate, by the axis along which they do; what is usual."""
        groups = {
            title: [
                [name for name, own in zip(names, groups) if own == group]
                for group in np.unique(groups[groups >= 0])
            ]
            for title, groups in zip(AXES, self.groups)
        }
        return {**groups, "usual_mm": round(self.usual_mm, 4) if np.isfinite(self.usual_mm) else None}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], names: Sequence[str], where: str) -> SameSlice:
        """
        Raises:
            LandmarkError: when it is not what :meth:`to_json` gives.
        """
        index = {name: row for row, name in enumerate(names)}
        groups = np.full((3, len(names)), -1)
        try:
            for axis, title in enumerate(AXES):
                for number, together in enumerate(content[title]):
                    groups[axis, [index[name] for name in together]] = number
            usual = content.get("usual_mm")
            return cls(groups) if usual is None else cls(groups, float(usual))
        except (KeyError, TypeError, ValueError) as error:
            raise LandmarkError(f"{where}: is damaged ({error}). Calibrate the bundle again.") from error


def find_same_slice(cases: Iterable[tuple[np.ndarray, np.ndarray]]) -> SameSlice | None:
    """
    Landmarks that lie in one slice in every case.

    Args:
        cases: the points of each in RAS millimetres, shape (N, 3), NaN where there is none; and the affine of
            its image, shape (4, 4). No more are taken than it needs to see that there are none.

    Returns:
        None where no two landmarks do.
    """
    same: np.ndarray | None = None
    together = np.zeros((1, 1), dtype=int)
    for number, (points, affine) in enumerate(cases, start=1):
        axes = image_axes(affine)
        slices = (points @ axes) / voxel_along(affine, axes)
        apart = np.abs(slices[:, None] - slices[None]).transpose(2, 0, 1)  # (3, N, N)
        same = (same if same is not None else True) & ~(apart > SAME_VOXELS)
        together = together + np.isfinite(apart).all(axis=0)
        if number >= FEWEST_CASES and not _without_diagonal(same).any():
            return None
    if same is None:
        return None
    tied = _without_diagonal(same & (together >= FEWEST_CASES))
    return SameSlice(np.stack([_numbered(one) for one in tied])) if tied.any() else None


def _without_diagonal(pairs: np.ndarray) -> np.ndarray:
    return np.asarray(pairs & ~np.eye(pairs.shape[-1], dtype=bool))


def _numbered(tied: np.ndarray) -> np.ndarray:
    """The group of each landmark, shape (N,); -1 for those that are alone."""
    _, labels = connected_components(tied, directed=False)
    return np.where(tied.any(axis=1), labels, -1)


def _agreed(values: np.ndarray, weights: np.ndarray) -> float:
    """The mean of values of which some may be wrong."""
    middle = _middle(values, weights)
    for _ in range(ROUNDS):
        width = max(float(np.median(np.abs(values - middle))), 1e-6)
        shares = weights * 4 / (3 + ((values - middle) / (1.5 * width)) ** 2)
        middle = float((shares * values).sum() / shares.sum())
    return middle


def _middle(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted median."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, 0.5 * reached[-1])])
