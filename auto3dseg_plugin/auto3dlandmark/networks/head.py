# SPDX-License-Identifier: Apache-2.0
"""A network as what it sees and, apart from that, what it makes of it: a few features a voxel, and a matrix
that turns them into one value for each landmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

__all__ = ["SplitNetwork", "split_network"]


@dataclass(frozen=True)
class SplitNetwork:
    """
    Networks without their last layer, a convolution of one voxel.

    Args:
        networks: whose logits are averaged.
        weight: of the last layers, shape (N, C) for the features of all networks beside each other.
        bias: shape (N,).
    """

    networks: tuple[torch.nn.Module, ...]
    weight: torch.Tensor
    bias: torch.Tensor

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """
        Args:
            images: shape (B, channels, h, w, d).

        Returns:
            shape (B, C, h, w, d).
        """
        found = []
        for network in self.networks:
            last = _last_layer(network)
            assert last is not None
            handle = last.register_forward_pre_hook(_hand_over)
            try:
                network(images)
            except _Reached as reached:
                found.append(reached.features)
            finally:
                handle.remove()
        return torch.cat(found, dim=1)

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


class _Reached(Exception):
    """The last layer was reached."""

    def __init__(self, features: torch.Tensor) -> None:
        super().__init__()
        self.features = features


def _hand_over(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    raise _Reached(inputs[0])


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
        tuple(networks), weight, torch.stack([one.to(weight.device) for one in biases]).mean(dim=0)
    )


def _last_layer(network: torch.nn.Module) -> torch.nn.Conv3d | None:
    """The last layer of a U-Net of dynamic-network-architectures."""
    layers = getattr(getattr(network, "decoder", None), "seg_layers", None)
    last = layers[-1] if layers else None
    simple = isinstance(last, torch.nn.Conv3d) and last.kernel_size == (1, 1, 1) and last.groups == 1
    return last if simple else None
