# SPDX-License-Identifier: Apache-2.0
"""Sparse heatmap targets: the same as their naive dense versions, and exact below one voxel."""

from __future__ import annotations

import math

import pytest
import torch

from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN
from auto3dlandmark.transforms import ConeTarget, GaussianTarget, PrepareHeatmapBatch
from auto3dlandmark.transforms.targets import EMPTY, FILLED, IGNORED

SHAPE = (12, 14, 11)
NAN = [math.nan] * 3


def distances_to(point):
    axes = [torch.arange(size, dtype=torch.float32) for size in SHAPE]
    return (torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1) - torch.tensor(point)).norm(dim=-1)


def one(point, status=PRESENT):
    return torch.tensor([[point]]), torch.tensor([[status]])


@pytest.mark.parametrize("point", [(5.0, 6.0, 5.0), (5.3, 6.8, 4.5), (0.2, 13.4, -0.4)])
def test_a_gaussian_target_is_the_gaussian_of_the_distance(point):
    dense = GaussianTarget(sigma=1.5)(*one(point), SHAPE).dense(SHAPE)[0, 0]
    distance = distances_to(point)
    expected = torch.exp(-distance.square() / (2 * 1.5**2))
    near = distance < 4 * 1.5
    assert torch.allclose(dense[near], expected[near], atol=1e-6)
    assert dense[~near].max() < 4e-4


@pytest.mark.parametrize("point", [(5.0, 6.0, 5.0), (5.3, 6.8, 4.5), (0.2, 13.4, -0.4)])
def test_a_cone_target_falls_linearly_to_zero(point):
    dense = ConeTarget(radius=4)(*one(point), SHAPE).dense(SHAPE)[0, 0]
    assert torch.allclose(dense, (1 - distances_to(point) / 4).clamp(min=0), atol=1e-6)


def test_a_cone_larger_than_the_patch_still_fits():
    dense = ConeTarget(radius=15.03)(*one((5.3, 6.8, 4.5)), SHAPE).dense(SHAPE)[0, 0]
    assert torch.allclose(dense, (1 - distances_to((5.3, 6.8, 4.5)) / 15.03).clamp(min=0), atol=1e-6)


def test_the_centre_of_mass_of_a_target_is_the_landmark():
    point = torch.tensor([5.3, 6.8, 4.6])
    target = GaussianTarget(sigma=1.0)(*one(point.tolist()), SHAPE)
    dense = target.dense(SHAPE)[0, 0]
    axes = [torch.arange(size, dtype=torch.float32) for size in SHAPE]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    assert torch.allclose((grid * dense[..., None]).sum(dim=(0, 1, 2)) / dense.sum(), point, atol=1e-3)


@pytest.mark.parametrize(
    "point, status, state",
    [
        ((5.0, 6.0, 5.0), PRESENT, FILLED),
        ((-0.5, 6.0, 5.0), PRESENT, FILLED),  # the first voxel reaches half a voxel further
        ((-0.6, 6.0, 5.0), PRESENT, EMPTY),  # outside the patch
        ((5.0, 13.5, 5.0), PRESENT, EMPTY),
        (NAN, ABSENT, EMPTY),
        (NAN, UNKNOWN, IGNORED),
    ],
)
def test_present_absent_and_unknown_are_not_mixed_up(point, status, state):
    target = GaussianTarget()(*one(point, status), SHAPE)
    assert target.state.item() == state
    assert (target.dense(SHAPE).max() > 0.5) == (state == FILLED)
    assert torch.isfinite(target.values).all()


def test_prepare_batch_gives_plain_images_and_targets_of_the_patch():
    batch = {
        "image": torch.zeros(2, 1, *SHAPE),
        "landmarks_voxel": torch.tensor([[[5.0, 6.0, 5.0], NAN]] * 2),
        "landmarks_status": torch.tensor([[PRESENT, UNKNOWN]] * 2),
    }
    image, target = PrepareHeatmapBatch(GaussianTarget())(batch, device="cpu")
    assert type(image) is torch.Tensor
    assert target.dense(SHAPE).shape == (2, 2, *SHAPE)
    assert target.state.tolist() == [[FILLED, IGNORED]] * 2


@pytest.mark.parametrize("make", [lambda: GaussianTarget(sigma=0), lambda: ConeTarget(radius=-1)])
def test_a_target_without_width_is_refused(make):
    with pytest.raises(ValueError, match="greater than 0"):
        make()
