# SPDX-License-Identifier: Apache-2.0
"""nnU-Net's planning rules, one by one and against plans that nnU-Net made. Axes are (z, y, x)."""

from __future__ import annotations

import numpy as np
import pytest

from auto3dlandmark.planning.nnunet_rules import (
    Configuration,
    configure,
    low_resolution,
    median_shape,
    target_spacing,
    transpose_order,
)
from auto3dlandmark.planning.presets import PRESETS

PRESET_OF = {"default": "plain", "ResEncM": "resenc_m", "ResEncL": "resenc_l"}
PLAIN = PRESETS["plain"]


def spacings_of(*rows):
    return np.array(rows, dtype=float)


def plan(given: dict, planner: str) -> tuple[Configuration, Configuration | None]:
    """Full and low resolution for one golden case."""
    preset, spacings = PRESETS[PRESET_OF[planner]], np.array(given["spacings"])
    shapes = np.array(given["shapes_after_crop"])
    target = np.array(given["overwrite_target_spacing"] or target_spacing(spacings, shapes))
    order = transpose_order(target)
    sizes = (given["numTraining"], given["n_landmarks"], given["gpu_memory_target_gb"])
    full = configure(preset, target[order], median_shape(spacings, shapes, target)[order], *sizes)
    return full, low_resolution(preset, full, *sizes)


def same(found: Configuration, golden: dict) -> bool:
    return (
        np.allclose(found.spacing, golden["spacing"], rtol=0, atol=1e-9)
        and np.array_equal(found.patch_size, golden["patch_size"])
        and found.batch_size == golden["batch_size"]
        and np.array_equal(found.strides, golden["strides"])
        and np.array_equal(found.kernel_sizes, golden["kernel_sizes"])
    )


def test_every_plan_is_nnunets(golden_plans):
    wrong = []
    for case in golden_plans:
        full, _ = plan(case["input"], case["planner"])
        golden = case["output"]
        exact = full.memory == golden["vram_estimate_final"]
        median = np.array_equal(full.median_shape, golden["median_image_size_in_voxels"])
        if not (same(full, golden) and exact and median):
            wrong.append((case["name"], case["planner"], full))
    assert len(golden_plans) >= 75 and wrong == []


def test_every_low_resolution_plan_is_nnunets(golden_plans):
    wrong, made = [], 0
    for case in golden_plans:
        _, low = plan(case["input"], case["planner"])
        golden = case["output"]["lowres"]
        made += low is not None
        if (low is None) != (golden is None) or (low is not None and not same(low, golden)):
            wrong.append((case["name"], case["planner"], low))
    assert 0 < made < len(golden_plans) and wrong == []


def test_the_target_spacing_is_the_median():
    shapes = np.full((3, 3), 100)
    assert target_spacing(spacings_of([1, 1, 1], [2, 1, 1], [9, 1, 3]), shapes).tolist() == [2, 1, 1]


def test_a_coarse_short_axis_takes_the_tenth_percentile():
    spacings = spacings_of(*[[z, 1, 1] for z in range(2, 13)])  # median 7, tenth percentile 3
    shapes = np.full((11, 3), (20, 100, 100))
    assert target_spacing(spacings, shapes).tolist() == [3, 1, 1]


def test_a_coarse_axis_does_not_become_finer_than_the_others():
    spacings = spacings_of([0.5, 1, 1], [6, 1, 1], [6, 1, 1], [6, 1, 1])
    shapes = np.full((4, 3), (20, 100, 100))
    assert target_spacing(spacings[[0, 0, 1, 2, 3]], shapes[[0] * 5]).tolist() == [1 + 1e-5, 1, 1]


@pytest.mark.parametrize("z_mm, z_size", [(3, 20), (6, 50)])
def test_a_coarse_axis_stays_when_it_is_not_coarse_or_not_short_enough(z_mm, z_size):
    spacings = spacings_of([1, 1, 1], [z_mm, 1, 1], [z_mm, 1, 1])
    assert target_spacing(spacings, np.full((3, 3), (z_size, 100, 100)))[0] == z_mm


@pytest.mark.parametrize(
    "target, order", [((3, 1, 1), [0, 1, 2]), ((1, 3, 1), [1, 0, 2]), ((1, 1, 3), [2, 0, 1])]
)
def test_the_coarsest_axis_comes_first(target, order):
    assert transpose_order(np.array(target, dtype=float)) == order


