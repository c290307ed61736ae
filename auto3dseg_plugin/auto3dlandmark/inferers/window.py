# SPDX-License-Identifier: Apache-2.0
"""Through which window a network sees an image that is larger, or smaller, than its patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from scipy import ndimage

__all__ = ["FittedSlidingWindowInferer", "nnunet_weights"]


def nnunet_weights(size: Sequence[int]) -> torch.Tensor:
    """
    nnU-Net's weights of a window's voxels, shape ``size``: a Gaussian of an eighth of the size, cut at four
    sigma.

    MONAI's is nowhere below a thousandth of its peak, so borders count more where windows overlap.
    """
    weights = np.zeros(tuple(size))
    weights[tuple(length // 2 for length in size)] = 1
    weights = ndimage.gaussian_filter(weights, [length / 8 for length in size], mode="constant")
    weights = np.maximum(weights, weights[weights > 0].min()) / weights.max()
    return torch.as_tensor(weights, dtype=torch.float32)


class FittedSlidingWindowInferer(SlidingWindowInferer):
    """
    MONAI's sliding window, no larger than the image needs.

    A small image in a large window would be mostly padding, and instance normalisation reacts to that.

    Args:
        roi_size: the largest window, in voxels, shape (3,).
        divisor: what the network needs sizes to be multiples of, shape (3,); None keeps ``roi_size`` as it
            is.
        mode: how windows that overlap are weighted: as MONAI's, or ``nnunet`` for nnU-Net's Gaussian, which
            nearly ignores a window's border.
        options: as for :class:`monai.inferers.SlidingWindowInferer`.
    """

    roi_size: Sequence[int]  # MONAI's may be one number

    def __init__(
        self,
        roi_size: Sequence[int],
        divisor: Sequence[int] | None = None,
        mode: str = "gaussian",
        **options: Any,
    ) -> None:
        self.divisor, self.mode_name, self.options = divisor, mode, options
        super().__init__(roi_size, mode=_monai_mode(mode), **options)
        if mode == "nnunet":
            self.roi_weight_map = nnunet_weights(roi_size)

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """
        Args:
            inputs: images, shape (B, C, H, W, D).
            network: gives logits of shape (B, N, h, w, d).
        """
        if self.divisor is None:
            return super().__call__(inputs, network, *args, **kwargs)
        needed = [-(-size // step) * step for size, step in zip(inputs.shape[2:], self.divisor)]
        fitted = [min(largest, size) for largest, size in zip(self.roi_size, needed)]
        return FittedSlidingWindowInferer(fitted, mode=self.mode_name, **self.options)(
            inputs, network, *args, **kwargs
        )


def _monai_mode(mode: str) -> str:
    return "gaussian" if mode == "nnunet" else mode
