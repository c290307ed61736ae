# SPDX-License-Identifier: Apache-2.0
"""Convolutions that attend: a U-Net whose encoder lets each region of an image look at the few regions that
matter to it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["H3DENet", "RegionAttention"]

WIDTHS, DEPTHS, ATTENDED = (64, 128, 256, 512), (2, 2, 4, 2), (1, 4, 16, 16)
HEAD_WIDTH = 8
REGIONS = (4, 4, 2)  # along the axes
SLOPE = 0.01


class RegionAttention(nn.Module):
    """
    Bi-level routing attention: regions choose regions, then voxels attend to the voxels of those.

    Args:
        features: C, a multiple of ``HEAD_WIDTH``.
        attended: how many regions each region looks at; all of them where there are fewer.
        regions: along each axis; fewer where so many do not divide the voxels.

    Source: Zhu et al., "BiFormer: vision transformer with bi-level routing attention", CVPR 2023, in three
        dimensions as in H3DE-Net.
    """

    def __init__(self, features: int, attended: int, regions: Sequence[int] = REGIONS) -> None:
        super().__init__()
        self.attended, self.regions = attended, tuple(regions)
        self.heads, self.scale = features // HEAD_WIDTH, features**-0.5
        self.query_key_value = nn.Linear(features, 3 * features)
        self.around = nn.Conv3d(features, features, 5, padding=2, groups=features)
        self.output = nn.Linear(features, features)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """
        Args:
            values: shape (B, H, W, D, C).

        Returns:
            the same shape.
        """
        size = values.shape[1:4]
        regions = [_fitting(count, int(length)) for count, length in zip(self.regions, size)]
        query, key, value = self.query_key_value(values).chunk(3, dim=-1)
        local = self.around(value.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        query, key, value = (_split(one, regions) for one in (query, key, value))  # (B, P, n, C)
        batch, count, voxels, features = query.shape
        with torch.no_grad():  # who looks where is not learnt by itself
            affinity = self.scale * query.mean(dim=2) @ key.mean(dim=2).transpose(1, 2)
            chosen = affinity.topk(min(self.attended, count), dim=2).indices  # (B, P, k)
        rows = torch.arange(batch, device=values.device)[:, None, None]
        key, value = key[rows, chosen], value[rows, chosen]  # (B, P, k, n, C)
        found = F.scaled_dot_product_attention(
            self._by_head(query), self._by_head(key), self._by_head(value), scale=self.scale
        )
        found = found.transpose(1, 2).reshape(batch, count, voxels, features)
        attended: torch.Tensor = self.output(_joined(found, regions, size) + local)
        return attended

    def _by_head(self, values: torch.Tensor) -> torch.Tensor:
        """Shape (B * P, heads, voxels, width) from (B, P, ..., C)."""
        batch, count, features = values.shape[0], values.shape[1], values.shape[-1]
        return values.reshape(batch * count, -1, self.heads, features // self.heads).transpose(1, 2)


def _fitting(most: int, length: int) -> int:
    """The most regions that divide a length."""
    return next(count for count in range(min(most, length), 0, -1) if length % count == 0)


def _split(values: torch.Tensor, regions: Sequence[int]) -> torch.Tensor:
    """Voxels by region, shape (B, P, n, C), from (B, H, W, D, C)."""
    batch, height, width, depth, features = values.shape
    a, b, c = regions
    cut = values.reshape(batch, a, height // a, b, width // b, c, depth // c, features)
    return cut.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch, a * b * c, -1, features)


def _joined(values: torch.Tensor, regions: Sequence[int], size: Sequence[int]) -> torch.Tensor:
    """Undo :func:`_split`."""
    a, b, c = regions
    height, width, depth = (length // count for length, count in zip(size, regions))
    cut = values.reshape(len(values), a, b, c, height, width, depth, -1)
    return cut.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(len(values), *size, -1)


class _AttentionBlock(nn.Module):
    """Where a voxel lies, what it attends to, and what is made of it, each added to what it was."""

    def __init__(self, features: int, attended: int) -> None:
        super().__init__()
        self.place = nn.Conv3d(features, features, 3, padding=1, groups=features)
        self.first, self.second = nn.LayerNorm(features, 1e-6), nn.LayerNorm(features, 1e-6)
        self.attention = RegionAttention(features, attended)
        self.inner = nn.Sequential(
            nn.Linear(features, 4 * features), nn.GELU(), nn.Linear(4 * features, features)
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        last: torch.Tensor = (values + self.place(values)).permute(0, 2, 3, 4, 1)
        last = last + self.attention(self.first(last))
        last = last + self.inner(self.second(last))
        return last.permute(0, 4, 1, 2, 3)


class _Stage(nn.Module):
    """Half the resolution, then blocks of attention, then a norm over features."""

    def __init__(self, before: int, after: int, depth: int, attended: int) -> None:
        super().__init__()
        if before < WIDTHS[0]:  # from the image: twice half, with half the features in between
            down = [
                *_halved(before, after // 2),
                nn.GELU(),
                *_halved(after // 2, after),
            ]
        else:
            down = _halved(before, after)
        self.down = nn.Sequential(*down)
        self.blocks = nn.Sequential(*(_AttentionBlock(after, attended) for _ in range(depth)))
        self.norm = nn.LayerNorm(after)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found = self.blocks(self.down(values)).permute(0, 2, 3, 4, 1)
        normed: torch.Tensor = self.norm(found)
        return normed.permute(0, 4, 1, 2, 3).contiguous()


class H3DENet(nn.Module):
    """
    The hybrid network: attention in the encoder, convolutions in the decoder and beside both.

    Args:
        in_channels: of the image.
        out_channels: N, one for each landmark.

    Sizes of images have to be multiples of 32.

    Source: Huang et al., "H3DE-Net: efficient and accurate 3D landmark detection in medical imaging", 2025,
        the variant that gives heatmaps, written from its description. Other than there, an axis has fewer
        regions where theirs do not divide its voxels, so that images of any multiple of 32 can be seen.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        widths = [in_channels, *WIDTHS]
        self.stages = nn.ModuleList(
            _Stage(before, after, depth, attended)
            for before, after, depth, attended in zip(widths, WIDTHS, DEPTHS, ATTENDED)
        )
        self.fine = _unit(in_channels, 16)
        self.less_fine = nn.Sequential(nn.AvgPool3d(3, 2, 1), _unit(in_channels, 32))
        skips = [WIDTHS[2], WIDTHS[1], WIDTHS[0], 32, 16]
        self.merge = nn.ModuleList(
            nn.Sequential(_unit(before + skip, skip), _unit(skip, skip))
            for before, skip in zip([WIDTHS[3], *skips], skips)
        )
        self.output = nn.Conv3d(16, out_channels, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """
        Args:
            image: shape (B, C, H, W, D).

        Returns:
            heatmaps, shape (B, N, H, W, D).
        """
        kept, values = [self.fine(image), self.less_fine(image)], image
        for stage in self.stages:
            values = stage(values)
            kept.append(values)
        values = kept.pop()
        for merge in self.merge:
            wide = F.interpolate(values, scale_factor=2, mode="trilinear", align_corners=False)
            values = merge(torch.cat([wide, kept.pop()], dim=1))
        heatmaps: torch.Tensor = self.output(values)
        return heatmaps


def _halved(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv3d(before, after, 3, 2, 1), nn.InstanceNorm3d(after)]


def _unit(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(before, after, 3, padding=1, bias=False), nn.InstanceNorm3d(after), nn.LeakyReLU(SLOPE)
    )
