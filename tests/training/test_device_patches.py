# SPDX-License-Identifier: Apache-2.0
"""A patch that is drawn here and made there is the patch that would have been made here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import Dataset, MetaTensor
from monai.transforms import Compose, EnsureTyped, RandGaussianNoised, RandomizableTransform, Transform

from auto3dlandmark.training.device_patches import PatchLoader
from auto3dlandmark.training.prepared import Prepare
from auto3dlandmark.transforms import RandPatchLandmarksd, VoxelLandmarksd

SIZES = ((20, 24, 28), (31, 18, 22))
STATUS = torch.tensor([1, 1])


class Case(Transform):
    """Give image and landmarks of a number."""

    def __call__(self, number):
        random = torch.Generator().manual_seed(number)
        image = MetaTensor(
            torch.randn(2, *SIZES[number], generator=random),
            affine=torch.diag(torch.tensor([1.0, 2, 1.5, 1])).double(),
        )
        points = torch.tensor([[5.0, 20.0, 9.0], [11.0, 16.0, np.nan]], dtype=torch.float64)
        return {"image": image, "landmarks": points, "landmarks_status": STATUS}


class Failing(RandomizableTransform):
    """Fail at the second patch."""

    calls = 0

    def __call__(self, data):
        self.calls += 1
        if self.calls > 2:
            raise ValueError("the third patch")
        return data


def cases(*rest, **patch) -> Dataset:
    options = {"rotation_deg": 60, "scale_range": (0.7, 1.4), "shift": 6.0, "flip_prob": 0.5, **patch}
    drawn = RandPatchLandmarksd("image", (10, 12, 9), flip_pairs=[[0, 1]], **options)
    steps = [Prepare([Case()]), drawn, *rest, VoxelLandmarksd(), EnsureTyped("image", track_meta=False)]
    return Dataset([0, 1] * 4, Compose(steps, lazy=True))


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_batches_are_those_of_an_ordinary_loader(padding):
    batches = []
    for on_device in (False, True):
        dataset = cases(RandGaussianNoised("image", prob=0.5), padding_mode=padding)
        _, patch, noise, *_ = dataset.transform.transforms
        loader = PatchLoader(dataset, "cpu", on_device, batch_size=2)
        assert (loader.patch is patch) == on_device
        patch.set_random_state(seed=3)  # a loader seeds its steps
        noise.set_random_state(seed=7)
        batches.append(list(loader))
    assert len(batches[0]) == len(batches[1]) == 4
    for one, other in zip(*batches):
        assert one.keys() >= {"image", "landmarks_voxel", "landmarks_status"}
        np.testing.assert_allclose(one["image"], other["image"], atol=1e-4)
        for key in ("landmarks_voxel", "landmarks_status"):
            np.testing.assert_allclose(one[key], other[key], atol=1e-4)


def test_processes_draw_what_a_thread_makes():
    loader = PatchLoader(cases(), "cpu", True, batch_size=2, num_workers=2)
    shapes = [tuple(batch["image"].shape) for batch in loader]
    assert shapes == [(2, 2, 10, 12, 9)] * 4


def test_what_goes_wrong_in_the_thread_is_raised():
    loader = PatchLoader(cases(Failing()), "cpu", True, batch_size=1)
    batches = iter(loader)
    next(batches), next(batches)
    with pytest.raises(RuntimeError, match="Failing"):
        next(batches)


def test_a_patch_of_another_kind_is_made_by_the_processes():
    dataset = Dataset([0, 1], Compose([Case(), Case()]))
    loader = PatchLoader(dataset, "cpu", True, batch_size=2)
    assert loader.patch is None
