# SPDX-License-Identifier: Apache-2.0
"""Random patches: landmarks follow the image, and the draws are what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd, Spacingd
from scipy.spatial.transform import Rotation

from auto3dlandmark.geometry import rotation_angle, voxel_to_world
from auto3dlandmark.transforms import RandPatchLandmarksd, VoxelLandmarksd
from auto3dlandmark.transforms.patch import random_rotation

SHAPE = (60, 48, 40)
POINT = np.array([30.3, 22.7, 17.1])  # voxels


@pytest.fixture
def blob(oblique_affine):
    """An image with a Gaussian blob of 5 mm, the thickness of a slice, around one landmark."""
    spacing = np.linalg.norm(oblique_affine[:3, :3], axis=0)
    grid = np.stack(np.meshgrid(*[np.arange(size) for size in SHAPE], indexing="ij"), axis=-1)
    image = np.exp(-(((grid - POINT) * spacing) ** 2).sum(axis=-1) / (2 * 5.0**2))
    return {
        "image": MetaTensor(
            torch.as_tensor(image[None], dtype=torch.float32), affine=torch.as_tensor(oblique_affine)
        ),
        "landmarks": torch.as_tensor(voxel_to_world(POINT, oblique_affine))[None],
    }


def centre_of_mass(image):
    weights = torch.where(image > 0.02 * image.max(), image, 0)
    axes = [torch.arange(size, dtype=torch.float32) for size in image.shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    return (grid * weights[..., None]).sum(dim=(0, 1, 2)) / weights.sum()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lazy", [False, True])
def test_a_point_follows_the_image_through_random_patches(blob, seed, lazy):
    patch = RandPatchLandmarksd(
        "image",
        (48, 48, 48),
        landmark_prob=1,
        rotation_deg=180,
        scale_range=(0.8, 1.25),
        stretch=0.1,
        shift=3,
    )
    steps = [Orientationd("image", axcodes="RAS", labels=None), Spacingd("image", pixdim=(1, 1, 1)), patch]
    chain = Compose([*steps, VoxelLandmarksd("landmarks")], lazy=lazy).set_random_state(seed)
    result = chain(blob)
    assert result["image"].shape == (1, 48, 48, 48)
    assert (centre_of_mass(result["image"][0].as_tensor()) - result["landmarks_voxel"][0]).norm() < 0.1


def test_the_landmarks_in_millimetres_stay_untouched(blob):
    before = blob["landmarks"].clone()
    result = RandPatchLandmarksd("image", (32, 32, 32)).set_random_state(0)(blob)
    assert torch.equal(result["landmarks"], before)


def test_a_patch_around_a_landmark_holds_it(blob):
    patch = RandPatchLandmarksd("image", (16, 16, 16), landmark_prob=1, shift=2).set_random_state(0)
    for _ in range(20):
        voxel = VoxelLandmarksd("landmarks")(patch(blob))["landmarks_voxel"]
        assert ((voxel > 0) & (voxel < 15)).all()


def test_a_case_without_any_present_landmark_gets_a_patch_too(blob):
    blob["landmarks"] = torch.full((3, 3), torch.nan, dtype=torch.float64)
    result = VoxelLandmarksd("landmarks")(RandPatchLandmarksd("image", (16, 16, 16), landmark_prob=1)(blob))
    assert result["image"].shape == (1, 16, 16, 16)
    assert result["landmarks_voxel"].isnan().all()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("padding_mode, outside", [("zeros", 0), ("border", 5)])
def test_around_an_image_smaller_than_the_patch_lies_the_padding(lazy, padding_mode, outside):
    image = MetaTensor(torch.full((1, 8, 8, 8), 5.0), affine=torch.eye(4))
    still = RandPatchLandmarksd(
        "image", (16, 16, 16), rotation_prob=0, scale_prob=0, shift=0, padding_mode=padding_mode
    )
    patch = Compose([still], lazy=lazy)({"image": image})["image"]
    assert patch[0, 0, 0, 0] == outside
    assert patch[0, 4:12, 4:12, 4:12].min() == pytest.approx(5, abs=1e-4)


def test_the_same_seed_draws_the_same_patch(blob):
    first, second = (
        RandPatchLandmarksd("image", (24, 24, 24)).set_random_state(3)(blob)["image"] for _ in range(2)
    )
    assert torch.equal(first, second)


def test_rotations_stay_within_the_limit_and_are_proper():
    state = np.random.RandomState(0)
    for _ in range(100):
        rotation = random_rotation(25, state)
        assert rotation_angle(rotation) <= 25.001
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1)


def test_unlimited_rotations_are_uniform():
    state = np.random.RandomState(0)
    # The mean of a uniform random rotation matrix is zero, and half of all angles lie above 132 degrees.
    rotations = [random_rotation(180, state) for _ in range(3000)]
    assert np.abs(np.mean(rotations, axis=0)).max() < 0.05
    assert np.median([rotation_angle(rotation) for rotation in rotations]) == pytest.approx(132, abs=3)


def drawn(transform, blob, count=600):
    """Turns and scales of many patches: their axes in voxels of the image."""
    transform.set_random_state(seed=3)
    inverse = np.linalg.inv(blob["image"].affine.numpy())
    return [inverse[:3, :3] @ transform(blob)["image"].affine.numpy()[:3, :3] for _ in range(count)]


@pytest.fixture
def cubes():
    """An empty image of 1 mm voxels."""
    return {
        "image": MetaTensor(torch.zeros(1, 24, 24, 24), affine=torch.eye(4)),
        "landmarks": torch.full((1, 3), 12.0),
    }


def test_nnunets_angles_are_drawn_about_each_axis(cubes):
    patch = RandPatchLandmarksd(
        "image", (4, 4, 4), rotation_deg=30, rotation_prob=0.2, euler=True, scale_prob=0
    )
    turns = drawn(patch, cubes)
    turned = [turn for turn in turns if not np.array_equal(turn, np.eye(3))]
    assert len(turned) / len(turns) == pytest.approx(0.2, abs=0.06)
    angles = np.array([Rotation.from_matrix(turn).as_euler("xyz", degrees=True) for turn in turned])
    assert np.abs(angles).max() <= 30.001 and np.abs(angles).max(axis=0).min() > 25
    assert np.abs(angles.mean(axis=0)).max() < 5 and angles.std(axis=0) == pytest.approx(60 / 12**0.5, abs=3)


def test_nnunets_scales_are_uniform_and_the_same_along_each_axis(cubes):
    patch = RandPatchLandmarksd("image", (4, 4, 4), rotation_prob=0, scale_range=(0.7, 1.4), scale_prob=0.2)
    scales = np.array([np.diag(axes) for axes in drawn(patch, cubes, 1500)])
    assert np.allclose(scales, scales[:, :1])
    scaled = scales[scales[:, 0] != 1, 0]
    assert len(scaled) / len(scales) == pytest.approx(0.2, abs=0.04)
    assert 0.7 <= scaled.min() < 0.72 and 1.38 < scaled.max() <= 1.4
    assert scaled.mean() == pytest.approx(1.05, abs=0.04)


@pytest.mark.parametrize("thick", range(3))
def test_thick_slices_are_turned_and_scaled_only_within_themselves(cubes, thick):
    patch = RandPatchLandmarksd("image", (4, 4, 4), scale_range=(0.7, 1.4), thick_axis=thick)
    across = np.eye(3)[thick]
    turns = drawn(patch, cubes, 100)
    assert all(np.allclose(axes[:, thick], across) and np.allclose(axes[thick], across) for axes in turns)
    lengths = np.array([np.linalg.norm(axes, axis=0) for axes in turns])
    others = [axis for axis in range(3) if axis != thick]
    angles = [np.degrees(np.arctan2(*axes[others, others[0]][::-1])) for axes in turns]
    assert (
        min(angles) < -120 and max(angles) > 120 and np.allclose(lengths[:, others[0]], lengths[:, others[1]])
    )


def test_a_centred_patch_moves_by_its_shift_and_jumps_to_either_side(blob):
    jump = np.array([0.0, 3.0, 20.0])
    patch = RandPatchLandmarksd(
        "image", (8, 8, 8), landmark_prob=0, rotation_prob=0, shift=1, centred=True, jump=jump, jump_prob=0.5
    )
    patch.set_random_state(0)
    image = blob["image"]
    middle = (np.array(image.shape[1:]) - 1) / 2
    offsets = []
    for _ in range(200):
        affine = np.asarray(patch(blob)["image"].affine)
        centre = np.linalg.solve(np.asarray(image.affine), affine @ [3.5, 3.5, 3.5, 1])[:3]
        offsets.append(centre - middle)
    sides = np.round(np.array(offsets)[:, 2] / jump[2])
    assert np.abs(np.array(offsets) - sides[:, None] * jump).max() <= 1.5  # and half a voxel of rounding
    assert {side: 30 < (sides == side).sum() < 130 for side in (-1, 0, 1)} == dict.fromkeys((-1, 0, 1), True)


def test_a_jump_turns_the_patch_and_the_one_to_the_other_side_undoes_it(blob):
    jump, turn = np.array([1.0, 3.0, 20.0]), np.array([10.0, 0.0, 3.0])
    patch = RandPatchLandmarksd(
        "image",
        (8, 8, 8),
        landmark_prob=0,
        rotation_prob=0,
        scale_prob=0,
        shift=0,
        centred=True,
        jump=jump,
        jump_turn_deg=turn,
        jump_prob=1,
    )
    own = np.asarray(blob["image"].affine)
    spacing = np.linalg.norm(own[:3, :3], axis=0)
    centre = np.eye(4)
    centre[:3, 3] = (np.array(blob["image"].shape[1:]) - 1) / 2
    millimetres = own @ centre @ np.diag([*(1 / spacing), 1])  # from the image's middle, along its axes
    half = np.eye(4)
    half[:3, 3] = -3.5
    expected = np.eye(4)
    expected[:3, :3] = Rotation.from_rotvec(turn, degrees=True).as_matrix()
    expected[:3, 3] = jump * spacing
    found = set()
    for _ in range(20):
        affine = np.asarray(patch(blob)["image"].affine)
        move = np.linalg.inv(millimetres) @ affine @ np.linalg.inv(np.diag([*spacing, 1]) @ half)
        on, back = (np.allclose(move, one, atol=1e-6) for one in (expected, np.linalg.inv(expected)))
        assert on != back
        found.add(on)
    assert found == {True, False}


def test_more_scale_makes_things_smaller(blob):
    def mass(scale):
        patch = RandPatchLandmarksd(
            "image", (48, 48, 48), landmark_prob=1, rotation_prob=0, scale_range=(scale, scale), shift=0
        )
        return patch(blob)["image"].sum()

    assert mass(1.4) < mass(1.0) < mass(0.7)


def test_a_flip_mirrors_the_image_and_exchanges_names():
    """Whatever the channel of "left" says after a flip looks as the left side does."""
    volume = torch.zeros(1, 9, 7, 5)
    volume[0, 1, 3, 2], volume[0, 7, 3, 2], volume[0, 4, 5, 2] = 1.0, 2.0, 3.0
    points = torch.tensor([[1.0, 3, 2], [7, 3, 2], [4, 5, 2], [2, 1, 1]], dtype=torch.float64)
    status = torch.tensor([1, 1, 1, 1])
    still = {"rotation_prob": 0.0, "scale_prob": 0.0, "shift": 0.0, "landmark_prob": 0.0}
    flip = RandPatchLandmarksd("image", (9, 7, 5), flip_prob=1.0, flip_pairs=[[0, 1], [3]], **still)
    given = {"image": MetaTensor(volume, torch.eye(4)), "landmarks": points, "landmarks_status": status}
    seen = flip(given)
    assert float(seen["image"][0, 7, 3, 2]) == pytest.approx(1.0, abs=1e-5)  # mirrored
    assert seen["landmarks"][:3].tolist() == [
        [7, 3, 2],
        [1, 3, 2],
        [4, 5, 2],
    ]  # in the world, under other names
    assert seen["landmarks_status"].tolist() == [1, 1, 1, 0] and torch.isnan(seen["landmarks"][3]).all()
    voxels = torch.linalg.inv(seen["image"].affine) @ torch.tensor([7.0, 3, 2, 1], dtype=torch.float64)
    assert voxels[:3].round().tolist() == [1, 3, 2]  # "left" lies where it did, and there the image is 2.0
    assert float(seen["image"][0, 1, 3, 2]) == pytest.approx(2.0, abs=1e-5)
    assert points[0].tolist() == [1, 3, 2] and status.tolist() == [1, 1, 1, 1]  # what was given is unchanged


def test_without_pairs_nothing_is_flipped():
    volume = torch.rand(1, 5, 5, 5)
    still = {"rotation_prob": 0.0, "scale_prob": 0.0, "shift": 0.0, "landmark_prob": 0.0}
    plain = RandPatchLandmarksd("image", (5, 5, 5), flip_prob=1.0, **still)
    assert torch.equal(plain({"image": MetaTensor(volume, torch.eye(4))})["image"].as_tensor(), volume)
