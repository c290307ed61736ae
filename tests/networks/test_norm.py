# SPDX-License-Identifier: Apache-2.0
"""An instance norm that keeps the layout gives the numbers and gradients of PyTorch's own."""

from __future__ import annotations

import copy

import pytest
import torch

from auto3dlandmark.networks.norm import keep_layout


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_numbers_and_gradients_stay_and_so_does_the_layout(affine, batch):
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.InstanceNorm3d(8, affine=affine))
    kept = keep_layout(copy.deepcopy(plain))
    made = torch.randn(batch, 8, 8, 7, 6).to(memory_format=torch.channels_last_3d)
    images = [made.clone().requires_grad_() for _ in range(2)]
    outputs = [network(one) for network, one in zip((plain, kept), images)]
    for output in outputs:
        (output**3).sum().backward()
    assert torch.allclose(outputs[0], outputs[1], atol=1e-5)
    assert outputs[1].is_contiguous(memory_format=torch.channels_last_3d)
    for one, other in zip([*plain.parameters(), images[0]], [*kept.parameters(), images[1]]):
        assert torch.allclose(one.grad, other.grad, atol=1e-3)
    assert list(plain.state_dict()) == list(kept.state_dict())


def test_a_norm_that_keeps_statistics_still_does():
    norm = keep_layout(torch.nn.InstanceNorm3d(2, track_running_stats=True))
    norm(torch.randn(2, 2, 4, 4, 4) + 5)
    assert float(norm.running_mean.mean()) > 0.1
