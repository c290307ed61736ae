# SPDX-License-Identifier: Apache-2.0
"""Heatmaps to train on: small kernels at sub-voxel places, made on the device, never a dense volume.

A target of N landmarks is one little cube per landmark and where it lies; everything outside the cubes is
zero, and the losses know that. ``heatmaps`` makes dense volumes for those who want to look at them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from ..landmarks import ABSENT, PRESENT

__all__ = ["ConeTarget", "GaussianTarget", "HeatmapTarget", "PrepareHeatmapBatch"]

IGNORED, EMPTY, FILLED = 0, 1, 2


class HeatmapTarget(NamedTuple):
    """
    Sparse heatmaps of a batch.

    Args:
        values: the cubes, shape (B, N, a, b, c); zero for channels that are not filled.
        start: voxel index of each cube's first corner, int64, shape (B, N, 3); cubes never leave the patch.
        state: IGNORED (unknown landmark), EMPTY (absent, or outside the patch) or FILLED, shape (B, N).
        points: voxel indices of the landmarks, shape (B, N, 3); NaN where not filled.
    """

    values: torch.Tensor
    start: torch.Tensor
    state: torch.Tensor
    points: torch.Tensor

    def cube_index(self, shape: Sequence[int]) -> torch.Tensor:
        """Position of each cube voxel in a flattened (H, W, D) volume, shape (B, N, a * b * c)."""
        index = torch.zeros(self.start.shape[:2] + (1, 1, 1), dtype=torch.int64, device=self.start.device)
        for axis, size in enumerate(shape):
            steps = torch.arange(self.values.shape[2 + axis], device=self.start.device)
            place = self.start[..., axis, None] + steps
            view = [*place.shape[:2], 1, 1, 1]
            view[2 + axis] = place.shape[2]
            index = index * size + place.view(view)
        return index.flatten(2)

    def dense(self, shape: Sequence[int]) -> torch.Tensor:
        """Dense heatmaps of shape (B, N, H, W, D)."""
        batch, landmarks = self.state.shape
        volume = self.values.new_zeros(batch, landmarks, math.prod(shape))
        return volume.scatter_(2, self.cube_index(shape), self.values.flatten(2)).view(
            batch, landmarks, *shape
        )


class _KernelTarget:
    """What the kinds of target share: where cubes go. Subclasses say how large they are and what is in
    them."""

    reach: int

    def _cube(self, squared: Sequence[torch.Tensor]) -> torch.Tensor:
        raise TypeError(f"{type(self).__name__} has no kernel")

    def __call__(self, points: torch.Tensor, status: torch.Tensor, shape: Sequence[int]) -> HeatmapTarget:
        """
        Args:
            points: voxel indices, shape (B, N, 3), NaN where there is no point.
            status: codes of landmarks.py, shape (B, N).
            shape: voxels of the patch, shape (3,).
        """
        size = torch.tensor(tuple(shape), device=points.device)
        # A voxel reaches half a voxel to each side of its centre.
        inside = ((points >= -0.5) & (points < size - 0.5)).all(dim=-1)  # NaN compares as outside
        filled = inside & (status == PRESENT)
        state = torch.where(
            filled, FILLED, torch.where((status == PRESENT) | (status == ABSENT), EMPTY, IGNORED)
        )
        places = torch.where(filled[..., None], points, torch.zeros_like(points)).float()
        width = torch.minimum(torch.full_like(size, 2 * self.reach + 1), size)
        start = torch.minimum((places.round().long() - self.reach).clamp(min=0), size - width)
        squared = []
        for axis in range(3):
            steps = torch.arange(int(width[axis]), device=points.device)
            offset = start[..., axis, None] + steps - places[..., axis, None]
            view = [*offset.shape[:2], 1, 1, 1]
            view[2 + axis] = offset.shape[2]
            squared.append(offset.square().view(view))
        values = self._cube(squared) * filled[..., None, None, None]
        return HeatmapTarget(values, start, state, torch.where(filled[..., None], points.float(), math.nan))


class GaussianTarget(_KernelTarget):
    """
    A Gaussian of peak 1 around each landmark.

    Args:
        sigma: standard deviation in voxels.
        cutoff: values are zero beyond this many sigma.
    """

    def __init__(self, sigma: float = 1.5, cutoff: float = 4.0) -> None:
        if sigma <= 0:
            raise ValueError(f"sigma={sigma} must be greater than 0 voxels.")
        self.sigma, self.reach = sigma, math.ceil(cutoff * sigma)

    def _cube(self, squared: Sequence[torch.Tensor]) -> torch.Tensor:
        x, y, z = (torch.exp(axis / (-2 * self.sigma**2)) for axis in squared)
        return x * y * z


class ConeTarget(_KernelTarget):
    """
    A cone falling linearly from 1 at the landmark to 0 at ``radius``.

    Args:
        radius: in voxels.

    Source: nnLandmark (MIDL 2026), where the peak is at a whole voxel; ours is where the landmark is.
    """

    def __init__(self, radius: float = 15.03) -> None:
        if radius <= 0:
            raise ValueError(f"radius={radius} must be greater than 0 voxels.")
        self.radius, self.reach = radius, math.ceil(radius)

    def _cube(self, squared: Sequence[torch.Tensor]) -> torch.Tensor:
        distance = (squared[0] + squared[1] + squared[2]).sqrt()
        return (1 - distance / self.radius).clamp(min=0)


class PrepareHeatmapBatch:
    """
    ``prepare_batch`` of MONAI's trainer: images and their sparse heatmap targets, on the device.

    Args:
        target: a :class:`ConeTarget` or :class:`GaussianTarget`.
        image_key, voxel_key, status_key: where the batch holds images (B, C, H, W, D), voxel indices (B, N,
            3) and status codes (B, N).
    """

    def __init__(
        self,
        target: _KernelTarget,
        image_key: str = "image",
        voxel_key: str = "landmarks_voxel",
        status_key: str = "landmarks_status",
    ) -> None:
        self.target, self.image_key, self.voxel_key, self.status_key = (
            target,
            image_key,
            voxel_key,
            status_key,
        )

    def __call__(
        self,
        batchdata: dict[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, HeatmapTarget]:
        image = batchdata[self.image_key].to(device=device, non_blocking=non_blocking)
        image = (
            image.as_tensor() if hasattr(image, "as_tensor") else image
        )  # metadata slows every operation down
        points = torch.as_tensor(batchdata[self.voxel_key]).to(device=device, non_blocking=non_blocking)
        status = torch.as_tensor(batchdata[self.status_key]).to(device=device, non_blocking=non_blocking)
        return image, self.target(points, status, image.shape[2:])
