# SPDX-License-Identifier: Apache-2.0
"""A network at half the resolution that loses none: blocks of voxels become channels on the way in, channels
become blocks of voxels on the way out."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["FoldedNetwork", "folded", "unfolded"]


def folded(image: torch.Tensor, factor: Sequence[int]) -> torch.Tensor:
    """
    Blocks of voxels as channels.

    Args:
        image: shape (B, C, H, W, D), sizes that ``factor`` divides.
        factor: voxels of a block along each axis, (a, b, c).

    Returns:
        shape (B, C * a * b * c, H / a, W / b, D / c).

    Source: Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
        convolutional neural network", CVPR 2016, backwards; MONAI's has the same factor along all axes.
    """
    batch, channels, *size = image.shape
    a, b, c = factor
    blocks = image.reshape(batch, channels, size[0] // a, a, size[1] // b, b, size[2] // c, c)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(
        batch, channels * a * b * c, size[0] // a, size[1] // b, size[2] // c
    )


def unfolded(features: torch.Tensor, factor: Sequence[int]) -> torch.Tensor:
    """
    Channels as blocks of voxels: undoes :func:`folded`.
    """
    batch, channels, *size = features.shape
    a, b, c = factor
    blocks = features.reshape(batch, channels // (a * b * c), a, b, c, *size)
    return blocks.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(batch, -1, size[0] * a, size[1] * b, size[2] * c)


class FoldedNetwork(torch.nn.Module):
    """
    A network that works on folded images, and whose output is unfolded.

    Args:
        network: takes the channels of a folded image, and gives those of a folded heatmap.
        factor: as for :func:`folded`.
    """

    def __init__(self, network: torch.nn.Module, factor: Sequence[int] = (2, 2, 2)) -> None:
        super().__init__()
        self.network, self.factor = network, tuple(int(step) for step in factor)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """
        Args:
            image: shape (B, C, H, W, D).

        Returns:
            shape (B, N, H, W, D).
        """
        small = folded(image, self.factor).contiguous(memory_format=torch.channels_last_3d)
        return unfolded(self.network(small), self.factor)
