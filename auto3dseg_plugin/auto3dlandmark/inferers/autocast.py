# SPDX-License-Identifier: Apache-2.0
"""In which precision a network is run over an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer
from torch.overrides import TorchFunctionMode

from .openvino_windows import openvino_network
from .window import FittedSlidingWindowInferer

__all__ = ["AutocastInferer", "autocast", "autocast_dtype"]

CONVOLUTIONS = {torch.conv2d, torch.conv3d, torch.conv_transpose2d, torch.conv_transpose3d}


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


@contextmanager
def autocast(device: torch.device | str, dtype: torch.dtype | None) -> Iterator[None]:
    """
    Compute in a type of :func:`autocast_dtype`; None for float32.

    While gradients are computed on a CPU, a convolution of a map that is smaller than its kernel along any
    axis stays in float32: its weights' gradient in bfloat16 is wrong, up to infinity.

    Source: measured on PyTorch 2.13 with oneDNN: a kernel of 3 on 2 voxels, of 5 on 4, of 7 on 6 or 5.
    """
    kind = torch.device(device).type
    guarded = kind == "cpu" and dtype is not None and torch.is_grad_enabled()
    guard = _SmallMapsInFloat32() if guarded else nullcontext()
    with torch.autocast(kind, dtype=dtype or torch.bfloat16, enabled=dtype is not None), guard:
        yield


class _SmallMapsInFloat32(TorchFunctionMode):
    """See :func:`autocast`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        if func in CONVOLUTIONS:
            given = {**dict(zip(("input", "weight"), args)), **options}
            image, kernel = given["input"], given["weight"].shape[2:]
            if any(side < size for side, size in zip(image.shape[-len(kernel) :], kernel)):
                with torch.autocast(image.device.type, enabled=False):
                    named = {name: _in_float32(value) for name, value in options.items()}
                    return func(*map(_in_float32, args), **named)
        return func(*args, **options)


def _in_float32(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) else value


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
            with autocast(plain.device, dtype):
                # Contiguous before float32: half as many bytes to turn around.
                logits: torch.Tensor = network(plain, *more, **options).contiguous().float()
                return logits

        return forward

    def _dtype(self, device: torch.device | str) -> torch.dtype | None:
        return autocast_dtype(device) if self.enabled else None
