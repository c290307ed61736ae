# SPDX-License-Identifier: Apache-2.0
"""The running mean of weights, checked against a mean worked out from all of them."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine

from auto3dlandmark.training.averaging import WeightAverage, bare_network


def weights_after(average, network, values):
    """Let a trainer set the one weight to each value in turn."""

    def step(engine, value):
        network.weight.data.fill_(value)

    engine = Engine(step)
    average.attach(engine)
    engine.run(values, max_epochs=1)
    return average.network.weight.item()


def single_weight():
    return torch.nn.Linear(1, 1, bias=False)


def test_power_zero_is_the_plain_mean():
    network = single_weight()
    assert weights_after(WeightAverage(network, 0), network, [1.0, 2.0, 6.0]) == pytest.approx(3.0)


def test_a_higher_power_weighs_later_steps_more():
    network = single_weight()
    values = [float(value) for value in range(200)]
    weights = torch.arange(1, 201, dtype=torch.float64) ** 3
    expected = float((weights * torch.tensor(values, dtype=torch.float64)).sum() / weights.sum())
    assert weights_after(WeightAverage(network, 3), network, values) == pytest.approx(expected, rel=0.01)


def test_without_a_power_the_network_stands_for_its_average():
    network = single_weight()
    average = WeightAverage(network)
    assert average.network is network
    assert average.state_dict() == {}
    assert weights_after(average, network, [1.0, 5.0]) == 5.0


def test_an_interrupted_average_goes_on():
    network = single_weight()
    whole = weights_after(WeightAverage(network, 2), network, [1.0, 2.0, 3.0, 4.0])
    first, second = WeightAverage(network, 2), WeightAverage(network, 2)
    weights_after(first, network, [1.0, 2.0])
    second.load_state_dict(first.state_dict())
    assert weights_after(second, network, [3.0, 4.0]) == pytest.approx(whole)


def test_a_plain_network_is_bare():
    network = single_weight()
    assert bare_network(network) is network
