# SPDX-License-Identifier: Apache-2.0
"""Heatmaps of several networks as one: on the finest of their grids, in the world."""

from __future__ import annotations

from typing import cast

import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample

__all__ = ["on_grid", "voxel_volume"]


def on_grid(heatmaps: MetaTensor, grid: MetaTensor, activation: str) -> torch.Tensor:
    """
    Heatmaps resampled to another grid, shape (N, *grid); a softmax keeps its sum, a sigmoid its height.
    """
    if heatmaps.shape[1:] == grid.shape[1:] and torch.allclose(heatmaps.affine, grid.affine, atol=1e-4):
        return heatmaps.as_tensor()
    resample = SpatialResample(mode="bilinear", padding_mode="zeros")
    result = cast(
        MetaTensor, resample(heatmaps, dst_affine=grid.affine, spatial_size=grid.shape[1:])
    ).as_tensor()
    return result * (voxel_volume(grid) / voxel_volume(heatmaps)) if activation == "softmax" else result


def voxel_volume(image: MetaTensor) -> float:
    return float(image.pixdim.prod())
