# SPDX-License-Identifier: Apache-2.0
"""Disturbed images show the same world: what lay at a place lies there still, whatever grid it is on."""

from __future__ import annotations

import numpy as np
import pytest

from auto3dlandmark.evaluation.disturbances import DISTURBANCES, disturb
from auto3dlandmark.geometry import (
    is_singular,
    rotation_angle,
    voxel_spacing,
    voxel_to_world,
    voxels_outside,
    world_to_voxel,
)

BY_NAME = {one.name: one for one in DISTURBANCES}
SHAPE = (40, 36, 30)
GEOMETRIC = ("coarse voxels", "thick slices", "tight crop", "wide field", "storage order", "rotation")
EACH = [(one.name, severity) for one in DISTURBANCES for severity in one.severities]


def heights(shape, affine):
    """What each voxel lies at along an oblique direction of the world: a ramp that every grid shows alike."""
    world = voxel_to_world(np.moveaxis(np.indices(shape), 0, -1), affine)
    return world @ (1.0, 0.5, -2.0)


@pytest.fixture
def points(oblique_affine):
    return voxel_to_world(
        np.array([[12.0, 12, 10], [24, 20, 18], [17, 16, 14], [np.nan] * 3]), oblique_affine
    )


def changed(name, severity, array, affine, points, case="a"):
    return disturb(BY_NAME[name], severity, array, affine, case, points)


@pytest.mark.parametrize("name, severity", [one for one in EACH if one[0] in GEOMETRIC])
def test_what_lay_at_a_place_lies_there_still(name, severity, oblique_affine, points):
    ramp = heights(SHAPE, oblique_affine)
    array, affine = changed(name, severity, ramp, oblique_affine, points)
    index = np.moveaxis(np.indices(array.shape), 0, -1)
    before = world_to_voxel(voxel_to_world(index, affine), oblique_affine)
    edge = 4 * severity / 2 if name in ("coarse voxels", "thick slices") else 1e-6  # as far as they smooth
    inside = ((before >= edge) & (before <= np.array(SHAPE) - 1 - edge)).all(axis=-1)
    assert inside.sum() > 20
    assert np.abs(array - heights(array.shape, affine))[inside].max() < 1e-2


@pytest.mark.parametrize("name, severity", EACH)
def test_the_same_case_is_disturbed_in_the_same_way_each_time(name, severity, oblique_affine, points):
    volume = np.random.default_rng(0).uniform(size=SHAPE)
    copy = volume.copy()
    (first, affine), (again, same) = (
        changed(name, severity, volume, oblique_affine, points) for _ in range(2)
    )
    assert np.array_equal(first, again) and np.array_equal(affine, same)
    assert np.array_equal(volume, copy)


@pytest.mark.parametrize("name, severity", EACH)
def test_each_channel_stays_one(name, severity, oblique_affine, points):
    volume = np.random.default_rng(0).normal(size=(20, 16, 12, 2)) * (1, 1000)
    array, affine = changed(name, severity, volume, oblique_affine, points)
    assert array.dtype == np.float32 and array.ndim == 4 and array.shape[3] == 2
    assert np.isfinite(array).all() and not is_singular(affine)
    assert array[..., 1].std() > 50 * array[..., 0].std()
    alone, same = changed(name, severity, volume[..., 0], oblique_affine, points)
    assert alone.shape == array.shape[:3] and np.array_equal(affine, same)


@pytest.mark.parametrize("name", BY_NAME)
def test_an_image_of_one_grey_stays_an_image(name, oblique_affine):
    array, _ = changed(
        name, BY_NAME[name].severities[-1], np.full((8, 8, 8), 5), oblique_affine, np.empty((0, 3))
    )
    assert np.isfinite(array).all() and array.size


