# SPDX-License-Identifier: Apache-2.0
"""A U-Net that looks at the whole image by pyramid pooling, and comes back to full resolution by
super-resolution blocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .folded import unfolded

__all__ = ["SuperResolutionUNet"]

POOLED = (1, 2, 3, 6)  # cells a side of the pyramid's levels
LEVELS = 5
SHUFFLE = 2
START_STD = 1e-3  # of a super-resolution block's weights


class SuperResolutionUNet(nn.Module):
    """
    A U-Net of five levels with a pyramid of pooled features at its deepest one.

    Args:
        in_channels: of the image.
        out_channels: N, one for each landmark.
        features: of the first level, doubled at each further one.
        dropout: of whole channels, before the last layer.

    Sizes of images have to be multiples of 16.

    Source: Zhang et al., "Super-resolution landmark detection networks for medical images", Computers in
        Biology and Medicine 2024, written from its description. Other than there, each pooled level is
        normalised over its features and voxels together.
    """

    def __init__(self, in_channels: int, out_channels: int, features: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(LEVELS)]
        self.down = nn.ModuleList(
            _two_units(before, after) for before, after in zip([in_channels, *widths], widths)
        )
        self.pyramid = _Pyramid(widths[-1])
        self.up = nn.ModuleList(
            _Enlarge(width) if level == LEVELS - 1 else _SuperResolution(width)
            for level, width in enumerate(widths)
            if level
        )
        self.merge = nn.ModuleList(_two_units(2 * width, width) for width in widths[:-1])
        self.output = nn.Sequential(
            _unit(features, features), nn.Dropout3d(dropout), nn.Conv3d(features, out_channels, 1)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """
        Args:
            image: shape (B, C, H, W, D).

        Returns:
            heatmaps, shape (B, N, H, W, D).
        """
        values, kept = image, []
        for level, down in enumerate(self.down):
            values = down(values if level == 0 else F.max_pool3d(values, 2))
            kept.append(values)
        values = self.pyramid(kept.pop())
        for up, merge in zip(reversed(self.up), reversed(self.merge)):
            values = merge(torch.cat([kept.pop(), up(values)], dim=1))
        heatmaps: torch.Tensor = self.output(values)
        return heatmaps


class _Pyramid(nn.Module):
    """What lies around each voxel, at several scales up to the whole image, beside its own features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        each = features // 2
        self.levels = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool3d(cells), nn.Conv3d(features, each, 1), nn.GroupNorm(1, each))
            for cells in POOLED
        )
        self.merge = _unit(features + each * len(POOLED), features)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        size = values.shape[2:]
        around = [
            F.interpolate(F.relu(level(values)), size=size, mode="trilinear", align_corners=False)
            for level in self.levels
        ]
        merged: torch.Tensor = self.merge(torch.cat([values, *around], dim=1))
        return merged


class _SuperResolution(nn.Module):
    """Twice the resolution and half the features, from eight features of each voxel."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.spread = nn.Conv3d(features, 4 * features, 5, padding=2, groups=features)
        nn.init.normal_(self.spread.weight, std=START_STD)
        assert self.spread.bias is not None
        nn.init.zeros_(self.spread.bias)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return unfolded(self.spread(values), (SHUFFLE,) * 3)


class _Enlarge(nn.Module):
    """The same by interpolation, where features are many."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.unit = _unit(features, features // 2, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        wide = F.interpolate(values, scale_factor=2, mode="trilinear", align_corners=False)
        narrow: torch.Tensor = self.unit(wide)
        return narrow


def _unit(before: int, after: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(before, after, kernel, padding=kernel // 2, bias=False), nn.BatchNorm3d(after), nn.ReLU()
    )


def _two_units(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(_unit(before, after), _unit(after, after))
