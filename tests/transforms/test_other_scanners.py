# SPDX-License-Identifier: Apache-2.0
"""Another contrast and another field of view: anatomy stays in its place."""

from __future__ import annotations

import monai
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from auto3dlandmark.transforms import RandConvolution, RandFieldOfViewd, RandPerChanneld, RandTapered


@pytest.fixture
def image():
    voxels = torch.randn(2, 24, 20, 16, generator=torch.Generator().manual_seed(0))
    voxels[:, 8:16, 6:14, 4:12] += 4
    return MetaTensor(voxels, affine=torch.diag(torch.tensor([2.0, 1, 1, 1])))


def seeded(step, seed=0):
    step.set_random_state(seed)
    return step


def other_contrast(**options):
    return RandPerChanneld("image", RandConvolution(**options), prob=1.0)


def test_the_contrast_changes_and_mean_and_spread_stay(image):
    seen = seeded(other_contrast(strength=(1.0, 1.0)))({"image": image})["image"]
    assert not torch.allclose(seen, image) and torch.equal(seen.affine, image.affine)
    for before, after in zip(image, seen):
        assert float(after.mean()) == pytest.approx(float(before.mean()), abs=1e-4)
        assert float(after.std()) == pytest.approx(float(before.std()), rel=1e-4)


def test_what_looked_alike_looks_alike_afterwards():
    """Kernels of one voxel are a curve of grey values: equal ones stay equal, wherever they are."""
    image = torch.randint(0, 3, (1, 8, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    step = seeded(other_contrast(kernel_sizes=(1,)))
    seen = step({"image": image})["image"]
    for value in range(3):
        assert float(seen[image == value].std()) < 1e-5


def test_without_strength_nothing_changes(image):
    still = seeded(other_contrast(strength=(0.0, 0.0)))({"image": image})["image"]
    assert torch.allclose(still, image, atol=1e-4)


def test_the_same_seed_gives_the_same_contrast(image):
    first, second, third = (seeded(other_contrast(), seed)({"image": image})["image"] for seed in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_the_field_shrinks_around_the_landmarks_and_the_image_is_standardised(image):
    landmarks = torch.tensor(
        [[20.0, 8, 6], [30.0, 12, 10], [float("nan")] * 3]
    )  # voxels 10, 8, 6 and 15, 12, 10
    kept = image.clone()
    for seed in range(20):
        step = seeded(RandFieldOfViewd("image", prob=1.0, most=0.9, margin=2), seed)
        seen = step({"image": image, "landmarks": landmarks})["image"]
        assert np.allclose([float(seen.mean()), float(seen.std())], [0, 1], atol=1e-3)
        inside = (slice(10, 16), slice(8, 13), slice(6, 11))
        for before, after in zip(image, seen):  # a straight line of grey values: nothing is cut off here
            line = np.polyfit(before[inside].ravel(), after[inside].ravel(), 1)
            assert np.allclose(np.polyval(line, before[inside].ravel()), after[inside].ravel(), atol=1e-3)
    assert torch.equal(image, kept)


def test_values_of_their_own_scale_keep_it(image):
    step = seeded(RandFieldOfViewd("image", prob=1.0, standardize=False))
    seen = step({"image": image})["image"]
    same = torch.isclose(seen, image)
    assert 0.05 < float(same.float().mean()) < 1


def test_most_of_it_comes_early():
    progress = torch.zeros(1)
    step = seeded(RandTapered([lambda data: "changed"], prob=0.6, late_prob=0.2, late=0.5, progress=progress))
    for done, share in ((0.0, 0.6), (0.49, 0.6), (0.5, 0.2), (1.0, 0.2)):
        progress.fill_(done)
        changed = [step({}) == "changed" for _ in range(500)]
        assert np.mean(changed) == pytest.approx(share, abs=0.07)


def test_a_worker_sees_the_progress_of_the_training():
    progress = torch.zeros(1).share_memory_()
    step = RandTapered([lambda item: item + 1], prob=1.0, late_prob=0.0, late=0.5, progress=progress)
    loader = torch.utils.data.DataLoader(
        monai.data.Dataset([0] * 64, step), num_workers=1, multiprocessing_context="fork", prefetch_factor=1
    )
    seen = iter(loader)
    assert int(next(seen)) == 1
    progress.fill_(1.0)
    assert int(list(seen)[-1]) == 0
