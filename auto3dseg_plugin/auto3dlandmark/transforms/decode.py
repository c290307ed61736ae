# SPDX-License-Identifier: Apache-2.0
"""Turn heatmaps back into points: the highest voxel, then the centre of mass around it.

A heatmap has one channel per landmark. Points come out in voxel indices of the heatmap's grid; its affine
takes them to millimetres, so nothing is ever resampled back.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..shapes.oddness import image_signs
from ..shapes.peaks import Peaks
from .framing import ELSEWHERE, SIGNS, field_of

__all__ = [
    "ACTIVATIONS",
    "HeatmapToLandmarksd",
    "activate",
    "centroid",
    "cube_reach",
    "decode_argmax",
    "decode_centroid",
    "decode_peaks",
]

ACTIVATIONS = ("softmax", "sigmoid")
MOST_PEAKS = 6
LEAST_PEAK = 0.01  # mass of a further peak, or its share of the height of the first


def activate(logits: torch.Tensor, activation: str) -> torch.Tensor:
    """
    Turn logits into heatmaps in [0, 1].

    Args:
        logits: shape (N, H, W, D).
        activation: ``sigmoid``; or ``softmax`` over the voxels of each channel and the "not here" place of
            :class:`auto3dlandmark.losses.SpatialCrossEntropyLoss`, so that a channel sums to the chance that
            the landmark is there.

    Raises:
        ValueError: for another activation.
    """
    if activation == "sigmoid":
        return logits.float().sigmoid()
    if activation == "softmax":
        flat = logits.float().flatten(1)
        return (flat - F.softplus(flat.logsumexp(dim=1, keepdim=True))).exp().view(logits.shape)
    raise ValueError(f"activation={activation!r} is unknown. Choose one of {', '.join(ACTIVATIONS)}.")


def decode_argmax(heatmaps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Find the highest voxel of every channel.

    Args:
        heatmaps: values in [0, 1], shape (N, H, W, D), one channel per landmark.

    Returns:
        points: voxel indices (i, j, k) as float32, shape (N, 3).
        scores: height of each peak, shape (N,); 0 means the landmark was not found.

    Raises:
        ValueError: when ``heatmaps`` is not (N, H, W, D).
    """
    if heatmaps.ndim != 4:
        raise ValueError(
            f"decode_argmax takes one case of shape (N, H, W, D), got {tuple(heatmaps.shape)}. "
            "Split a batch with monai.data.decollate_batch first."
        )
    scores, flat_index = heatmaps.flatten(start_dim=1).max(dim=1)
    points = torch.stack(torch.unravel_index(flat_index, heatmaps.shape[1:]), dim=1)
    return points.float(), scores