@pytest.mark.parametrize(
    "margin, outside", [(0.25, [False] * 3), (0.1, [False] * 3), (-0.1, [True, True, False])]
)
def test_a_crop_holds_the_landmarks_or_cuts_the_outer_ones_off(margin, outside, oblique_affine, points):
    array, affine = changed("tight crop", margin, np.zeros(SHAPE), oblique_affine, points)
    assert array.size < np.prod(SHAPE) / 5
    assert (voxels_outside(world_to_voxel(points[:3], affine), array.shape) > 0).tolist() == outside


def test_a_crop_around_one_landmark_is_an_image(oblique_affine, points):
    array, affine = changed("tight crop", -0.1, np.zeros(SHAPE), oblique_affine, points[:1])
    assert array.size and voxels_outside(world_to_voxel(points[:1], affine), array.shape) == 0


@pytest.mark.parametrize("degrees", [10, 25, 45])
def test_a_turned_grid_is_turned_by_so_much_and_holds_all_of_the_image(degrees, oblique_affine, points):
    array, affine = changed("rotation", degrees, np.zeros(SHAPE), oblique_affine, points)
    turn = affine[:3, :3] @ np.linalg.inv(oblique_affine[:3, :3])
    assert rotation_angle(turn) == pytest.approx(degrees)
    corners = voxel_to_world(np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(SHAPE) - 1), oblique_affine)
    assert voxels_outside(world_to_voxel(corners, affine), array.shape).max() == 0


def test_coarse_voxels_are_as_long_along_each_axis(oblique_affine, points):
    _, affine = changed("coarse voxels", 4, np.zeros(SHAPE), oblique_affine, points)  # from 2 x 3 x 5 mm
    assert np.allclose(voxel_spacing(affine), 4 * 30 ** (1 / 3))
    _, affine = changed("coarse voxels", 1.5, np.zeros(SHAPE), oblique_affine, points)
    assert np.allclose(voxel_spacing(affine), [1.5 * 30 ** (1 / 3)] * 2 + [5])


@pytest.mark.parametrize("factor", [2, 4, 6])
def test_slices_get_thicker_along_one_axis(factor, oblique_affine, points):
    _, affine = changed("thick slices", factor, np.zeros(SHAPE), oblique_affine, points)
    assert sorted(voxel_spacing(affine) / (2, 3, 5)) == pytest.approx([1, 1, factor])


def test_a_gamma_curve_keeps_the_order_of_greys_and_inversion_turns_it(oblique_affine, points):
    greys = np.linspace(0, 1, 27000).reshape(30, 30, 30)
    for name, sign in (("gamma", 1), ("inversion", -1)):
        array, _ = changed(name, BY_NAME[name].severities[-1], greys, oblique_affine, points)
        foreground = array.ravel()[4000:-300]
        assert (np.sign(np.diff(foreground)) == sign).mean() > 0.99
    for name in ("gamma", "inversion", "other contrast"):
        array, _ = changed(name, BY_NAME[name].severities[-1], greys, oblique_affine, points)
        assert array.ravel()[0] == pytest.approx(0, abs=0.01)  # black stays black


def test_a_bias_field_and_noise_are_as_strong_as_they_say(oblique_affine, points):
    flat = np.ones(SHAPE)
    flat[:4] = 0
    array, _ = changed("bias field", 8, flat, oblique_affine, points)
    assert array[:4].max() < 1e-6
    assert 2 < array[4:].max() / array[4:].min() <= 8.001
    array, _ = changed("noise", 0.15, flat, oblique_affine, points)
    assert (array - flat).std() == pytest.approx(0.15, rel=0.02)


@pytest.mark.parametrize("name, severity", [("coarse voxels", 2.5), ("thick slices", 4)])
def test_the_outer_faces_of_a_coarser_grid_stay_where_they_were(name, severity, points):
    array, affine = changed(name, severity, np.zeros((40, 40, 40)), np.eye(4), points)
    assert np.allclose(voxel_to_world(np.full(3, -0.5), affine), -0.5)
    assert np.allclose(voxel_to_world(np.array(array.shape) - 0.5, affine), 39.5)