def test_among_equal_axes_the_first_counts_as_coarsest():
    assert transpose_order(np.array([1.0, 2, 2])) == [1, 0, 2]


def test_the_median_shape_is_taken_after_resampling():
    spacings, shapes = spacings_of([1, 1, 1], [2, 1, 1]), np.array([[10, 10, 10], [10, 11, 10]])
    assert median_shape(spacings, shapes, np.array([1.0, 1, 2])).tolist() == [15, 10.5, 5]


def test_a_shape_ending_in_a_half_is_rounded_to_the_even_number():
    found = median_shape(spacings_of([1, 1, 1]), np.array([[5, 7, 8]]), np.array([2.0, 2, 2]))
    assert found.tolist() == [2, 4, 4]


def test_a_small_image_is_pooled_until_four_voxels_are_left():
    found = configure(PLAIN, np.ones(3), np.array([32.0, 32, 32]), cases=1000, landmarks=1, gpu_memory_gb=8)
    assert found.patch_size == (32, 32, 32)
    assert found.strides == ((1, 1, 1),) + ((2, 2, 2),) * 3


def test_a_patch_is_padded_to_what_pooling_divides():
    found = configure(PLAIN, np.ones(3), np.array([33.0, 32, 30]), cases=1000, landmarks=1, gpu_memory_gb=8)
    pooled = np.prod(found.strides, axis=0)
    assert all(size % pool == 0 for size, pool in zip(found.patch_size, pooled))
    assert all(size >= median for size, median in zip(found.patch_size, (33, 32, 30)))


def test_half_a_voxel_of_a_median_is_padded_not_cut():
    median = np.array([256.5, 224, 192])  # of an even number of cases
    spacing = np.array([1, 1.2, 1.2])  # so that the first patch is longer than the image
    found = configure(PLAIN, spacing, median, cases=1000, landmarks=1, gpu_memory_gb=1000)
    assert found.patch_size[0] == 288


def test_thick_slices_are_pooled_and_convolved_later():
    found = configure(
        PLAIN, np.array([4.0, 1, 1]), np.array([40.0, 256, 256]), cases=40, landmarks=1, gpu_memory_gb=8
    )
    assert found.strides[1] == found.strides[2] == (1, 2, 2)
    assert found.kernel_sizes[0] == found.kernel_sizes[1] == (1, 3, 3)
    assert found.kernel_sizes[-1] == (3, 3, 3)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("gpu_memory_gb", [8, 16, 40])
def test_the_plan_stays_within_the_memory(name, gpu_memory_gb):
    preset = PRESETS[name]
    found = configure(preset, np.ones(3), np.array([300.0, 300, 300]), 50, 10, gpu_memory_gb)
    assert found.memory <= preset.reference_memory * gpu_memory_gb / preset.reference_gb


def test_more_memory_never_gives_a_smaller_step():
    def voxels(gpu_memory_gb):
        found = configure(PLAIN, np.ones(3), np.array([300.0, 250, 200]), 50, 10, gpu_memory_gb)
        return np.prod(found.patch_size) * found.batch_size

    steps = [voxels(gb) for gb in (8, 16, 32, 64)]
    assert steps == sorted(steps)


def test_a_batch_holds_at_most_a_twentieth_of_the_voxels_but_two_patches():
    few, many = (configure(PLAIN, np.ones(3), np.full(3, 32.0), cases, 1, 8).batch_size for cases in (3, 100))
    assert (few, many) == (2, 5)


def test_no_low_resolution_when_a_patch_sees_a_quarter_of_the_image():
    full = configure(PLAIN, np.ones(3), np.array([128.0, 128, 128]), 50, 1, 8)
    assert low_resolution(PLAIN, full, 50, 1, 8) is None


def test_the_low_resolution_sees_a_quarter_of_the_image():
    full = configure(PLAIN, np.ones(3), np.array([500.0, 500, 500]), 50, 1, 8)
    low = low_resolution(PLAIN, full, 50, 1, 8)
    assert np.prod(low.patch_size) / np.prod(low.median_shape) >= 0.25 > np.prod(full.patch_size) / 500**3
    assert np.log(low.spacing[0]) / np.log(1.03) == pytest.approx(
        round(np.log(low.spacing[0]) / np.log(1.03))
    )
