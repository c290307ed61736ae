# SPDX-License-Identifier: Apache-2.0
"""Smoothing before coarser voxels and cubic resampling: neither moves anything, nor touches what fits
already."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Spacing

from auto3dlandmark.transforms import AntiAliasd, SplineSpacingd, separate_axis


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


def blob(shape, spacing, centre):
    """A Gaussian of 4 mm around a place in millimetres, on an oblique, left-handed grid."""
    turn = np.array([[0, -1, 0], [0.8, 0, 0.6], [0.6, 0, -0.8]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * spacing, (5, -7, 9)
    voxels = np.stack(np.meshgrid(*[np.arange(size) for size in shape], indexing="ij"), axis=-1)
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    heights = np.exp(-((world - world.mean(axis=(0, 1, 2)) - centre) ** 2).sum(axis=-1) / 32)
    return MetaTensor(torch.tensor(heights[None], dtype=torch.float32), affine=torch.tensor(affine))


def centre_of_mass(image):
    weights = image.as_tensor()[0].double()
    steps = torch.stack(torch.meshgrid(*[torch.arange(n).double() for n in weights.shape], indexing="ij"))
    voxel = (steps * weights).sum(dim=(1, 2, 3)) / weights.sum()
    return (image.affine[:3, :3].double() @ voxel + image.affine[:3, 3]).numpy()


@pytest.mark.parametrize(
    "source, target", [((1, 1, 1), (1.3, 0.8, 1.1)), ((1, 1, 4), (1.2, 1.2, 2)), ((1, 1, 1), (1, 1, 5))]
)
def test_cubic_resampling_moves_nothing(source, target):
    shape = [round(60 / mm) for mm in source]
    image = blob(shape, np.array(source, dtype=float), (2.0, -3, 1))
    made = SplineSpacingd("image", target)({"image": image})["image"]
    assert made.shape[1:] == tuple(round(n * s / t) for n, s, t in zip(shape, source, target))
    assert np.linalg.norm(centre_of_mass(made) - centre_of_mass(image)) < 0.02
    assert made.min() >= image.min() and made.max() <= image.max()


def test_cubic_resampling_is_cubic():
    ramp = torch.linspace(-1, 1, 40) ** 3
    image = MetaTensor(ramp[None, :, None, None].expand(1, 40, 4, 4).clone(), affine=torch.eye(4))
    made = SplineSpacingd("image", (0.5, 1, 1))({"image": image})["image"]
    places = (torch.arange(80) + 0.5) / 2 - 0.5
    expected = (2 * places / 39 - 1) ** 3
    assert torch.allclose(made.as_tensor()[0, 8:-8, 0, 0], expected[8:-8], atol=1e-3)


def test_thick_slices_are_copied_not_blended():
    image = MetaTensor(torch.rand(1, 6, 6, 5), affine=torch.diag(torch.tensor([1.0, 1, 4, 1])))
    made = SplineSpacingd("image", (1, 1, 2))({"image": image})["image"]
    assert torch.allclose(made.as_tensor(), image.as_tensor().repeat_interleave(2, dim=3), atol=1e-6)


def test_an_image_of_the_right_size_is_returned_as_it_is():
    image = MetaTensor(torch.rand(1, 6, 6, 5), affine=torch.eye(4))
    assert SplineSpacingd("image", (1, 1, 1.04))({"image": image})["image"] is image


@pytest.mark.parametrize(
    "source, target, axis",
    [
        ((1, 1, 1), (1, 1, 1), None),
        ((1, 1, 3), (1, 1, 1), None),
        ((1, 4, 1), (1, 1, 1), 1),
        ((1, 1, 1), (1, 1, 4), 2),
        ((4, 4, 1), (1, 1, 9), None),
        ((4, 1, 1), (1, 1, 9), 0),
    ],
)
def test_only_the_coarsest_axis_of_very_thick_slices_is_resampled_on_its_own(source, target, axis):
    assert separate_axis(source, target) == axis
