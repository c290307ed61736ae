# SPDX-License-Identifier: Apache-2.0
"""The papers' networks are what their papers say: parameters, sizes, and what makes each of them special."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from auto3dlandmark.losses import SpatialCrossEntropyLoss
from auto3dlandmark.networks.h3de import H3DENet, RegionAttention
from auto3dlandmark.networks.spatial_configuration import SpatialConfigurationNet
from auto3dlandmark.networks.sr_unet import SuperResolutionUNet
from auto3dlandmark.transforms import GaussianTarget

NARROW = {
    "h3de": lambda channels, landmarks: H3DENet(channels, landmarks),
    "sr_unet": lambda channels, landmarks: SuperResolutionUNet(channels, landmarks, features=8),
    "spatial_configuration": lambda channels, landmarks: SpatialConfigurationNet(
        channels, landmarks, features=8, kernel=3
    ),
}


def parameters(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    "network, millions",
    [
        (lambda: H3DENet(1, 14), 24.47),
        (lambda: SuperResolutionUNet(1, 6), 172.85),
        (lambda: SpatialConfigurationNet(1, 26), 5.33),
    ],
)
def test_parameters_are_as_many_as_published_code_has(network, millions):
    with torch.device("meta"):
        assert parameters(network()) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("size", [(64, 32, 32), (96, 32, 64)])
def test_heatmaps_have_the_size_of_the_image(name, size):
    network = NARROW[name](2, 5)
    with torch.no_grad():
        assert network(torch.randn(1, 2, *size)).shape == (1, 5, *size)


@pytest.mark.parametrize("name", NARROW)
def test_a_step_makes_the_loss_smaller(name):
    torch.manual_seed(0)
    network, image = NARROW[name](1, 2), torch.randn(1, 1, 32, 32, 64)
    target = GaussianTarget(2.0)(
        torch.tensor([[[8.0, 9, 10], [20, 16, 40]]]), torch.ones(1, 2, dtype=torch.int64), (32, 32, 64)
    )
    optimizer, losses = torch.optim.Adam(network.parameters(), 1e-3), []
    for _ in range(3):
        loss = SpatialCrossEntropyLoss()(network(image), target)
        optimizer.zero_grad()
        loss.backward()
        assert all(weight.grad is not None for weight in network.parameters())
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]


def test_attention_to_all_regions_is_attention_to_all_voxels():
    torch.manual_seed(0)
    attention, values = RegionAttention(16, attended=8, regions=(2, 2, 2)), torch.randn(1, 4, 4, 4, 16)
    query, key, value = attention.query_key_value(values.reshape(1, 64, 16)).chunk(3, dim=-1)
    heads = [one.reshape(1, 64, 2, 8).transpose(1, 2) for one in (query, key, value)]
    plain = F.scaled_dot_product_attention(*heads, scale=16**-0.5).transpose(1, 2).reshape(1, 4, 4, 4, 16)
    local = attention.around(value.reshape(1, 4, 4, 4, 16).permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(attention(values), attention.output(plain + local))


def test_a_region_sees_only_the_regions_it_chooses():
    torch.manual_seed(0)
    attention = RegionAttention(8, attended=1, regions=(3, 1, 1))
    nn.init.zeros_(attention.around.weight)  # which looks at neighbours, whatever was chosen
    values = torch.randn(1, 6, 2, 2, 8)
    with torch.no_grad():
        query, key, _ = attention.query_key_value(values.reshape(1, 3, 8, 8)).chunk(3, dim=-1)
        affinity = query.mean(2) @ key.mean(2).transpose(1, 2)
        chosen = int(affinity[0, 0].argmax())  # of the first region
        before = attention(values)
        for region in range(3):
            other = values.clone()
            other[:, 2 * region : 2 * region + 2] *= 1.001  # too little to change who is chosen
            changed = float((attention(other) - before)[:, :2].abs().max())
            assert (changed > 0) == (region in (0, chosen))


def test_the_configuration_can_only_make_a_local_answer_smaller_or_turn_it():
    torch.manual_seed(0)
    network = SpatialConfigurationNet(1, 3, features=8, kernel=3).eval()
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        heatmaps, local = network(image), network.appearance(image)
    assert bool((heatmaps.abs() <= local.abs() + 1e-9).all()) and float(heatmaps.abs().max()) > 0
