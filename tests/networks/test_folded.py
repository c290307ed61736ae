# SPDX-License-Identifier: Apache-2.0
"""Folding moves voxels into channels and back, and loses none."""

from __future__ import annotations

import pytest
import torch
from monai.networks.utils import pixelunshuffle

from auto3dlandmark.networks.folded import FoldedNetwork, folded, unfolded


@pytest.mark.parametrize("factor", [(2, 2, 2), (1, 2, 2), (3, 1, 2)])
def test_unfolding_undoes_folding(factor):
    image = torch.randn(2, 3, 6, 8, 4)
    small = folded(image, factor)
    assert small.shape == (
        2,
        3 * factor[0] * factor[1] * factor[2],
        *(n // f for n, f in zip((6, 8, 4), factor)),
    )
    assert torch.equal(unfolded(small, factor), image)


def test_a_block_lies_in_the_channels_as_monai_puts_it():
    image = torch.randn(1, 2, 4, 6, 8)
    assert torch.equal(folded(image, (2, 2, 2)), pixelunshuffle(image, 3, 2))


def test_a_network_that_does_nothing_gives_the_image_back():
    image = torch.randn(1, 1, 8, 8, 8)
    assert torch.equal(FoldedNetwork(torch.nn.Identity())(image), image)


def test_weights_learn_through_the_folding():
    network = FoldedNetwork(torch.nn.Conv3d(8, 16, 3, padding=1))
    heatmaps = network(torch.randn(1, 1, 8, 8, 8))
    assert heatmaps.shape == (1, 2, 8, 8, 8)
    heatmaps.square().mean().backward()
    assert float(network.network.weight.grad.abs().sum()) > 0
