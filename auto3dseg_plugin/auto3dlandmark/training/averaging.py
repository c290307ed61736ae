# SPDX-License-Identifier: Apache-2.0
"""The running mean of a network's weights over training: often better than the weights at any one moment."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch.optim.swa_utils import AveragedModel

__all__ = ["WeightAverage", "bare_network"]


class WeightAverage:
    """
    Average the weights after each step, so that step t counts in proportion to ``t ** power``.

    The mean always covers the same share of the training behind it (its last tenth or so for a power of 9),
    so it needs no knowledge of the training's length, and the learning rate need not fall.

    Args:
        network: in training; a DistributedDataParallel wrapper is looked through.
        power: how much later steps count more; None keeps no average, and ``network`` stands for it.

    Source: Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models", CVPR 2024.
    """

    def __init__(self, network: torch.nn.Module, power: float | None = None) -> None:
        trained = bare_network(network)
        self.average = (
            None if power is None else AveragedModel(trained, avg_fn=partial(_mean, power), use_buffers=True)
        )
        self.network: torch.nn.Module = trained if self.average is None else self.average.module
        self.trained = trained

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        if self.average is not None:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._update, self.average)

    def _update(self, engine: Engine, average: AveragedModel) -> None:
        average.update_parameters(self.trained)

    def state_dict(self) -> dict[str, Any]:
        """What a restarted training needs to go on; empty without an average."""
        return {} if self.average is None else self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        if self.average is not None:
            self.average.load_state_dict(state)


def _mean(power: float, mean: torch.Tensor, value: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    """The mean after one more step, ``count`` steps having gone before it."""
    share = (power + 1) / (count + power + 1)
    return mean + share * (value - mean)


def bare_network(network: torch.nn.Module) -> torch.nn.Module:
    """
    The network itself, without the wrapper of a training on several devices.
    """
    if isinstance(network, torch.nn.parallel.DistributedDataParallel):
        wrapped: torch.nn.Module = network.module
        return wrapped
    return network
