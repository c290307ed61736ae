# SPDX-License-Identifier: Apache-2.0
"""Landmarks as label maps: a few voxels of an image's grid for each.

They need the image's affine to say where a landmark is, so they are no landmark files of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import LandmarkError
from ..geometry import voxel_to_world, world_to_voxel
from ..landmarks import PRESENT, LandmarkSet

__all__ = ["landmarks_of_labels", "paint_cubes", "paint_spheres"]


def landmarks_of_labels(labels: np.ndarray, affine: np.ndarray, names: Mapping[int, str]) -> LandmarkSet:
    """
    The centroid of each label of a label map; a label without a voxel is unknown.

    Args:
        labels: whole numbers, shape (H, W, D).
        affine: voxel to RAS millimetres, shape (4, 4).
        names: by label value.

    Raises:
        LandmarkError: when the map holds a label without a name.
    """
    values = np.unique(labels)
    nameless = [int(value) for value in values if value != 0 and value not in names]
    if nameless:
        raise LandmarkError(f"the label map holds the label {nameless[0]}, which has no name.")
    points = np.full((len(names), 3), np.nan)
    for row, value in enumerate(names):
        voxels = np.argwhere(labels == value)
        if len(voxels):
            points[row] = voxel_to_world(voxels.mean(axis=0), affine)
    return LandmarkSet(tuple(names.values()), points)


def paint_cubes(
    landmarks: LandmarkSet, shape: Sequence[int], affine: np.ndarray, reach: int = 1
) -> tuple[np.ndarray, list[str]]:
    """
    A label map with a cube of 3 voxels around each present landmark, numbered from 1 in their order.

    Returns:
        labels: uint8, or uint16 for more than 255 landmarks; shape ``shape``.
        lost: the names whose cube is cut by the border or painted over by another's.
    """
    labels = np.zeros(tuple(shape), dtype=np.uint8 if len(landmarks) < 256 else np.uint16)
    whole = (2 * reach + 1) ** 3
    for number, (point, status) in enumerate(zip(landmarks.points, landmarks.status), start=1):
        if status == PRESENT:
            centre = np.round(world_to_voxel(point, affine)).astype(int)
            cube = tuple(slice(max(at - reach, 0), max(at + reach + 1, 0)) for at in centre)
            labels[cube] = number
    counts = np.bincount(labels.ravel(), minlength=len(landmarks) + 1)
    return labels, [
        name
        for number, (name, status) in enumerate(zip(landmarks.names, landmarks.status), start=1)
        if status == PRESENT and counts[number] < whole
    ]


def paint_spheres(
    landmarks: LandmarkSet, shape: Sequence[int], affine: np.ndarray, radius_mm: float
) -> np.ndarray:
    """
    A label map with a ball around each present landmark, numbered from 1 in their order. Balls are smaller
    where landmarks lie closer together, so that the centroid of each is its landmark, up to the voxels'
    coarseness.

    Returns:
        labels: uint8, or uint16 for more than 255 landmarks; shape ``shape``.
    """
    labels = np.zeros(tuple(shape), dtype=np.uint8 if len(landmarks) < 256 else np.uint16)
    nearest = np.full(labels.shape, np.inf, dtype=np.float32)
    reach = np.ceil(radius_mm * np.linalg.norm(np.linalg.inv(affine[:3, :3]), axis=1)).astype(int)
    apart = np.linalg.norm(landmarks.points[:, None] - landmarks.points, axis=-1) + np.diag(
        [np.inf] * len(landmarks)
    )
    radii = np.minimum(np.nanmin(np.nan_to_num(apart, nan=np.inf), axis=1, initial=np.inf) / 2, radius_mm)
    for number, (point, status) in enumerate(zip(landmarks.points, landmarks.status), start=1):
        if status == PRESENT:
            centre = np.round(world_to_voxel(point, affine)).astype(int)
            low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, labels.shape)
            if (low >= high).any():
                continue
            box = tuple(slice(first, end) for first, end in zip(low, high))
            voxels = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
            distance = np.linalg.norm(voxel_to_world(voxels, affine) - point, axis=-1)
            inside = (distance <= max(radii[number - 1], distance.min())) & (distance < nearest[box])
            labels[box][inside] = number
            nearest[box][inside] = distance[inside]
    return labels
