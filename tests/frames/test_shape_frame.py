# SPDX-License-Identifier: Apache-2.0
"""A frame lies where the shape lies, in any pose, and says when a chain of landmarks may be one level off."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from auto3dlandmark import LandmarkError
from auto3dlandmark.frames.shape_frame import ShapeFrame, box_around, flatness, frame_around
from auto3dlandmark.geometry import rigid, voxel_to_world, world_to_voxel
from auto3dlandmark.shapes.model import fit_shape
from auto3dlandmark.shapes.peaks import Peaks, merged


def names_of(count):
    return [f"landmark {chr(97 + row)}" for row in range(count)]


@pytest.fixture
def shapes():
    """Twenty cases of eight points: 40 x 20 x 10 mm, each a millimetre off, in any pose."""
    random = np.random.default_rng(0)
    mean = random.uniform(-0.5, 0.5, size=(8, 3)) * (40, 20, 10)
    turns = Rotation.random(20, random_state=1).as_matrix()
    shifts = random.uniform(-50, 50, size=(20, 1, 3))
    return (mean + random.normal(size=(20, 8, 3)) * 0.5) @ np.swapaxes(turns, 1, 2) + shifts


@pytest.fixture
def frame(shapes):
    model = fit_shape(shapes, names_of(8))
    _, _, size = box_around(model)
    return frame_around(model, (1, 1, 1), np.ceil(size), noise_mm=0.5)


def found(points, mass=0.9):
    masses = np.full((len(points), 1), mass)
    return Peaks(points[:, None], masses, np.ones_like(masses), rigid(np.eye(3), [-200] * 3), (400, 400, 400))


def test_every_case_lies_inside_its_frame_at_the_same_place(frame, shapes):
    places = []
    for points in shapes:
        affine, shape = frame.grid(frame.true_pose(points))
        places.append(world_to_voxel(points, affine))
        assert (places[-1] > 0).all() and (places[-1] < np.array(shape) - 1).all()
    assert np.std(places, axis=0).max() < 1.0  # as far as the cases differ


def test_the_frame_follows_a_case_that_is_turned_and_moved(frame, shapes):
    motion = rigid(Rotation.from_rotvec([1, 2, 0.5]).as_matrix(), np.array([5.0, -7, 11]))
    before, after = frame.true_pose(shapes[0]), frame.true_pose(voxel_to_world(shapes[0], motion))
    assert np.allclose(motion @ before, after, atol=1e-3)


def test_room_is_added_at_every_side_and_moves_nothing(frame, shapes):
    pose = frame.true_pose(shapes[0])
    (plain, shape), (wide, wider) = frame.grid(pose), frame.grid(pose, room=(3, 3, 5))
    assert wider == (shape[0] + 6, shape[1] + 6, shape[2] + 10)
    assert np.allclose(
        voxel_to_world(np.zeros((1, 3)), plain), voxel_to_world(np.array([[3.0, 3.0, 5.0]]), wide)
    )


def test_found_points_give_the_pose_of_the_true_ones_and_a_wrong_peak_does_not_turn_it(frame, shapes):
    points = shapes[3].copy()
    truth = frame.true_pose(points)
    assert np.allclose(frame.pose(found(points)), truth, atol=1e-6)
    points[2] += 30
    moved = np.linalg.inv(truth) @ frame.pose(found(points))
    assert np.abs(moved[:3, 3]).max() < 1.0 and np.trace(moved[:3, :3]) > 2.99


def test_absent_landmarks_are_filled_in_by_the_others(frame, shapes):
    points = shapes[5].copy()
    points[:3] = np.nan
    moved = np.linalg.inv(frame.true_pose(shapes[5])) @ frame.true_pose(points)
    assert np.abs(moved[:3, 3]).max() < 2.0


def test_axes_follow_the_extents_and_stay_close_to_the_anatomical_ones():
    mean = np.array([[-4, 0, 0], [4, 0, 0], [0, -2, 0], [0, 2, 0], [0, 0, -20], [0, 0, 20.0]])
    axes, centre, size = box_around(fit_shape(np.stack([mean, mean]), names_of(6)))
    assert np.allclose(axes, np.eye(3), atol=1e-6) and np.allclose(centre, 0, atol=1e-6)
    assert size[2] > size[0] > size[1]
    assert np.linalg.det(axes) == pytest.approx(1)


def test_points_on_a_line_are_flat():
    line = np.outer(np.arange(5.0), (1, 2, 3))
    assert flatness(fit_shape(np.stack([line, line]), names_of(5))) < 1e-3


def test_a_chain_that_may_be_one_level_off_gives_several_poses(chain_frame):
    frame, chain = chain_frame
    whole, cut = found(chain), found(chain)
    assert len(frame.poses(whole)) == 1  # its ends say which level is which
    cut.masses[[0, 1, 2, 12, 13, 14]] = 0
    poses = frame.poses(cut)
    shifts = [abs(float((np.linalg.inv(poses[0]) @ pose)[2, 3])) for pose in poses]
    assert any(shift == pytest.approx(30, abs=3) for shift in shifts)
    assert len(poses) >= 2


def test_a_level_off_each_level_lies_where_the_next_one_did(chain_frame, frame, shapes):
    chained, chain = chain_frame
    pose = chained.true_pose(chain)
    further, back = (voxel_to_world(chain, off @ np.linalg.inv(pose)) for off in chained.a_level_off(pose))
    assert np.abs(further[:12] - chain[3:]).max() < 3 and np.abs(back[3:] - chain[:12]).max() < 3
    assert frame.a_level_off(frame.true_pose(shapes[0])) == []  # no chain


def test_what_lies_outside_the_image_speaks_against_no_pose(frame, shapes):
    points = shapes[0]
    order = np.argsort(points[:, 2])
    masses = np.full((8, 1), 0.9)
    masses[order[-3:]] = 0  # cut off
    affine = np.eye(4)
    affine[:3, 3] = points.min(axis=0) - 40
    height = points[order[-4], 2] - affine[2, 3] + 0.2
    cut, whole = (
        Peaks(points[:, None], masses, np.ones_like(masses), affine, (200, 200, up))
        for up in (int(np.ceil(height)), 200)
    )
    assert frame.misfit(cut) < frame.misfit(whole) - 1  # there they should have been found
    assert frame.misfit(cut) == pytest.approx(frame.misfit(found(points)), abs=1)
    nowhere = Peaks(points[:, None], np.zeros((8, 1)), np.ones_like(masses), np.eye(4) * 1e-3, (1, 1, 1))
    assert frame.misfit(nowhere) == np.inf


def test_what_was_found_must_belong_to_a_landmark_of_a_pose(frame, shapes):
    peaks = found(shapes[0])
    pose = frame.pose(peaks)
    away = dataclasses.replace(peaks, shape=(1, 1, 1))  # all lie outside this image
    assert frame.misfit(away) == pytest.approx(frame.misfit(peaks), abs=1)  # but they were found
    assert frame.apart(frame.pose(away), pose) < 1e-6


def test_a_level_outside_the_image_leaves_no_doubt_about_a_chain(chain_frame):
    frame, chain = chain_frame
    masses = np.full((15, 1), 0.9)
    masses[12:] = 0  # the lowest level was not found
    affine = np.eye(4)
    affine[:3, 3] = (-50, -50, -105)  # it lies below the image
    cut = Peaks(chain[:, None], masses, np.ones_like(masses), affine, (100, 100, 200))
    assert len(frame.poses(cut)) == 1
    affine[2, 3] = -150
    assert len(frame.poses(dataclasses.replace(cut, affine=affine))) > 1  # it should have been found


def test_two_halves_that_disagree_give_two_poses(frame, shapes):
    assert len(frame.poses(found(shapes[0]))) == 1
    points = shapes[0].copy()
    points[::2] += (0, 60, 0)
    assert len(frame.poses(found(points))) >= 2


def test_stages_that_disagree_say_so(frame, shapes):
    agree = frame.signs(found(shapes[0]), found(shapes[0]))
    apart = frame.signs(found(shapes[0]), found(shapes[0] + (0, 8, 0)))
    assert agree["stages_apart_mm"] < 1 and apart["stages_apart_mm"] == pytest.approx(8, abs=1)


def test_several_networks_have_an_equal_say():
    one, other = found(np.zeros((2, 3)), 0.9), found(np.ones((2, 3)), 0.5)
    both = merged([one, other])
    assert both.masses.tolist() == [[0.45, 0.25]] * 2 and both.first.tolist() == [[0, 0, 0]] * 2
    assert merged([one]) is one


def test_it_survives_its_file_and_a_damaged_one_is_refused(frame, shapes, tmp_path):
    path = tmp_path / "frame.json"
    frame.write(path)
    again = ShapeFrame.read(path)
    assert again.is_like(again) and again.shape == frame.shape
    assert np.allclose(again.true_pose(shapes[0]), frame.true_pose(shapes[0]), atol=1e-2)
    path.write_text('{"version": 1, "grid": {}}')
    with pytest.raises(LandmarkError, match=r"frame\.json.*Build the bundle again|frame\.json"):
        ShapeFrame.read(path)
    path.write_text('{"version": 99}')
    with pytest.raises(LandmarkError, match="version 1"):
        ShapeFrame.read(path)
