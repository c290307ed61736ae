# SPDX-License-Identifier: Apache-2.0
"""Points between frames: voxel indices, RAS millimetres, LPS millimetres.

Nothing here knows what a landmark or a file is. Every function keeps NaN rows as NaN, so a landmark
without a position passes through unchanged.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

__all__ = [
    "NORMAL_MEDIAN",
    "fit_rotation",
    "image_axes",
    "image_corners",
    "is_singular",
    "lps_to_ras",
    "ordered_axes",
    "part_affine",
    "radial_error",
    "rigid",
    "rotation_angle",
    "touched_box",
    "voxel_along",
    "voxel_spacing",
    "voxel_to_world",
    "voxels_outside",
    "world_to_voxel",
]

NORMAL_MEDIAN = 1.538  # median length of a standard normal vector in 3D


def voxel_to_world(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """
    Map points from voxel indices to world millimetres.

    Args:
        points: voxel indices (i, j, k), shape (..., 3); the centre of the first voxel is (0, 0, 0).
        affine: voxel to RAS millimetres, shape (4, 4).

    Returns:
        RAS millimetres, same shape as ``points``; NaN stays NaN.

    Raises:
        ValueError: when ``affine`` is not (4, 4).
    """
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (4, 4):
        raise ValueError(f"affine must be (4, 4), got {affine.shape}.")
    return np.asarray(np.asarray(points, dtype=np.float64) @ affine[:3, :3].T + affine[:3, 3])


def world_to_voxel(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """
    Map points from world millimetres to voxel indices: the inverse of :func:`voxel_to_world`.

    Raises:
        ValueError: when ``affine`` is not (4, 4) or cannot be inverted.
    """
    if is_singular(affine):
        raise ValueError(f"affine cannot be inverted: {np.asarray(affine).tolist()}.")
    return voxel_to_world(points, np.linalg.inv(np.asarray(affine, dtype=np.float64)))


def lps_to_ras(points: np.ndarray) -> np.ndarray:
    """
    Turn LPS millimetres into RAS millimetres by negating x and y; the same map leads back.

    Args:
        points: shape (..., 3).
    """
    return np.asarray(np.asarray(points, dtype=np.float64) * np.array([-1.0, -1.0, 1.0]))


def voxel_spacing(affine: np.ndarray) -> np.ndarray:
    """
    Distance between neighbouring voxel centres along i, j and k, in millimetres, shape (3,).
    """
    return np.asarray(np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0))


def is_singular(affine: np.ndarray) -> bool:
    """
    True when an affine does not map voxels to a volume: wrong shape, not finite, or flat.
    """
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        return True
    spacing = voxel_spacing(affine)
    if (spacing <= 0).any():
        return True
    # The volume of a unit voxel with its edge lengths divided out: 1 when the axes are orthogonal.
    return bool(abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-6)


def voxels_outside(voxel_points: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """
    How far each point is outside a grid of voxels, in voxels; 0 inside. Half a voxel of edge counts as
    inside.

    Args:
        voxel_points: voxel indices, shape (n, 3).
        shape: voxels of the grid, three numbers.
    """
    high = np.array(shape) - 0.5
    return np.asarray(np.maximum(np.maximum(-0.5 - voxel_points, voxel_points - high), 0).max(axis=-1))


def image_corners(affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """
    The corners of an image, at the outer sides of its outermost voxels.

    Args:
        affine: voxel indices to millimetres, shape (4, 4).
        shape: voxels along each axis.

    Returns:
        millimetres, shape (8, 3).
    """
    corners = np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in shape], indexing="ij")).reshape(3, -1).T
    return voxel_to_world(corners, affine)


def touched_box(
    affine: np.ndarray,
    shape: Sequence[int],
    own: np.ndarray,
    own_shape: Sequence[int],
    margin: float | np.ndarray = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """
    The box of an image's voxels that a grid laid into it touches; at least one voxel, also where the grid
    lies outside.

    Args:
        affine: of the grid, to the millimetres that the image's leads to, shape (4, 4).
        shape: voxels of the grid, shape (3,).
        own, own_shape: the same of the image.
        margin: further voxels of the image on each side; 1 is what a linear interpolation needs.

    Returns:
        the first voxel, and the one after the last, each int, shape (3,).
    """
    voxels = world_to_voxel(image_corners(affine, shape), own)
    size = np.array(own_shape)
    low = np.clip(np.floor(voxels.min(axis=0) - margin), 0, size - 1).astype(int)
    high = np.clip(np.ceil(voxels.max(axis=0) + margin) + 1, low + 1, size).astype(int)
    return low, high


def part_affine(affine: np.ndarray, first: Sequence[int] | np.ndarray) -> np.ndarray:
    """
    The affine of the part of an image that begins at a voxel.

    Args:
        affine: of the image, voxel to millimetres, shape (4, 4).
        first: the voxel, shape (3,).
    """
    moved = np.array(affine, dtype=np.float64)
    moved[:3, 3] += moved[:3, :3] @ np.asarray(first)
    return moved


def radial_error(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """
    Euclidean distance between matching points.

    Args:
        points, reference: millimetres, shape (..., 3).

    Returns:
        millimetres, shape (...,); NaN where either point is NaN.
    """
    offset = np.asarray(points, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    return np.asarray(np.linalg.norm(offset, axis=-1))


def fit_rotation(points: np.ndarray, reference: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """
    The rotation that best turns one centred point cloud into another; any number of clouds at once.

    Args:
        points, reference: matching points without NaN, shape (..., n, 3), n >= 3.
        weights: of the points, not negative, shape (..., n); left out, all count alike.

    Returns:
        rotation matrix R of shape (..., 3, 3), det +1, so that ``(points - mean) @ R.T`` is closest to
        ``reference - mean`` in the least squares sense.

    Source: Kabsch, "A solution for the best rotation to relate two sets of vectors", 1976.
    """
    share = np.ones(points.shape[:-1]) if weights is None else weights
    share = (share / share.sum(axis=-1, keepdims=True))[..., None]
    first = points - (share * points).sum(axis=-2, keepdims=True)
    second = reference - (share * reference).sum(axis=-2, keepdims=True)
    u, _, vt = np.linalg.svd(np.swapaxes(share * first, -1, -2) @ second)
    v, ut = np.swapaxes(vt, -1, -2), np.swapaxes(u, -1, -2)
    flip = np.ones(u.shape[:-1])
    flip[..., 2] = np.where(np.linalg.det(v @ ut) < 0, -1.0, 1.0)
    return np.asarray((v * flip[..., None, :]) @ ut)


def rotation_angle(rotation: np.ndarray) -> float:
    """
    Angle of a rotation matrix about its own axis, in degrees, 0 to 180.
    """
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1.0, 1.0))))


def ordered_axes(columns: np.ndarray) -> np.ndarray:
    """
    Axes sorted and signed to be close to (right, anterior, superior), or whatever frame they are given in.

    Args:
        columns: perpendicular unit vectors, shape (3, 3).

    Returns:
        the same as a rotation, shape (3, 3), det +1.
    """
    closest = max(itertools.permutations(range(3)), key=lambda order: np.abs(columns)[range(3), order].sum())
    axes = columns[:, closest]
    axes = axes * np.where(np.diag(axes) < 0, -1.0, 1.0)
    if np.linalg.det(axes) < 0:
        axes[:, np.argmin(np.abs(np.diag(axes)))] *= -1
    return np.asarray(axes)


def image_axes(affine: np.ndarray) -> np.ndarray:
    """
    The axes along which an image's voxels lie, in whatever order they are stored: from left to right, back to
    front and up, in RAS; where they are sheared, the nearest that are perpendicular.

    Args:
        affine: voxel to RAS millimetres, shape (4, 4).

    Returns:
        rotation matrix, shape (3, 3): ``points @ axes`` are millimetres along the image's axes.
    """
    u, _, vt = np.linalg.svd(affine[:3, :3] / voxel_spacing(affine))
    return ordered_axes(u @ vt)


def voxel_along(affine: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """
    How long a grid's voxel is along any axes.

    Args:
        affine: voxel to RAS millimetres, shape (4, 4).
        axes: unit columns, shape (3, 3).

    Returns:
        millimetres, shape (3,).
    """
    return np.asarray(np.linalg.norm(axes.T @ affine[:3, :3], axis=1))


def rigid(rotation: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """
    A turn and then a shift as one matrix, shape (4, 4).

    Args:
        rotation: shape (3, 3).
        shift: shape (3,).
    """
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, shift
    return matrix
