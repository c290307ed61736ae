# SPDX-License-Identifier: Apache-2.0
"""Points between frames."""

from __future__ import annotations

import numpy as np
import pytest

from auto3dlandmark.geometry import (
    fit_rotation,
    image_axes,
    is_singular,
    lps_to_ras,
    radial_error,
    rotation_angle,
    voxel_spacing,
    voxel_to_world,
    world_to_voxel,
)

QUARTER_TURN_ABOUT_Z = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def turn_about_x(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


@pytest.mark.parametrize(
    "voxel, world",
    [
        ((0, 0, 0), (10, -20, 30)),
        ((1, 0, 0), (11.2, -18.4, 30)),
        ((0, 1, 0), (7.6, -18.2, 30)),
        ((0, 0, 2), (10, -20, 40)),
    ],
)
def test_the_affine_maps_voxels_to_millimetres(oblique_affine, voxel, world):
    np.testing.assert_allclose(voxel_to_world(voxel, oblique_affine), world)


def test_world_to_voxel_is_the_inverse(oblique_affine):
    points = np.random.default_rng(0).uniform(-100, 100, size=(7, 3))
    np.testing.assert_allclose(world_to_voxel(voxel_to_world(points, oblique_affine), oblique_affine), points)


def test_a_whole_batch_of_points_is_mapped_at_once(oblique_affine):
    points = np.zeros((2, 5, 3))
    assert voxel_to_world(points, oblique_affine).shape == (2, 5, 3)


def test_nan_stays_nan_and_touches_no_other_point(oblique_affine):
    points = np.array([[np.nan] * 3, [0, 0, 0]])
    for result in (
        voxel_to_world(points, oblique_affine),
        world_to_voxel(points, oblique_affine),
        lps_to_ras(points),
    ):
        assert np.isnan(result[0]).all() and np.isfinite(result[1]).all()


def test_whole_number_points_are_not_rounded():
    assert voxel_to_world([1, 1, 1], np.diag([0.5, 0.5, 0.5, 1])).tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("shape", [(3, 3), (3, 4), (4,)])
def test_an_affine_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        voxel_to_world(np.zeros(3), np.ones(shape))


def test_an_affine_that_cannot_be_inverted_is_refused():
    with pytest.raises(ValueError, match="cannot be inverted"):
        world_to_voxel(np.zeros(3), np.diag([1.0, 0, 1, 1]))


def test_lps_to_ras_negates_x_and_y_and_leads_back():
    points = np.array([[1.0, -2.0, 3.0], [0, 4, -5]])
    assert lps_to_ras(points).tolist() == [[-1, 2, 3], [0, -4, -5]]
    np.testing.assert_array_equal(lps_to_ras(lps_to_ras(points)), points)


def test_spacing_is_the_length_of_the_columns(oblique_affine):
    np.testing.assert_allclose(voxel_spacing(oblique_affine), [2, 3, 5])


def test_spacing_of_a_mirrored_image_is_positive():
    assert voxel_spacing(np.diag([-1.0, -2, 3, 1])).tolist() == [1, 2, 3]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_no_unit_of_length_makes_an_affine_singular(oblique_affine, scale):
    assert not is_singular(np.diag([scale, scale, scale, 1]) @ oblique_affine)


def test_a_mirrored_affine_is_not_singular():
    assert not is_singular(np.diag([-1.0, 1, 1, 1]))


@pytest.mark.parametrize(
    "affine",
    [
        np.zeros((4, 4)),
        np.diag([1.0, 1, 0, 1]),
        np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),  # i and j point the same way
        np.diag([np.nan, 1, 1, 1]),
        np.diag([np.inf, 1, 1, 1]),
        np.eye(3),
    ],
)
def test_a_flat_or_broken_affine_is_singular(affine):
    assert is_singular(affine)


@pytest.mark.parametrize("shift_mm, error_mm", [((3, 4, 0), 5), ((1, 2, 2), 3), ((0, 0, 0), 0)])
def test_radial_error_is_the_distance(shift_mm, error_mm):
    reference = np.array([[10.0, 20, 30]])
    assert radial_error(reference + np.array(shift_mm), reference) == pytest.approx([error_mm])


def test_radial_error_is_nan_where_either_point_is():
    known, unknown = np.zeros((1, 3)), np.full((1, 3), np.nan)
    assert np.isnan(radial_error(known, unknown)).all() and np.isnan(radial_error(unknown, known)).all()


def test_fit_rotation_finds_the_rotation_between_moved_clouds():
    points = np.random.default_rng(1).normal(size=(6, 3))
    turned = points @ QUARTER_TURN_ABOUT_Z.T + [5, 6, 7]
    np.testing.assert_allclose(fit_rotation(points, turned), QUARTER_TURN_ABOUT_Z, atol=1e-12)


def test_fit_rotation_of_a_mirrored_cloud_is_still_a_rotation():
    points = np.random.default_rng(2).normal(size=(6, 3))
    rotation = fit_rotation(points, points * [-1, 1, 1])
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def test_fit_rotation_of_three_points_in_a_plane():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]])
    np.testing.assert_allclose(
        fit_rotation(points, points @ turn_about_x(40).T), turn_about_x(40), atol=1e-12
    )


@pytest.mark.parametrize("degrees", [0, 30, 90, 180])
def test_the_angle_of_a_rotation(degrees):
    assert rotation_angle(turn_about_x(degrees)) == pytest.approx(degrees, abs=1e-5)
    assert rotation_angle(turn_about_x(-degrees)) == pytest.approx(degrees, abs=1e-5)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, -1)])
def test_the_axes_of_an_image_are_the_same_in_any_order_of_its_voxels(order, signs):
    turn = turn_about_x(20)
    affine = np.eye(4)
    affine[:3, :3] = (turn @ np.diag([1.0, 2, 3]))[:, order] * signs
    np.testing.assert_allclose(image_axes(affine), turn, atol=1e-12)


def test_the_axes_of_a_sheared_image_are_perpendicular():
    affine = np.eye(4)
    affine[0, 1] = 0.2
    axes = image_axes(affine)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    assert rotation_angle(axes) < 10
