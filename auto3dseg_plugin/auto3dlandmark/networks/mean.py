# SPDX-License-Identifier: Apache-2.0
"""Several trained networks as one, so that a published bundle holds all folds and runs like any other."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

__all__ = ["MeanNetwork", "mean_state_dict"]

EXAMPLE_SIZES = (32, 64, 96, 128)  # the first that a network takes; deep ones need larger cubes


class MeanNetwork(torch.nn.Module):
    """
    The mean of the logits of networks that differ in their weights only.

    Args:
        network: one of them.
        count: how many.

    The mean of logits is, up to a factor, the geometric mean of the heatmaps; it finds the same points as
    their arithmetic mean where the networks agree.
    """

    def __init__(self, network: torch.nn.Module, count: int) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList([copy.deepcopy(network) for _ in range(count)])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """
        Args:
            image: shape (B, C, H, W, D).

        Returns:
            logits, shape (B, N, H, W, D).
        """
        return torch.stack([network(image) for network in self.networks]).mean(dim=0)

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """
        What ``torch.jit.script`` takes instead: the networks traced, as those of
        dynamic-network-architectures cannot be scripted. A trace holds for any size that the network takes.
        """
        return _TracedMean(self)


class _TracedMean(torch.nn.Module):
    """The same mean, of traced networks."""

    def __init__(self, mean: MeanNetwork) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList([_traced(network) for network in mean.networks])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        total = [network(image) for network in self.networks]
        return torch.stack(total).mean(dim=0)


def _traced(network: torch.nn.Module) -> torch.nn.Module:
    first = next(weights for weights in network.parameters() if weights.ndim == 5)
    channels = first.shape[1] // math.prod(getattr(network, "factor", (1,)))  # a folded network's are more
    for size in EXAMPLE_SIZES:
        example = torch.zeros(1, channels, size, size, size, dtype=first.dtype, device=first.device)
        with contextlib.suppress(RuntimeError), torch.no_grad():
            traced: torch.nn.Module = torch.jit.trace(network, example, check_trace=False)
            return traced
    raise TypeError(f"{type(network).__name__} cannot be traced with cubes of {EXAMPLE_SIZES} voxels.")


def mean_state_dict(
    states: Sequence[Mapping[str, Any]], dtype: torch.dtype = torch.float16
) -> dict[str, Any]:
    """
    The weights of a :class:`MeanNetwork` from those of its networks, rounded to a smaller type.

    A tensor that stands under several names is kept once, as it was.
    """
    rounded: dict[int, torch.Tensor] = {}
    result = {}
    for number, state in enumerate(states):
        for name, value in state.items():
            address = value.data_ptr()
            if address not in rounded:
                rounded[address] = value.to(dtype) if value.is_floating_point() else value.clone()
            result[f"networks.{number}.{name}"] = rounded[address]
    return result
