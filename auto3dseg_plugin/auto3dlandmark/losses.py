# SPDX-License-Identifier: Apache-2.0
"""Losses between logits and sparse heatmap targets; channels of unknown landmarks do not count.

Each loss is written as its value for an all-zero target, plus a correction inside the small cubes where the
target is not zero, so no dense target is ever made.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .transforms.targets import FILLED, IGNORED, HeatmapTarget

__all__ = ["MaskedMSELoss", "SpatialCrossEntropyLoss", "TopKBCELoss"]


def _mean_over_known(values: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """Mean of (B, N) values over the channels that are not ignored; 0, with a gradient, when all are."""
    known = state != IGNORED
    return torch.where(known, values, torch.zeros_like(values)).sum() / known.sum().clamp(min=1)


class SpatialCrossEntropyLoss(torch.nn.Module):
    """
    Cross-entropy of a softmax over all voxels of a channel and one more place, "not here", of logit 0.

    The extra place gives the logits an absolute meaning: the sum of their exponentials is the odds that the
    landmark is in the patch. So absent landmarks and patches without the landmark train like any other, and
    presence can be read off. The target is the heatmap divided by its sum.

    Args:
        distance_weight: adds this times the distance, in voxels, between the softmax's mean and the landmark.

    Source: softmax heatmaps as in Sun et al., "Integral Human Pose Regression", ECCV 2018, whose distance term
        this is too; the "not here" place is ours.
    """

    def __init__(self, distance_weight: float = 0.0) -> None:
        super().__init__()
        self.distance_weight = distance_weight

    def forward(self, logits: torch.Tensor, target: HeatmapTarget) -> torch.Tensor:
        """
        Args:
            logits: shape (B, N, H, W, D).
            target: of the same batch and landmarks.
        """
        shape = logits.shape[2:]
        flat = logits.float().flatten(2)
        log_odds = flat.logsumexp(dim=2)
        log_total = F.softplus(log_odds)  # log(1 + odds): the extra place has logit 0
        weights = target.values.flatten(2)
        weights = weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-12)
        attraction = (weights * flat.gather(2, target.cube_index(shape))).sum(dim=2)
        filled = target.state == FILLED
        loss = _mean_over_known(
            log_total - torch.where(filled, attraction, torch.zeros_like(attraction)), target.state
        )
        if self.distance_weight > 0 and bool(filled.any()):
            probability = (flat[filled] - log_odds[filled][:, None]).exp().view(-1, *shape)
            squared = torch.zeros(len(probability), device=flat.device)
            for axis, size in enumerate(shape):
                others = [1 + other for other in range(3) if other != axis]
                mean = probability.sum(dim=others) @ torch.arange(
                    size, dtype=torch.float32, device=flat.device
                )
                squared = squared + (mean - target.points[filled][:, axis]).square()
            known = (target.state != IGNORED).sum()
            loss = loss + self.distance_weight * (squared + 1e-4).sqrt().sum() / known
        return loss


class TopKBCELoss(torch.nn.Module):
    """
    Binary cross-entropy with logits, averaged over the hardest voxels of each channel.

    Args:
        top_k: share of the voxels of a channel that count, in (0, 1].

    Source: nnLandmark (MIDL 2026).
    """

    def __init__(self, top_k: float = 0.2) -> None:
        super().__init__()
        if not 0 < top_k <= 1:
            raise ValueError(f"top_k={top_k} must be greater than 0 and at most 1.")
        self.top_k = top_k

    def forward(self, logits: torch.Tensor, target: HeatmapTarget) -> torch.Tensor:
        """
        Args:
            logits: shape (B, N, H, W, D).
            target: of the same batch and landmarks.
        """
        flat = logits.float().flatten(2)
        # BCE(l, t) = softplus(l) - t * l
        index = target.cube_index(logits.shape[2:])
        loss = F.softplus(flat).scatter_add(2, index, -target.values.flatten(2) * flat.gather(2, index))
        count = max(1, round(self.top_k * flat.shape[2]))
        hardest = loss.topk(count, dim=2, sorted=False).values if count < flat.shape[2] else loss
        return _mean_over_known(hardest.mean(dim=2), target.state)


class MaskedMSELoss(torch.nn.Module):
    """
    Squared difference between the sigmoid of the logits and the heatmap.

    Source: nnLandmark (arXiv 2504.06742 v1), without its training of unknown landmarks as absent.
    """

    def forward(self, logits: torch.Tensor, target: HeatmapTarget) -> torch.Tensor:
        """
        Args:
            logits: shape (B, N, H, W, D).
            target: of the same batch and landmarks.
        """
        heatmaps = logits.float().sigmoid().flatten(2)
        inside = heatmaps.gather(2, target.cube_index(logits.shape[2:]))
        values = target.values.flatten(2)
        correction = (values * (values - 2 * inside)).sum(dim=2)  # (h - t)^2 - h^2
        return _mean_over_known((heatmaps.square().sum(dim=2) + correction) / heatmaps.shape[2], target.state)
