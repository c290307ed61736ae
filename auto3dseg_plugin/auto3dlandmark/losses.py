# SPDX-License-Identifier: Apache-2.0
"""Losses between logits and sparse heatmap targets; channels of unknown landmarks do not count.

Each loss is written as its value for an all-zero target, plus a correction inside the small cubes where the
target is not zero, so no dense target is ever made.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from .transforms.targets import FILLED, IGNORED, HeatmapTarget

__all__ = ["HardNegativeLoss", "LinearMSELoss", "MaskedMSELoss", "SpatialCrossEntropyLoss", "TopKBCELoss"]

CHUNK = 2**19  # voxels that fit a CPU's cache
SMOOTH = 1e-4  # squared voxels: keeps the distance differentiable at zero


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

    Source: softmax heatmaps as in Sun et al., "Integral Human Pose Regression", ECCV 2018, whose distance
    term
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
        loss: torch.Tensor = _SpatialCrossEntropy.apply(logits, target, self.distance_weight)
        return loss


class _SpatialCrossEntropy(torch.autograd.Function):
    """
    The loss above with its gradient written out, so that one buffer of the logits' size is kept between the
    passes.

    With p the softmax over voxels, P the chance of being here, w the normalised target, m the mean of p and u
    the unit vector from the landmark to m, the gradient of a channel's logit at voxel v is
    ``P p_v - w_v`` for the cross-entropy and ``p_v u . (v - m)`` for the distance.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, target: HeatmapTarget, distance_weight: float
    ) -> torch.Tensor:
        shape = logits.shape[2:]
        flat = logits.detach().flatten(2).float()
        highest = flat.amax(dim=2)
        weight = torch.sub(flat, highest[..., None]).exp_()  # the softmax, but for its sum
        axes = [torch.arange(size, dtype=torch.float32, device=flat.device) for size in shape]
        # Summed over z, plainly and times z, in one reading of the volume; the rest is small.
        sums, last = (
            weight.view(*weight.shape[:2], *shape) @ torch.stack([torch.ones_like(axes[2]), axes[2]], 1)
        ).unbind(-1)
        total = sums.sum(dim=(2, 3))
        moments = [sums.sum(dim=3) @ axes[0], sums.sum(dim=2) @ axes[1], last.sum(dim=(2, 3))]
        mean = torch.stack(moments, dim=2) / total[..., None]
        log_odds = highest + total.log()
        index, weights = target.cube_index(shape), target.values.flatten(2)
        weights = weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-12)
        attraction = (weights * flat.gather(2, index)).sum(dim=2)  # zero where not filled, as the weights are
        known, filled = target.state != IGNORED, target.state == FILLED
        count = known.sum().clamp(min=1)
        loss = torch.where(
            known, F.softplus(log_odds) - attraction, 0
        ).sum()  # log(1 + odds) less the target's share
        offset = torch.where(filled[..., None], mean - target.points, 0)
        distance = (offset.square().sum(dim=2) + SMOOTH).sqrt()
        loss = loss + distance_weight * torch.where(filled, distance, 0).sum()
        pull = distance_weight * offset / distance[..., None]
        ctx.save_for_backward(weight, total, log_odds.sigmoid() * known, mean, pull, index, weights, count)
        ctx.shape, ctx.axes = shape, axes
        return loss / count

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        weight, total, here, mean, pull, index, weights, count = ctx.saved_tensors
        scale = gradient / count
        share = (scale / total)[..., None]
        lines = [
            pull[..., axis, None] * (steps - mean[..., axis, None]) * share
            for axis, steps in enumerate(ctx.axes)
        ]
        slices = (lines[0] + share * here[..., None])[..., None] + lines[1][..., None, :]
        # In place, a few channels at a time: on a CPU, fetching fresh memory costs more than the arithmetic.
        weight = weight.view(-1, *ctx.shape)
        channels = max(1, CHUNK // weight[0].numel()) if weight.device.type == "cpu" else len(weight)
        parts = (whole.split(channels) for whole in (weight, slices.flatten(0, 1), lines[2].flatten(0, 1)))
        for part, slice_factor, line_factor in zip(*parts):
            part.mul_(slice_factor[..., None] + line_factor[:, None, None, :])
        result = weight.view(*index.shape[:2], -1).scatter_add_(2, index, -scale * weights)
        return result.view(*result.shape[:2], *ctx.shape), None, None


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


class LinearMSELoss(torch.nn.Module):
    """
    Squared difference between what a network gives, as it is, and the heatmap.

    Args:
        scale: the heatmap's peak.
        summed: half the sum over all voxels of a channel instead of their mean, as Payer et al. train.
    """

    def __init__(self, scale: float = 1.0, summed: bool = False) -> None:
        super().__init__()
        self.scale, self.summed = scale, summed

    def forward(self, logits: torch.Tensor, target: HeatmapTarget) -> torch.Tensor:
        """
        Args:
            logits: shape (B, N, H, W, D).
            target: of the same batch and landmarks.
        """
        flat = logits.float().flatten(2)
        inside = flat.gather(2, target.cube_index(logits.shape[2:]))
        values = self.scale * target.values.flatten(2)
        squares = flat.square().sum(dim=2) + (values * (values - 2 * inside)).sum(dim=2)
        return _mean_over_known(squares * (0.5 if self.summed else 1 / flat.shape[2]), target.state)


class HardNegativeLoss(torch.nn.Module):
    """
    Smooth L1 in the heatmap, and in as many voxels outside it: those where the network gives most.

    Args:
        peak: of the heatmap, at the landmark.
        outside: what is learnt where no heatmap is.

    Source: Huang et al., "H3DE-Net", 2025.
    """

    def __init__(self, peak: float = 2.0, outside: float = -1.0) -> None:
        super().__init__()
        self.peak, self.outside = peak, outside

    def forward(self, logits: torch.Tensor, target: HeatmapTarget) -> torch.Tensor:
        """
        Args:
            logits: shape (B, N, H, W, D).
            target: of the same batch and landmarks.
        """
        flat = logits.float().flatten(2)
        index, values = target.cube_index(logits.shape[2:]), target.values.flatten(2)
        inside = values > 0
        count = inside.sum(dim=2)
        near = F.smooth_l1_loss(flat.gather(2, index), self.peak * values, reduction="none")
        left = flat.scatter(2, index, torch.where(inside, -torch.inf, flat.gather(2, index)))
        most = max(1, int(count.max()))
        hardest = left.topk(min(most, left.shape[2]), dim=2).values
        far = F.smooth_l1_loss(hardest, torch.full_like(hardest, self.outside), reduction="none")
        rank = torch.arange(hardest.shape[2], device=flat.device)
        counted = (rank < count.clamp(min=1)[..., None]) & hardest.isfinite()
        loss = _mean_where(near, inside) + _mean_where(far, counted)
        return _mean_over_known(loss, target.state)


def _mean_where(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Mean over the last axis of the values that count; 0 where none does."""
    return torch.where(counted, values, 0).sum(dim=-1) / counted.sum(dim=-1).clamp(min=1)
