# SPDX-License-Identifier: Apache-2.0
"""What one gets without looking at the image: the mean position of each landmark in the other cases."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ..data.datalist import Case
from ..data.images import read_geometry
from ..formats import read_landmarks
from ..geometry import radial_error, voxel_to_world
from ..landmarks import ABSENT, PRESENT, LandmarkSet

__all__ = ["mean_position_error", "mean_positions"]


def mean_position_error(
    annotated: Sequence[Case], evaluated: Collection[str], names: Sequence[str]
) -> float | None:
    """
    Mean radial error of the mean position over the other annotated cases, in millimetres; None when no
    landmark has another case.

    Args:
        annotated: cases with landmarks; a case is never part of its own mean.
        evaluated: ids of those whose error counts.
        names: the landmarks.

    Positions are compared in millimetres from the middle of each image, since its origin says nothing.
    """
    points = [_from_the_middle(case, names) for case in annotated]
    if len(points) < 2:
        return None
    all_points = np.array(points)
    counts = np.isfinite(all_points).all(axis=2).sum(axis=0)[:, None]
    total = np.nansum(all_points, axis=0)
    errors = [
        radial_error((total - np.nan_to_num(own)) / np.maximum(counts - np.isfinite(own), 1), own)[
            counts[:, 0] > 1
        ]
        for case, own in zip(annotated, all_points)
        if case.id in evaluated
    ]
    known = np.concatenate(errors) if errors else np.array([])
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else None


def mean_positions(known: Sequence[Case], images: Sequence[Case], names: Sequence[str]) -> list[LandmarkSet]:
    """
    What one would say of images without looking at them.

    Args:
        known: annotated cases.
        images: of which only the geometry is read.
        names: the landmarks; one that no case has is absent.
    """
    points = np.array([_from_the_middle(case, names) for case in known])
    counts = np.isfinite(points).all(axis=2).sum(axis=0)[:, None]
    mean = np.where(counts > 0, np.nansum(points, axis=0) / np.maximum(counts, 1), np.nan)
    status = np.where(counts[:, 0] > 0, PRESENT, ABSENT)
    return [LandmarkSet(tuple(names), mean + _middle(case), status) for case in images]


def _from_the_middle(case: Case, names: Sequence[str]) -> np.ndarray:
    """Landmarks in millimetres from the middle of the image, shape (N, 3)."""
    assert case.label is not None
    return np.asarray(read_landmarks(case.label).select(names).points - _middle(case))


def _middle(case: Case) -> np.ndarray:
    shape, affine = read_geometry(case.image)
    return voxel_to_world((np.array(shape) - 1) / 2, affine)
