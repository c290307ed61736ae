# SPDX-License-Identifier: Apache-2.0
"""Turn heatmaps back into points: the highest voxel, then the centre of mass around it.

A heatmap has one channel per landmark. Points come out in voxel indices of the heatmap's grid; its affine
takes them to millimetres, so nothing is ever resampled back.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform

__all__ = ["ACTIVATIONS", "HeatmapToLandmarksd", "activate", "decode_argmax", "decode_centroid"]

ACTIVATIONS = ("softmax", "sigmoid")


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
        # A cube cut by the border would pull the mean inwards: shrink it by the same on both sides.
        reach = [min(radius, p, size - 1 - p) for p, size in zip(peak, heatmaps.shape[1:])]
        cube = heatmaps[channel][tuple(slice(p - r, p + r + 1) for p, r in zip(peak, reach))]
        if scores[channel] > 0:
            steps = torch.meshgrid(
                *[torch.arange(-r, r + 1.0, device=cube.device) for r in reach], indexing="ij"
            )
            masses[channel] = cube.sum()
            points[channel] += (torch.stack(steps) * cube).sum(dim=(1, 2, 3)) / masses[channel]
    return points, scores, masses


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
    """

    def __init__(
        self,
        keys: KeysCollection,
        activation: str = "softmax",
        radius: int = 4,
        left_right_pairs: Sequence[Sequence[int]] = (),
        ref_key: str = "image",
        score_postfix: str = "_score",
    ) -> None:
        super().__init__(keys)
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
        affine = result[self.ref_key].affine
        for key in self.key_iterator(result):
            logits = result[key]
            heatmaps = activate(
                logits.as_tensor() if hasattr(logits, "as_tensor") else logits, self.activation
            )
            result[key], result[f"{key}{self.score_postfix}"] = self.decode(heatmaps, affine)
        return result

    def decode(
        self, heatmaps: torch.Tensor, affine: torch.Tensor, radius: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Points in RAS millimetres, float64 (N, 3), and scores, float32 (N,), of heatmaps with this affine.

        Args:
            radius: instead of the transform's own.
        """
        points, peaks, masses = decode_centroid(heatmaps, self.radius if radius is None else radius)
        affine = affine.to(device=points.device, dtype=torch.float64)
        world = points.double() @ affine[:3, :3].T + affine[:3, 3]
        scores = (masses if self.activation == "softmax" else peaks).clamp(0, 1)
        for left, right in self.left_right_pairs:
            if world[left, 0] > world[right, 0]:  # RAS: x grows to the right
                world[[left, right]], scores[[left, right]] = world[[right, left]], scores[[right, left]]
        return world, scores
