# SPDX-License-Identifier: Apache-2.0
"""Two answers multiplied: what looks like a landmark, and where it can lie given all the others."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["SpatialConfigurationNet"]

SLOPE = 0.1  # of leaky rectifiers
OUTPUT_STD = 1e-3  # of the weights that give heatmaps: they begin near zero


class SpatialConfigurationNet(nn.Module):
    """
    Local appearance times spatial configuration.

    The first part is a U-Net of one width, exact but unable to tell look-alikes apart; the second sees only
    the first one's heatmaps, coarsely, with kernels that span the volume. Their product is the heatmap.

    Args:
        in_channels: of the image.
        out_channels: N, one for each landmark.
        features: of every convolution.
        levels: of the first part, each at half the resolution.
        factor: how much coarser the second part sees.
        kernel: of the second part's convolutions, voxels.
        dropout: within the first part.

    Sizes of images have to be multiples of ``2 ** (levels - 1)`` and of ``factor``.

    Source: Payer et al., "Integrating spatial configuration into heatmap regression based CNNs for landmark
        localization", Medical Image Analysis 2019, written from the paper. Other than there, maps are
        enlarged linearly instead of cubically, which PyTorch does not do in three dimensions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        features: int = 64,
        levels: int = 4,
        factor: int = 8,
        kernel: int = 7,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.factor = factor
        self.first = _convolution(in_channels, features)
        self.down = nn.ModuleList(
            nn.Sequential(
                _convolution(features, features),
                nn.LeakyReLU(SLOPE),
                nn.Dropout(dropout),
                _convolution(features, features),
                nn.LeakyReLU(SLOPE),
            )
            for _ in range(levels)
        )
        self.across = nn.ModuleList(
            nn.Sequential(_convolution(features, features), nn.LeakyReLU(SLOPE)) for _ in range(levels)
        )
        self.local = _output(features, out_channels, 3)
        widths = [out_channels, features, features, features]
        self.configuration = nn.Sequential(
            *(
                layer
                for before, after in itertools.pairwise(widths)
                for layer in (_convolution(before, after, kernel), nn.LeakyReLU(SLOPE))
            ),
            _output(features, out_channels, kernel),
            nn.Tanh(),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """
        Args:
            image: shape (B, C, H, W, D).

        Returns:
            heatmaps, shape (B, N, H, W, D).
        """
        local = self.appearance(image)
        seen = self.configuration(F.avg_pool3d(local, self.factor))
        return local * _enlarged(seen, self.factor)

    def appearance(self, image: torch.Tensor) -> torch.Tensor:
        """The first part's heatmaps, of the shape that :meth:`forward` gives."""
        values = F.leaky_relu(self.first(image), SLOPE)
        kept = []
        for number, (down, across) in enumerate(zip(self.down, self.across)):
            values = down(values if number == 0 else F.avg_pool3d(values, 2))
            kept.append(across(values))
        total = kept.pop()
        while kept:
            total = kept.pop() + _enlarged(total, 2)
        heatmaps: torch.Tensor = self.local(total)
        return heatmaps


def _enlarged(values: torch.Tensor, factor: int) -> torch.Tensor:
    return F.interpolate(values, scale_factor=factor, mode="trilinear", align_corners=False)


def _convolution(before: int, after: int, kernel: int = 3) -> nn.Conv3d:
    layer = nn.Conv3d(before, after, kernel, padding=kernel // 2)
    nn.init.kaiming_normal_(layer.weight, SLOPE)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _output(before: int, after: int, kernel: int) -> nn.Conv3d:
    layer = _convolution(before, after, kernel)
    nn.init.trunc_normal_(layer.weight, std=OUTPUT_STD)
    return layer
