# SPDX-License-Identifier: Apache-2.0
"""Losses on sparse targets equal their naive versions on dense ones."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN
from auto3dlandmark.losses import (
    SMOOTH,
    HardNegativeLoss,
    LinearMSELoss,
    MaskedMSELoss,
    SpatialCrossEntropyLoss,
    TopKBCELoss,
)
from auto3dlandmark.transforms import ConeTarget, GaussianTarget

SHAPE = (10, 9, 8)
VOXELS = math.prod(SHAPE)
NAN = [math.nan] * 3
KNOWN = [0, 1, 2]  # channel 3 is unknown
ALL = [
    TopKBCELoss(),
    MaskedMSELoss(),
    SpatialCrossEntropyLoss(distance_weight=0.3),
    LinearMSELoss(),
    LinearMSELoss(summed=True),
    HardNegativeLoss(),
]


@pytest.fixture
def target():
    points = torch.tensor([[[3.3, 4.2, 5.9], [0.1, 8.0, 2.0], NAN, NAN]])
    status = torch.tensor([[PRESENT, PRESENT, ABSENT, UNKNOWN]])
    return GaussianTarget(sigma=1.2)(points, status, SHAPE)


@pytest.fixture
def logits():
    return torch.randn(1, 4, *SHAPE, generator=torch.Generator().manual_seed(0)).mul(3).requires_grad_()


def test_top_k_bce_is_the_mean_over_the_hardest_voxels_of_each_known_channel(logits, target):
    dense = F.binary_cross_entropy_with_logits(logits, target.dense(SHAPE), reduction="none").flatten(2)
    naive = dense.sort(dim=2, descending=True).values[0, KNOWN, : round(0.2 * VOXELS)].mean()
    assert TopKBCELoss(top_k=0.2)(logits, target).item() == pytest.approx(naive.item(), rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_linear_mse_is_the_mean_or_half_the_sum_of_squares(logits, target, scale):
    squares = (logits - scale * target.dense(SHAPE)).square().flatten(2)[0, KNOWN]
    assert LinearMSELoss(scale)(logits, target).item() == pytest.approx(squares.mean().item(), rel=1e-5)
    summed = squares.sum(dim=1).mean().item() / 2
    assert LinearMSELoss(scale, summed=True)(logits, target).item() == pytest.approx(summed, rel=1e-5)


def test_hard_negatives_are_as_many_as_voxels_in_the_heatmap(logits, target):
    target = GaussianTarget(sigma=0.8, cutoff=2.0)(
        target.points, torch.tensor([[PRESENT, PRESENT, ABSENT, UNKNOWN]]), SHAPE
    )
    dense, expected = target.dense(SHAPE).flatten(2)[0], []
    for values, wanted in zip(logits.flatten(2)[0], dense):
        inside = wanted > 0
        near = F.smooth_l1_loss(values[inside], 2 * wanted[inside]) if inside.any() else torch.zeros(())
        outside = values[~inside].sort(descending=True).values[: max(1, int(inside.sum()))]
        expected.append(near + F.smooth_l1_loss(outside, torch.full_like(outside, -1.0)))
    naive = torch.stack(expected)[KNOWN].mean().item()
    assert HardNegativeLoss()(logits, target).item() == pytest.approx(naive, rel=1e-5)


def test_masked_mse_is_the_mean_over_known_channels(logits, target):
    naive = (logits.sigmoid() - target.dense(SHAPE)).square()[0, KNOWN].mean()
    assert MaskedMSELoss()(logits, target).item() == pytest.approx(naive.item(), rel=1e-5)


def test_spatial_cross_entropy_has_one_more_place_for_landmarks_that_are_not_here(logits, target):
    log_probability = torch.cat([logits.flatten(2), torch.zeros(1, 4, 1)], dim=2).log_softmax(dim=2)[0]
    wanted = target.dense(SHAPE).flatten(2)[0]
    wanted = wanted / wanted.sum(dim=1, keepdim=True)
    naive = [-(wanted[channel] * log_probability[channel, :-1]).sum() for channel in (0, 1)] + [
        -log_probability[2, -1]
    ]
    assert SpatialCrossEntropyLoss()(logits, target).item() == pytest.approx(
        torch.stack(naive).mean().item(), rel=1e-5
    )


def test_the_distance_term_is_the_distance_of_the_softmax_mean_in_voxels(logits, target):
    probability = logits.flatten(2).softmax(dim=2).view(logits.shape)[0]
    axes = [torch.arange(size, dtype=torch.float32) for size in SHAPE]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    means = [(probability[channel, ..., None] * grid).sum(dim=(0, 1, 2)) for channel in (0, 1)]
    distances = [(mean - target.points[0, channel]).norm() for channel, mean in enumerate(means)]
    difference = SpatialCrossEntropyLoss(distance_weight=0.5)(logits, target) - SpatialCrossEntropyLoss()(
        logits, target
    )
    assert difference.item() == pytest.approx(0.5 * sum(distances).item() / 3, abs=1e-3)


@pytest.mark.parametrize("loss", ALL)
def test_an_unknown_landmark_gets_no_gradient_and_an_absent_one_does(loss, logits, target):
    loss(logits, target).backward()
    assert logits.grad[0, 3].abs().max() == 0
    assert all(logits.grad[0, channel].abs().max() > 0 for channel in KNOWN)


@pytest.mark.parametrize("loss", ALL)
def test_a_batch_without_any_known_landmark_has_loss_zero(loss, logits):
    target = ConeTarget(3)(torch.full((1, 4, 3), math.nan), torch.full((1, 4), UNKNOWN), SHAPE)
    value = loss(logits, target)
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("loss", ALL)
def test_a_perfect_answer_costs_less_than_a_shifted_one(loss, target):
    dense = target.dense(SHAPE)
    perfect = 12 * dense - 8
    shifted = perfect.roll(2, dims=2)
    assert loss(perfect, target) < loss(shifted, target)


@pytest.mark.parametrize("top_k", [0, 1.5])
def test_top_k_must_be_a_share(top_k):
    with pytest.raises(ValueError, match="top_k"):
        TopKBCELoss(top_k)


def naive_spatial_cross_entropy(logits, target, distance_weight):
    """The loss on a dense target, for autograd: channels of a present, and those of an absent landmark."""
    flat, dense = logits.flatten(2), target.dense(SHAPE).to(logits).flatten(2)
    place = torch.cat([flat, torch.zeros_like(flat[..., :1])], dim=2).log_softmax(dim=2)
    share = dense / dense.sum(dim=2, keepdim=True).clamp(min=1e-12)
    filled = dense.sum(dim=2) > 0
    entropy = torch.where(filled, -(share * place[..., :-1]).sum(dim=2), -place[..., -1])
    axes = [torch.arange(float(size)) for size in SHAPE]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).to(logits).flatten(0, 2)
    offset = torch.where(filled[..., None], flat.softmax(dim=2) @ grid - target.points.nan_to_num(), 0)
    distance = torch.where(filled, (offset.square().sum(dim=2) + SMOOTH).sqrt(), 0)
    return (entropy + distance_weight * distance)[:, KNOWN].mean()


def test_the_written_out_gradient_is_autograds(target):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 4, *SHAPE, generator=generator).double().requires_grad_()
    naive = logits.detach().clone().requires_grad_()
    value = SpatialCrossEntropyLoss(distance_weight=0.7)(logits, target)
    expected = naive_spatial_cross_entropy(naive, target, 0.7)
    value.backward()
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(logits.grad, naive.grad, rtol=1e-4, atol=1e-7)  # ours computes in float32
