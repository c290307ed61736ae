# SPDX-License-Identifier: Apache-2.0
"""Smoothing before coarser voxels: it moves nothing, and changes nothing when voxels stay as they are."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Spacing

from auto3dlandmark.transforms import AntiAliasd


@pytest.fixture
def thin_wall():
    """A wall one voxel thick, in voxels of 1 mm."""
    image = torch.zeros(1, 30, 30, 30)
    image[0, 14] = 1
    return MetaTensor(image, affine=torch.eye(4))


def test_a_thin_wall_survives_coarse_voxels(thin_wall):
    smooth = AntiAliasd("image", (4, 4, 4))({"image": thin_wall})["image"]
    coarse = Spacing(pixdim=(4, 4, 4))(smooth)
    assert Spacing(pixdim=(4, 4, 4))(thin_wall).max() < 0.02  # missed without smoothing
    assert coarse.max() > 0.1


def test_nothing_moves_and_nothing_is_lost(thin_wall):
    smooth = AntiAliasd("image", (4, 1, 1))({"image": thin_wall})["image"]
    assert torch.equal(smooth.affine, thin_wall.affine)
    profile = smooth[0].mean(dim=(1, 2))
    assert profile.sum().item() == pytest.approx(1, abs=1e-5)
    assert (profile * torch.arange(30)).sum().item() == pytest.approx(14, abs=1e-4)


@pytest.mark.parametrize("spacing, enabled", [((1, 1, 1), True), ((0.5, 0.5, 0.5), True), ((4, 4, 4), False)])
def test_an_image_that_does_not_get_coarser_is_left_alone(thin_wall, spacing, enabled):
    assert torch.equal(AntiAliasd("image", spacing, enabled)({"image": thin_wall})["image"], thin_wall)
