# SPDX-License-Identifier: Apache-2.0
"""A network as what it sees and, apart from that, what it makes of it: a few features a voxel, and a matrix
that turns them into one value for each landmark."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Features", "SplitNetwork", "split_network"]


class Features(torch.nn.Module):
    """
    Networks of dynamic-network-architectures without their last layer, one beside the other.

    Args:
        networks: they share their weights with this one, and stay as they are.
    """

    def __init__(self, networks: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList(_without_last(network) for network in networks)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """
        Args:
            images: shape (B, channels, h, w, d).

        Returns:
            shape (B, C, h, w, d).
        """
        return torch.cat([network(images) for network in self.networks], dim=1)


@dataclass(frozen=True)
class SplitNetwork:
    """
    Networks without their last layer, a convolution of one voxel.

    Args:
        features: what is before it.
        weight: of the last layers, shape (N, C) for the features of all networks beside each other.
        bias: shape (N,).
    """

    features: Features
    weight: torch.Tensor
    bias: torch.Tensor

    def logits(self, features: torch.Tensor, channels: slice) -> torch.Tensor:
        """
        Args:
            features: shape (C, H, W, D).
            channels: which landmarks.

        Returns:
            shape (n, H, W, D).
        """
        flat = self.weight[channels] @ features.flatten(1) + self.bias[channels, None]
        return torch.unflatten(flat, 1, features.shape[1:])


def split_network(network: torch.nn.Module) -> SplitNetwork | None:
    """
    The network, or those that a bundle averages, split; None where that is not known to work, or where there
    are no fewer features than landmarks.
    """
    networks: Sequence[torch.nn.Module] = list(getattr(network, "networks", None) or [network])
    layers = [_last_layer(one) for one in networks]
    if any(layer is None for layer in layers):
        return None
    known = [layer for layer in layers if layer is not None]
    if sum(layer.in_channels for layer in known) >= known[0].out_channels:
        return None
    weight = torch.cat([layer.weight.detach().flatten(1).float() for layer in known], dim=1) / len(known)
    biases = [
        torch.zeros(one.out_channels) if one.bias is None else one.bias.detach().float() for one in known
    ]
    return SplitNetwork(
        Features(networks), weight, torch.stack([one.to(weight.device) for one in biases]).mean(dim=0)
    )


def _last_layer(network: torch.nn.Module) -> torch.nn.Conv3d | None:
    """The last layer of a U-Net of dynamic-network-architectures."""
    layers = getattr(getattr(network, "decoder", None), "seg_layers", None)
    last = layers[-1] if layers else None
    simple = isinstance(last, torch.nn.Conv3d) and last.kernel_size == (1, 1, 1) and last.groups == 1
    return last if simple else None


def _without_last(network: torch.nn.Module) -> torch.nn.Module:
    """The same network, weights and all, whose last layer hands on what it gets."""
    shared = {id(one): one for one in itertools.chain(network.parameters(), network.buffers())}
    headless: Any = copy.deepcopy(network, shared)
    headless.decoder.seg_layers[-1] = torch.nn.Identity()
    kept: torch.nn.Module = headless
    return kept
