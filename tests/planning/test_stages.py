# SPDX-License-Identifier: Apache-2.0
"""One stage where one is enough; two where poses vary or landmarks take a small part of large images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from auto3dlandmark import LandmarkError
from auto3dlandmark.frames.shape_frame import ShapeFrame
from auto3dlandmark.geometry import voxel_to_world, world_to_voxel
from auto3dlandmark.planning.fingerprint import Fingerprint
from auto3dlandmark.planning.plan import read_plan, write_plan
from auto3dlandmark.planning.stages import frame_of, plan_stages, room_around
from auto3dlandmark.shapes.model import ShapeModel, fit_shape

STATISTICS = {"mean": 0.0, "std": 1.0, "percentile_00_5": -2.0, "percentile_99_5": 2.0}


def fingerprint(shape, spacing=(1.0, 1.0, 1.0), extent=(40.0, 30.0, 20.0), landmarks=6, angle=10.0):
    random = np.random.default_rng(0)
    mean = random.uniform(-0.5, 0.5, size=(landmarks, 3)) * extent
    names = tuple("abcdefghij"[:landmarks])
    model = fit_shape(np.stack([mean + random.normal(size=mean.shape) for _ in range(6)]), names)
    return Fingerprint(
        modalities=("MRI",),
        landmark_names=names,
        cases=tuple("uvwxyz"),
        shapes=(shape,) * 6,
        shapes_after_crop=(shape,) * 6,
        spacings=(spacing,) * 6,
        median_relative_size_after_crop=1.0,
        intensity=(STATISTICS,),
        presence={name: {"present": 6, "absent": 0, "unknown": 0} for name in names},
        nearest_landmark_mm=dict.fromkeys(names, 10.0),
        pose_angles_deg={"median": angle / 2, "p95": angle, "max": angle},
        shape=model.to_json(),
    )


def test_images_that_lie_alike_and_are_filled_by_their_landmarks_need_one_stage():
    plan = plan_stages(fingerprint((48, 40, 32)), "small")
    assert plan.coarse is None and plan.frame is None
    assert "One stage is enough" in plan.notes[0]


@pytest.mark.parametrize(
    "given, why",
    [
        (fingerprint((64, 64, 64), angle=170), "poses vary"),
        (fingerprint((256, 256, 200)), "% of the image"),
    ],
)
@pytest.mark.parametrize("network", ["small", "plain"])
def test_two_stages_say_why(given, why, network):
    plan = plan_stages(given, network)
    assert plan.coarse is not None and "Two stages, because" in plan.notes[0] and why in plan.notes[0]
    assert plan.coarse.network == "folded" and plan.network == network
    # The coarse stage sees the whole image, the fine one is at least as detailed.
    assert np.prod(plan.coarse.patch_size) >= 0.99 * np.prod(np.round(plan.coarse.median_shape))
    assert np.prod(plan.spacing) < np.prod(plan.coarse.spacing)
    assert plan.coarse.rotation_deg >= 30 and plan.rotation_deg < 10  # nothing is told by how an image lies


def test_the_frame_holds_the_landmarks_and_is_a_grid_of_the_plan():
    given = fingerprint((256, 256, 200))
    plan = plan_stages(given, "small")
    model = ShapeModel.from_json(given.shape, "")
    frame = frame_of(plan, model)
    assert frame.shape == tuple(plan.frame["shape"]) and min(plan.frame["room"]) > 0
    assert np.allclose(np.linalg.norm(frame.affine[:3, :3], axis=0), plan.spacing)
    places = np.linalg.solve(frame.affine, np.c_[model.mean, np.ones(len(model.mean))].T)[:3].T
    assert (places > 1).all() and (places < np.array(frame.shape) - 2).all()


def test_voxels_are_longer_along_an_axis_on_which_images_change_little():
    given = fingerprint((512, 512, 400), extent=(120.0, 100.0, 80.0))
    even = plan_stages(given, "small")
    plan = plan_stages(replace(given, gradient=(0.3, 1.0, 0.9)), "small")
    assert plan.spacing[0] > 1.5 * plan.spacing[1] and plan.spacing[1] < even.spacing[1]
    assert plan.spacing[1] <= plan.spacing[2] and np.prod(plan.spacing) < 1.3 * np.prod(even.spacing)
    assert plan.frame["room"][0] < plan.frame["room"][1]  # as many millimetres
    frame = frame_of(plan, ShapeModel.from_json(given.shape, ""))
    assert np.allclose(np.linalg.norm(frame.affine[:3, :3], axis=0), plan.spacing)
    # At full resolution there is nothing to save, and frames that are turned have no axis of the images.
    for full, network in (
        (fingerprint((256, 256, 200)), "plain"),
        (fingerprint((512,) * 3, angle=170), "small"),
    ):
        same = [plan_stages(one, network).spacing for one in (full, replace(full, gradient=(0.3, 1.0, 0.9)))]
        assert same[0] == same[1]


def test_a_chain_is_planned_with_the_way_from_one_level_to_the_next():
    given = fingerprint((256, 256, 200))
    assert "level" not in plan_stages(given, "small").frame
    names = tuple(f"L{level}_{side}" for level in range(1, 6) for side in ("front", "back", "tip"))
    bend = Rotation.from_rotvec([8, 0, 0], degrees=True)  # from each level to the next
    place, turn, mean = np.zeros(3), Rotation.identity(), []
    for _ in range(5):
        mean += [place + turn.apply(corner) for corner in ([0, 12, 0], [0, -12, 0], [3, 0, 9])]
        place, turn = place + turn.apply([0, 0, -30]), bend * turn
    random = np.random.default_rng(0)
    model = fit_shape(np.stack([mean + random.normal(size=(15, 3)) * 0.1 for _ in range(6)]), names)
    plan = plan_stages(replace(given, landmark_names=names, shape=model.to_json()), "small")
    frame = frame_of(plan, model)
    level_mm = frame.affine[:3, :3] @ plan.frame["level"]
    turn_deg = (frame.affine[:3, :3] / plan.spacing) @ plan.frame["level_turn_deg"]
    assert 20 < np.linalg.norm(level_mm) < 40
    assert np.linalg.norm(turn_deg) == pytest.approx(8, abs=0.5)
    room = room_around(plan.frame, plan.spacing)
    straight = room_around({**plan.frame, "level_turn_deg": [0, 0, 0]}, plan.spacing)
    assert (np.array(room) >= straight).all() and max(room) > max(plan.frame["room"])
    # A frame laid by the last four levels, when they are taken for the first four, is this one.
    there = ShapeFrame(model, frame.affine, frame.shape, 1.0).true_pose(
        np.concatenate([model.mean[3:], np.full((3, 3), np.nan)])
    )
    centre = (np.array(frame.shape) - 1) / 2
    moved = world_to_voxel(voxel_to_world(centre, there @ frame.affine), frame.affine) - centre
    assert np.allclose(moved, plan.frame["level"], atol=1)
    assert np.allclose(Rotation.from_matrix(there[:3, :3]).as_rotvec(degrees=True), turn_deg, atol=0.5)


@pytest.mark.parametrize("landmarks, extent", [(3, (40.0, 30.0, 20.0)), (6, (40.0, 0.0, 0.0))])
def test_landmarks_that_do_not_say_how_they_are_turned_get_one_stage(landmarks, extent):
    given = fingerprint((256, 256, 200), extent=extent, landmarks=landmarks)
    if extent[1] == 0:
        flat = ShapeModel.from_json(given.shape, "")
        mean = flat.mean * (1, 0, 0)
        given = fingerprint((256, 256, 200), landmarks=landmarks)
        model = fit_shape(np.stack([mean, mean]), given.landmark_names)
        object.__setattr__(given, "shape", model.to_json())
    assert plan_stages(given, "small").coarse is None
    with pytest.raises(LandmarkError, match="stages=2 cannot be planned"):
        plan_stages(given, "small", stages=2)


def test_what_is_asked_for_is_planned():
    assert plan_stages(fingerprint((64, 64, 64), angle=170), "small", stages=1).coarse is None
    assert plan_stages(fingerprint((48, 40, 32)), "small", stages=2).coarse is not None


def test_a_plan_of_two_stages_survives_its_file(tmp_path):
    plan = plan_stages(fingerprint((256, 256, 200)), "small")
    write_plan(tmp_path / "plan.json", plan)
    assert read_plan(tmp_path / "plan.json") == plan