def decode_centroid(
    heatmaps: torch.Tensor, radius: int = 2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Refine :func:`decode_argmax` below one voxel with the centre of mass around each peak.

    Args:
        heatmaps: as for :func:`decode_argmax`.
        radius: half width of the averaged cube, in voxels; about three times the target's sigma.

    Returns:
        points and scores as :func:`decode_argmax`, and masses: the sum of each cube, shape (N,).

    Source: Bulat et al., "Subpixel Heatmap Regression for Facial Landmark Localization", BMVC 2021,
        without the softmax: our heatmaps are already non-negative.
    """
    peaks, scores = decode_argmax(heatmaps)
    points, masses = peaks.clone(), scores.clone()
    for channel, peak in enumerate(peaks.int().tolist()):
        if scores[channel] > 0:
            points[channel], masses[channel], _ = centroid(
                heatmaps[channel], peak, cube_reach(peak, heatmaps.shape[1:], radius)
            )
    return points, scores, masses


def cube_reach(place: Sequence[int], shape: Sequence[int], radius: int) -> list[int]:
    """A cube cut by the border would pull the mean inwards: shrink it by the same on both sides."""
    return [min(radius, at, size - 1 - at) for at, size in zip(place, shape)]


def centroid(
    heatmap: torch.Tensor, peak: Sequence[int], reach: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    The middle of the cube around a voxel.

    Args:
        heatmap: values in [0, 1], shape (H, W, D).
        peak: the voxel.
        reach: of the cube along each axis, to both sides.

    Returns:
        centre of mass, mass, and variance along each axis, in voxels.
    """
    cube = heatmap[tuple(slice(p - r, p + r + 1) for p, r in zip(peak, reach))]
    steps = torch.stack(
        torch.meshgrid(*[torch.arange(-r, r + 1.0, device=cube.device) for r in reach], indexing="ij")
    )
    mass = cube.sum()
    offset = (steps * cube).sum(dim=(1, 2, 3)) / mass
    variance = (steps**2 * cube).sum(dim=(1, 2, 3)) / mass - offset**2
    return torch.tensor(peak, dtype=torch.float32, device=cube.device) + offset, mass, variance


def decode_peaks(
    heatmaps: torch.Tensor, radius: int = 2, most: int = MOST_PEAKS
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    The highest places of every channel, as :func:`decode_centroid` finds the first; each further one lies
    outside the cubes of those before it.

    Args:
        heatmaps: as for :func:`decode_argmax`; unchanged.
        radius: as for :func:`decode_centroid`.
        most: how many places of a channel, P.

    Returns:
        points: voxel indices, shape (N, P, 3), NaN where there are fewer.
        heights: of the peaks, shape (N, P).
        masses: of their cubes, shape (N, P).
        variances: of their cubes along each axis in voxels, shape (N, P, 3).
    """
    count = len(heatmaps)
    points = torch.full((count, most, 3), torch.nan, device=heatmaps.device)
    heights, masses = (torch.zeros((count, most), device=heatmaps.device) for _ in range(2))
    variances = torch.zeros((count, most, 3), device=heatmaps.device)
    for channel in range(count):
        left = heatmaps[channel]
        for number in range(most):
            place = [int(index) for index in torch.unravel_index(left.argmax(), left.shape)]
            height = left[tuple(place)]
            if (number and height < LEAST_PEAK * heights[channel, 0]) or height <= 0:
                if number == 0:
                    points[channel, 0] = torch.tensor(place, dtype=torch.float32)
                break
            point, mass, variance = centroid(left, place, cube_reach(place, left.shape, radius))
            if number and mass < LEAST_PEAK:
                break
            points[channel, number], heights[channel, number] = point, height
            masses[channel, number], variances[channel, number] = mass, variance
            if number == 0:
                left = left.clone()
            left[tuple(slice(max(0, p - 2 * radius), p + 2 * radius + 1) for p in place)] = 0
    return points, heights, masses, variances


class HeatmapToLandmarksd(MapTransform):
    """
    Replace each case's logits by its points in RAS millimetres, and put their scores beside them.

    Args:
        keys: hold logits of one case, shape (N, H, W, D).
        activation: as for :func:`activate`.
        radius: as for :func:`decode_centroid`.
        left_right_pairs: indices of left and right landmarks; where the left one comes out on the right of
            its partner, the two swap places, as in nnLandmark of 2025.
        ref_key: the network's input image, whose affine is the heatmap's.
        score_postfix: ``<key><score_postfix>`` gets scores in [0, 1], shape (N,): the peak of a sigmoid
            heatmap, or the softmax's chance that the landmark lies in the averaged cube.
        peaks_postfix: ``<key><peaks_postfix>`` gets the :class:`auto3dlandmark.shapes.peaks.Peaks`, whose
            first ones the points are.
    """

    def __init__(
        self,
        keys: KeysCollection,
        activation: str = "softmax",
        radius: int = 4,
        left_right_pairs: Sequence[Sequence[int]] = (),
        ref_key: str = "image",
        score_postfix: str = "_score",
        peaks_postfix: str = "_peaks",
    ) -> None:
        super().__init__(keys)
        self.peaks_postfix = peaks_postfix
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} is unknown. Choose one of {', '.join(ACTIVATIONS)}.")
        self.left_right_pairs = [tuple(pair) for pair in left_right_pairs]
        self.activation, self.radius, self.ref_key, self.score_postfix = (
            activation,
            radius,
            ref_key,
            score_postfix,
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        grid = result[self.ref_key]
        for key in self.key_iterator(result):
            logits = result[key]
            heatmaps = activate(
                logits.as_tensor() if hasattr(logits, "as_tensor") else logits, self.activation
            )
            peaks = self.peaks(heatmaps, grid)
            peaks = replace(peaks, signs={**peaks.signs, **image_signs(np.asarray(grid.cpu()))})
            result[f"{key}{self.peaks_postfix}"] = peaks
            result[key] = torch.from_numpy(peaks.first.copy())
            result[f"{key}{self.score_postfix}"] = torch.from_numpy(peaks.masses[:, 0]).float()
        return result

    def peaks(self, heatmaps: torch.Tensor, grid: MetaTensor, radius: int | None = None) -> Peaks:
        """
        The highest places of each heatmap in RAS millimetres; their masses are scores in [0, 1].

        Args:
            heatmaps: shape (N, H, W, D).
            grid: an image on the heatmaps' grid, whose affine counts.
            radius: instead of the transform's own.
        """
        return self.places(decode_peaks(heatmaps, self.radius if radius is None else radius), grid)

    def places(self, found: Sequence[torch.Tensor], grid: MetaTensor) -> Peaks:
        """
        What :func:`decode_peaks` found in heatmaps, or what found the same, in RAS millimetres.

        Args:
            grid: as for :meth:`peaks`.
        """
        points, heights, masses, variances = (one.double().cpu().numpy() for one in found)
        to_world = np.asarray(torch.as_tensor(grid.affine, dtype=torch.float64).cpu())
        world = points @ to_world[:3, :3].T + to_world[:3, 3]
        scores = (masses if self.activation == "softmax" else heights).clip(0, 1)
        spreads = np.sqrt((variances.clip(0) * (to_world[:3, :3] ** 2).sum(axis=0)).sum(axis=2))
        for left, right in self.left_right_pairs:
            if world[left, 0, 0] > world[right, 0, 0]:  # RAS: x grows to the right
                for array in (world, scores, spreads):
                    array[[left, right]] = array[[right, left]]
        far = grid.meta.get(ELSEWHERE)
        elsewhere = None if far is None else np.asarray(far, dtype=float)
        return Peaks(world, scores, spreads, *field_of(grid), grid.meta.get(SIGNS, {}), elsewhere)
