# SPDX-License-Identifier: Apache-2.0
"""A pose is found whatever it is, and a second answer is told from none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from auto3dlandmark.geometry import voxel_to_world
from auto3dlandmark.registration.pose_search import Volume, search_pose, super_fibonacci

BLOBS = np.array([[8, 10, 12, 5.0], [-12, 4, -8, 4], [3, -14, 6, 6], [-6, 12, 10, 3], [14, -4, -12, 4]])


def phantom(matrix=None, shape=(44, 48, 52), voxel=1.3):
    """Blobs in world millimetres around (20, -10, 5), moved by a matrix, and some noise."""
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = np.array([20, -10, 5]) - voxel * (np.array(shape) - 1) / 2
    centres = BLOBS[:, :3] + [20, -10, 5]
    if matrix is not None:
        centres = centres @ matrix[:3, :3].T + matrix[:3, 3]
        affine[:3, 3] = centres.mean(axis=0) - voxel * (np.array(shape) - 1) / 2
    world = voxel_to_world(np.moveaxis(np.indices(shape), 0, -1).astype(float), affine)
    values = sum(
        np.exp(-((world - centre) ** 2).sum(axis=-1) / (2 * width**2))
        for centre, width in zip(centres, BLOBS[:, 3])
    )
    values = values + np.random.default_rng(0).normal(0, 0.02, shape)
    return Volume.of(values, affine), centres


@pytest.mark.parametrize("seed", range(3))
def test_any_pose_is_found(seed):
    random = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=seed).as_matrix() * random.uniform(0.9, 1.1)
    matrix[:3, 3] = random.uniform(-200, 200, 3)
    fixed, centres = phantom()
    moving, wanted = phantom(matrix)
    pose = search_pose(fixed, moving)
    found = centres @ pose.matrix[:3, :3].T + pose.matrix[:3, 3]
    assert np.linalg.norm(found - wanted, axis=1).max() < 3 and pose.correlation > 0.8
    linear = pose.matrix[:3, :3]
    np.testing.assert_allclose(linear @ linear.T, np.eye(3) * np.linalg.det(linear) ** (2 / 3), atol=1e-6)


def test_images_that_lie_alike_are_not_turned():
    fixed, centres = phantom()
    pose = search_pose(fixed, phantom(shape=(40, 50, 46))[0])
    assert np.linalg.norm(centres @ pose.matrix[:3, :3].T + pose.matrix[:3, 3] - centres, axis=1).max() < 1
    assert pose.margin > 0.1


def test_where_two_places_look_the_same_the_margin_is_small():
    """A ladder, of which a piece is shown: one rung up or down looks nearly as well."""
    rungs = np.zeros((24, 24, 96))
    for middle in range(8, 96, 16):
        rungs[6:18, 6:18, middle - 3 : middle + 3] = 1
    noise = np.random.default_rng(0).normal(0, 0.02, rungs.shape)
    whole, piece = Volume.of(rungs + noise, np.eye(4)), Volume.of((rungs + noise)[..., 16:64], np.eye(4))
    assert search_pose(piece, whole).margin < 0.06


def test_rotations_are_spread_evenly():
    rotations = Rotation.from_quat(super_fibonacci(3000))
    for seed in range(20):
        nearest = (rotations * Rotation.random(random_state=seed).inv()).magnitude().min()
        assert np.degrees(nearest) < 18


def test_a_coarser_volume_shows_the_same_at_the_same_place():
    fixed, centres = phantom()
    coarse = fixed.coarser(24)
    assert max(coarse.values.shape) <= 25
    np.testing.assert_allclose(coarse.at(centres), fixed.at(centres), atol=0.2)
    np.testing.assert_allclose(coarse.centre(), fixed.centre(), atol=0.5)
