# SPDX-License-Identifier: Apache-2.0
"""Other views of an image, for a network to look at too: turned a little, and in a mirror where that is
allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from scipy.spatial.transform import Rotation

from ..geometry import voxel_to_world
from .fusion import on_grid

__all__ = ["MOST_VIEWS", "mean_over_views", "tilted", "views_of"]

TURN_DEG = 10.0
AXES = ((1, 0, 0), (-1, 0, 0), (0, 0, 1), (0, 0, -1))  # what is turned about
MOST_VIEWS = len(AXES) + 2
TILT_DEG = 15.0
TILT_AXES = (*AXES, (0, 1, 0), (0, -1, 0))


def views_of(
    image: MetaTensor, landmarks: int, flip_groups: Sequence[Sequence[int]] = ()
) -> Iterator[tuple[MetaTensor, list[int | None]]]:
    """
    The image as it is, turned a little to each side, and in a mirror.

    Args:
        image: shape (C, H, W, D).
        landmarks: N.
        flip_groups: as of :func:`auto3dlandmark.shapes.symmetry.flip_groups`; without any there is no mirror.

    Yields:
        a view, whose affine says where it lies, and of each landmark which heatmap of the view is its own;
        None where none is.
    """
    same: list[int | None] = list(range(landmarks))
    yield image, same
    for view in _turned(image, AXES, TURN_DEG):
        yield view, same
    if flip_groups:
        affine = image.affine.double().cpu().numpy()
        flip = np.diag([-1.0, 1.0, 1.0, 1.0])
        flip[0, 3] = image.shape[1] - 1
        partners = same.copy()
        for group in flip_groups:
            partners[group[0]] = group[1] if len(group) == 2 else None
            partners[group[-1]] = group[0] if len(group) == 2 else None
        yield MetaTensor(image.as_tensor().flip(1), affine=torch.as_tensor(affine @ flip)), partners


def tilted(image: MetaTensor) -> Iterator[MetaTensor]:
    """
    The image as it is, and tilted to each side, whole: what a network finds by how an image lies is found
    elsewhere in some of them.

    Args:
        image: shape (C, H, W, D).
    """
    yield image
    yield from _turned(image, TILT_AXES, TILT_DEG, whole=True)


def _turned(
    image: MetaTensor, axes: Iterable[Sequence[int]], degrees: float, whole: bool = False
) -> Iterator[MetaTensor]:
    """An image turned about each axis through its middle, on a grid of as many voxels, or one that holds all
    of it."""
    affine = image.affine.double().cpu().numpy()
    size = np.array(image.shape[1:])
    middle = voxel_to_world((size - 1) / 2, affine)
    resample = SpatialResample(mode="bilinear", padding_mode="border", dtype=np.float32)
    for axis in axes:
        turn = Rotation.from_rotvec(np.array(axis) * degrees, degrees=True).as_matrix()
        other = affine.copy()
        other[:3, :3] = turn @ affine[:3, :3]
        across = np.abs(np.linalg.solve(other[:3, :3], affine[:3, :3]))  # voxels of it that a voxel reaches
        shape = np.ceil(across @ size - 1e-6).astype(int) if whole else size
        other[:3, 3] = middle - other[:3, :3] @ ((shape - 1) / 2)
        view = resample(image, dst_affine=torch.as_tensor(other), spatial_size=shape.tolist())
        yield cast(MetaTensor, view)


def mean_over_views(
    look: Callable[[MetaTensor], torch.Tensor],
    image: MetaTensor,
    activation: str,
    landmarks: int,
    flip_groups: Sequence[Sequence[int]] = (),
) -> torch.Tensor:
    """
    The mean of the heatmaps of several views, on the grid of the image.

    Args:
        look: from an image (C, H, W, D) to heatmaps (N, H, W, D).
        activation: of the heatmaps, as for :func:`auto3dlandmark.inference.fusion.on_grid`.
        landmarks, flip_groups: as for :func:`views_of`.
    """
    total = torch.zeros(landmarks, *image.shape[1:])
    count = torch.zeros(landmarks, 1, 1, 1)
    for view, channels in views_of(image, landmarks, flip_groups):
        heatmaps = on_grid(MetaTensor(look(view), affine=view.affine), image, activation)
        there = [landmark for landmark, channel in enumerate(channels) if channel is not None]
        total[there] += heatmaps[[channel for channel in channels if channel is not None]]
        count[there] += 1
    return total / count
