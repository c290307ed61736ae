# SPDX-License-Identifier: Apache-2.0
"""In which precision a network is run over an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer

from .openvino_windows import openvino_network
from .window import FittedSlidingWindowInferer

__all__ = ["AutocastInferer", "autocast_dtype"]


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
        result: torch.Tensor = self.inferer(inputs, self.ready(network, inputs.device), *args, **kwargs)
        return result

    @property
    def window(self) -> FittedSlidingWindowInferer | None:
        """What lays windows over an image that can be reduced as they come; None where nothing does."""
        return self.inferer if isinstance(self.inferer, FittedSlidingWindowInferer) else None

    def compiled(
        self, network: torch.nn.Module, window: Sequence[int], channels: int
    ) -> Callable[[], Callable[[torch.Tensor], torch.Tensor]] | None:
        """
        What :func:`openvino_network` makes of a network for windows of a size, in this precision.

        Args:
            window: voxels, shape (3,).
            channels: of images.
        """
        return openvino_network(network, (1, channels, *window), self._dtype("cpu"))

    def ready(self, network: Callable[..., Any], device: torch.device) -> Callable[..., torch.Tensor]:
        """The network in the precision for a device; what it gives is float32."""
        dtype = self._dtype(device)

        def forward(patch: torch.Tensor, *more: Any, **options: Any) -> torch.Tensor:
            plain = patch.as_tensor() if isinstance(patch, MetaTensor) else patch
            with torch.autocast(plain.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                # Contiguous before float32: half as many bytes to turn around.
                logits: torch.Tensor = network(plain, *more, **options).contiguous().float()
                return logits

        return forward

    def _dtype(self, device: torch.device | str) -> torch.dtype | None:
        return autocast_dtype(device) if self.enabled else None
