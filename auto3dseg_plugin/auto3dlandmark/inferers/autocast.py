# SPDX-License-Identifier: Apache-2.0
"""In which precision a network is run over an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer

from .openvino_windows import FEWEST_WINDOWS, openvino_network
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
        result: torch.Tensor = self.inferer(inputs, self._forward(inputs.device, network), *args, **kwargs)
        return result

    def slabs(
        self, image: torch.Tensor, network: Callable[[torch.Tensor], torch.Tensor], axis: int = 0
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """
        As :meth:`auto3dlandmark.inferers.FittedSlidingWindowInferer.slabs`, which has to be inside.
        """
        assert isinstance(self.inferer, FittedSlidingWindowInferer)
        return self.inferer.slabs(image, self._ready(image, network), axis)

    def _ready(
        self, image: torch.Tensor, network: Callable[[torch.Tensor], torch.Tensor]
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """The network, made ready for the windows of an image."""
        assert isinstance(self.inferer, FittedSlidingWindowInferer)
        if image.device.type == "cpu" and isinstance(network, torch.nn.Module):
            window, count = self.inferer.windows_of(image.shape[1:])
            if count >= FEWEST_WINDOWS:
                dtype = autocast_dtype(image.device) if self.enabled else None
                faster = openvino_network(network, (1, len(image), *window), dtype)
                if faster is not None:
                    return faster
        return self._forward(image.device, network)

    def _forward(self, device: torch.device, network: Callable[..., Any]) -> Callable[..., torch.Tensor]:
        """The network in the precision for a device."""
        dtype = autocast_dtype(device) if self.enabled else None

        def forward(patch: torch.Tensor, *more: Any, **options: Any) -> torch.Tensor:
            plain = patch.as_tensor() if isinstance(patch, MetaTensor) else patch
            with torch.autocast(plain.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                # Contiguous before float32: half as many bytes to turn around.
                logits: torch.Tensor = network(plain, *more, **options).contiguous().float()
                return logits

        return forward
