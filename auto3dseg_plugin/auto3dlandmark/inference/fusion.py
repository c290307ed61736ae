# SPDX-License-Identifier: Apache-2.0
"""Heatmaps of several networks as one: on the finest of their grids, in the world."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample

from ..geometry import part_affine, touched_box
from ..inferers.streamed import KeptHeatmaps
from ..transforms.decode import decode_peaks

__all__ = ["Seen", "fused_peaks", "on_grid", "voxel_volume"]

MOST_RESAMPLED = 2**22  # voxels at once, each of which takes many bytes of coordinates


@dataclass(frozen=True)
class Seen:
    """
    What was kept of the heatmaps of one view of an image.

    Args:
        kept: the heatmaps.
        affine: of their grid, voxel to RAS millimetres, shape (4, 4).
        channels: of each landmark, the heatmap that is its own; None where there is none.
    """

    kept: KeptHeatmaps
    affine: torch.Tensor
    channels: Sequence[int | None]

    def part(self, landmark: int) -> MetaTensor | None:
        """Of a landmark's heatmap, all that was kept, shape (1, h, w, d), where it lies."""
        channel = self.channels[landmark]
        if channel is None:
            return None
        low, values = self.kept.part(channel)
        return MetaTensor(values[None], affine=_moved(self.affine, low))


def fused_peaks(
    seen: Sequence[Sequence[Seen]], grid: MetaTensor, activation: str, radius: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    What :func:`auto3dlandmark.transforms.decode.decode_peaks` finds in the mean of heatmaps on several grids,
    of one landmark after the other.

    Args:
        seen: by each bundle, whose views are averaged first.
        grid: an image on the grid that the mean is taken on.
        activation: as for :func:`on_grid`.
        radius: as for ``decode_peaks``, in voxels of that grid.
    """
    found = []
    for landmark in range(len(seen[0][0].channels)):
        parts = [[part for view in views if (part := view.part(landmark)) is not None] for views in seen]
        low, size = _box(itertools.chain(*parts), grid, radius)
        total = torch.zeros(size)
        for views in parts:
            for part in views:
                _add(total, part, _moved(grid.affine, low), activation, 1 / (len(views) * len(parts)))
        points, heights, masses, variances = decode_peaks(total[None], radius)
        found.append((points + torch.tensor(low), heights, masses, variances))
    points, heights, masses, variances = (torch.cat(one) for one in zip(*found))
    return points, heights, masses, variances


def on_grid(heatmaps: MetaTensor, grid: MetaTensor, activation: str) -> torch.Tensor:
    """
    Heatmaps resampled to another grid, shape (N, *grid); a softmax keeps its sum, a sigmoid its height.
    """
    if heatmaps.shape[1:] == grid.shape[1:] and torch.allclose(heatmaps.affine, grid.affine, atol=1e-4):
        return heatmaps.as_tensor()
    return _resampled(heatmaps, grid.affine, grid.shape[1:], activation)


def voxel_volume(image: MetaTensor) -> float:
    return float(image.pixdim.prod())


def _resampled(
    heatmaps: MetaTensor, affine: torch.Tensor, size: Sequence[int], activation: str
) -> torch.Tensor:
    resample = SpatialResample(mode="bilinear", padding_mode="zeros")
    result = cast(MetaTensor, resample(heatmaps, dst_affine=affine, spatial_size=size))
    share = voxel_volume(result) / voxel_volume(heatmaps) if activation == "softmax" else 1.0
    return result.as_tensor() * share


def _add(total: torch.Tensor, part: MetaTensor, affine: torch.Tensor, activation: str, share: float) -> None:
    """Add a part of a heatmap to a sum on a grid, in place, a few rows at a time."""
    rows = max(1, MOST_RESAMPLED // total[0].numel())
    for begin in range(0, len(total), rows):
        some = total[begin : begin + rows]
        there = _moved(affine, (begin, 0, 0))
        some += share * _resampled(part, there, some.shape, activation)[0]


def _box(
    parts: Iterable[MetaTensor], grid: MetaTensor, margin: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The first voxel and the size of a box of a grid that holds all parts, and a margin if there is room."""
    own, shape = grid.affine.cpu().numpy(), grid.shape[1:]
    boxes = [touched_box(part.affine.cpu().numpy(), part.shape[1:], own, shape, margin) for part in parts]
    lows, highs = zip(*boxes)
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    return tuple(low.tolist()), tuple((high - low).tolist())


def _moved(affine: torch.Tensor, first: Sequence[int]) -> torch.Tensor:
    """As :func:`part_affine`, of tensors."""
    return torch.as_tensor(part_affine(affine.cpu().numpy(), first))
