# SPDX-License-Identifier: Apache-2.0
"""Heatmaps back to points: below one voxel, in millimetres, with scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from auto3dlandmark.landmarks import PRESENT
from auto3dlandmark.transforms import GaussianTarget, HeatmapToLandmarksd, decode_argmax, decode_centroid
from auto3dlandmark.transforms.decode import activate

SHAPE = (20, 22, 18)


def heatmap(point, sigma=1.5):
    return GaussianTarget(sigma)(torch.tensor([[point]]), torch.tensor([[PRESENT]]), SHAPE).dense(SHAPE)[0]


def test_argmax_finds_the_highest_voxel_and_its_height():
    points, scores = decode_argmax(0.8 * heatmap((5.0, 7.0, 9.0)))
    assert points.tolist() == [[5, 7, 9]]
    assert scores.item() == pytest.approx(0.8)


def test_argmax_refuses_a_batch():
    with pytest.raises(ValueError, match="decollate"):
        decode_argmax(torch.zeros(1, 1, *SHAPE))


@pytest.mark.parametrize("point", [(5.0, 7.0, 9.0), (5.4, 7.3, 9.4), (10.2, 10.9, 8.1)])
def test_the_centroid_is_exact_to_a_twentieth_of_a_voxel(point):
    points, _, _ = decode_centroid(heatmap(point), radius=5)
    assert (points[0] - torch.tensor(point)).norm() < 0.05


def test_the_centroid_at_the_border_stays_in_the_image():
    points, _, _ = decode_centroid(heatmap((0.0, 21.0, 17.0)), radius=4)
    assert points.tolist() == [[0, 21, 17]]


def test_an_empty_channel_has_score_zero():
    _, scores, masses = decode_centroid(torch.zeros(1, *SHAPE))
    assert scores.item() == 0 and masses.item() == 0


def test_softmax_heatmaps_sum_to_the_chance_that_the_landmark_is_there():
    likely, unlikely = torch.full((1, *SHAPE), -30.0), torch.full((1, *SHAPE), -30.0)
    likely[0, 5, 7, 9], unlikely[0, 5, 7, 9] = np.log(9.0), np.log(1 / 9)  # odds 9 to 1, and 1 to 9
    assert activate(likely, "softmax").sum().item() == pytest.approx(0.9, abs=1e-4)
    assert activate(unlikely, "softmax").sum().item() == pytest.approx(0.1, abs=1e-4)


def test_points_come_out_in_millimetres_of_the_images_frame(oblique_affine):
    point = np.array([5.4, 7.3, 9.4])
    logits = heatmap(tuple(point.tolist())).clamp(min=1e-9).log() + 5  # a softmax that is the Gaussian itself
    data = {
        "pred": logits,
        "image": MetaTensor(torch.zeros(1, *SHAPE), affine=torch.as_tensor(oblique_affine)),
    }
    result = HeatmapToLandmarksd("pred", activation="softmax", radius=4)(data)
    expected = oblique_affine[:3, :3] @ point + oblique_affine[:3, 3]
    assert result["pred"].dtype == torch.float64
    assert np.allclose(
        result["pred"][0].numpy(), expected, atol=0.05 * np.linalg.norm(oblique_affine[:3, :3], axis=0).max()
    )
    assert 0.9 < result["pred_score"].item() <= 1


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="softmax, sigmoid"):
        HeatmapToLandmarksd("pred", activation="relu")


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_a_pair_on_the_wrong_sides_swaps_places(flip):
    """The order is looked at in the world, whichever way the image's x axis runs."""
    heatmaps = torch.zeros(3, 8, 8, 8)
    heatmaps[0, 6, 2, 2], heatmaps[1, 1, 5, 2], heatmaps[2, 3, 3, 3] = 0.9, 0.8, 0.7
    grid = MetaTensor(heatmaps[:1], affine=torch.diag(torch.tensor([flip, 1, 1, 1])))
    decode = HeatmapToLandmarksd("pred", activation="sigmoid", radius=1, left_right_pairs=[[0, 1]])
    plain = HeatmapToLandmarksd("pred", activation="sigmoid", radius=1)
    swapped, found = (step.peaks(heatmaps, grid) for step in (decode, plain))
    order = [1, 0, 2] if flip > 0 else [0, 1, 2]
    assert np.array_equal(swapped.first, found.first[order])
    assert np.array_equal(swapped.masses, found.masses[order])
    assert swapped.first[0, 0] < swapped.first[1, 0]


def test_further_peaks_lie_outside_the_cubes_of_those_before_them():
    heatmaps = torch.zeros(2, 12, 8, 8)
    heatmaps[0, 2, 4, 4], heatmaps[0, 3, 4, 4], heatmaps[0, 9, 4, 4] = 0.5, 0.25, 0.2
    kept = heatmaps.clone()
    step = HeatmapToLandmarksd("pred", activation="softmax", radius=1)
    grid = MetaTensor(heatmaps[:1], affine=torch.diag(torch.tensor([2.0, 1, 1, 1])))
    peaks = step.peaks(heatmaps, grid)
    assert torch.equal(heatmaps, kept)
    assert np.allclose(peaks.positions[0, :2], [[2 * (2 + 0.25 / 0.75), 4, 4], [18, 4, 4]], atol=1e-5)
    assert np.allclose(peaks.masses[0], [0.75, 0.2, 0, 0, 0, 0]) and np.isnan(peaks.positions[0, 2:]).all()
    assert peaks.spreads[0, 0] == pytest.approx(2 * np.sqrt(1 / 3 * 2 / 3), abs=1e-5)
    assert (
        peaks.masses[1, 0] == 0 and np.isfinite(peaks.first[1]).all()
    )  # nothing found: a place without mass
