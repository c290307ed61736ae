# SPDX-License-Identifier: Apache-2.0
"""How a network is run over an image: in which precision, and through which window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer, SlidingWindowInferer
from scipy import ndimage

__all__ = ["AutocastInferer", "FittedSlidingWindowInferer", "autocast_dtype", "nnunet_weights"]


def autocast_dtype(device: torch.device | str) -> torch.dtype | None:
    """
    The type to compute in on a device: bfloat16 where there is hardware for it, else None for float32.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if kind == "cpu":
        return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None
    return None


class AutocastInferer(Inferer):
    """
    Wrap another inferer so that the network runs in mixed precision on any device, the CPU included.

    MONAI's own ``amp`` speaks to CUDA only. Losses and post-processing get float32.

    Args:
        inferer: does the work; a plain forward pass when left out.
        enabled: False computes in float32.
    """

    def __init__(self, inferer: Inferer | None = None, enabled: bool = True) -> None:
        super().__init__()
        self.inferer = SimpleInferer() if inferer is None else inferer
        self.enabled = enabled

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """
        Args:
            inputs: images, shape (B, C, H, W, D).
            network: gives logits of shape (B, N, h, w, d).
        """
        dtype = autocast_dtype(inputs.device) if self.enabled else None

        def forward(patch: torch.Tensor, *more: Any, **options: Any) -> torch.Tensor:
            plain = patch.as_tensor() if isinstance(patch, MetaTensor) else patch
            with torch.autocast(plain.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                # Contiguous before float32: half as many bytes to turn around.
                return network(plain, *more, **options).contiguous().float()

        return self.inferer(inputs, forward, *args, **kwargs)


def nnunet_weights(size: Sequence[int]) -> torch.Tensor:
    """
    nnU-Net's weights of a window's voxels, shape ``size``: a Gaussian of an eighth of the size, cut at four sigma.

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
        divisor: what the network needs sizes to be multiples of, shape (3,); None keeps ``roi_size`` as it is.
        mode: how windows that overlap are weighted: as MONAI's, or ``nnunet`` for nnU-Net's Gaussian, which nearly
            ignores a window's border.
        options: as for :class:`monai.inferers.SlidingWindowInferer`.
    """

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
        fitted = [min(largest, size) for largest, size in zip(self.roi_size, needed)]  # type: ignore[arg-type]
        return FittedSlidingWindowInferer(fitted, mode=self.mode_name, **self.options)(
            inputs, network, *args, **kwargs
        )


def _monai_mode(mode: str) -> str:
    return "gaussian" if mode == "nnunet" else mode
