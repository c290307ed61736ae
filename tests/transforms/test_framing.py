# SPDX-License-Identifier: Apache-2.0
"""An image in the frame of a shape shows the same millimetres at the same places."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.spatial.transform import Rotation

from auto3dlandmark import LandmarkError
from auto3dlandmark.frames.shape_frame import frame_around
from auto3dlandmark.geometry import voxel_to_world
from auto3dlandmark.shapes.model import fit_shape
from auto3dlandmark.shapes.peaks import Peaks
from auto3dlandmark.transforms import FrameByShaped, HeatmapToLandmarksd, VoxelLandmarksd
from auto3dlandmark.transforms.framing import field_of

POINTS = np.array([[0, 0, 0], [12, 0, 0], [0, 8, 0], [0, 0, 6], [5, 5, 5.0]])


class Found:
    """A first network that always finds the same."""

    def __init__(self, points):
        self.points, self.asked = points, []

    def views(self, image, alone=None):
        self.asked.append((image, alone))
        masses = np.ones((len(self.points), 1))
        return [Peaks(self.points[:, None], masses, masses, np.eye(4), (9, 9, 9))] * 2


@pytest.fixture
def frame(tmp_path):
    model = fit_shape(np.stack([POINTS, POINTS]), list("abcde"))
    frame_around(model, (1, 1, 1), (20, 16, 14), noise_mm=0.3).write(tmp_path / "frame.json")
    return tmp_path / "frame.json"


@pytest.fixture
def oblique():
    """Where the points lie in a turned image, and the image: each voxel says its own z in millimetres."""
    turn = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.8, 0.8, 1.2])
    affine[:3, 3] = [-30, 12, 40]
    shape = (60, 60, 50)
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = voxel_to_world(voxels.reshape(-1, 3), affine).reshape(*shape, 3)
    middle = voxel_to_world(np.array([[30.0, 30, 25]]), affine)[0]
    image = MetaTensor(
        torch.as_tensor(world[None, ..., 2]).float(),
        affine=torch.as_tensor(affine),
        meta={"filename_or_obj": "case.nii"},
    )
    return image, (POINTS - POINTS.mean(axis=0)) @ turn.T + middle


@pytest.mark.parametrize("room", [0, 3, [1, 0, 7]])
def test_grey_values_stay_at_their_millimetres(frame, oblique, room):
    image, points = oblique
    data = {"image": image, "landmarks": torch.as_tensor(points)}
    framed = VoxelLandmarksd()(FrameByShaped("image", frame, room=room)(data))
    assert framed["image"].shape == (1, *np.array([20, 16, 14]) + 2 * np.array(room))
    for place, point in zip(framed["landmarks_voxel"].numpy(), points):
        low = np.floor(place).astype(int)
        cube = framed["image"][0, low[0] : low[0] + 2, low[1] : low[1] + 2, low[2] : low[2] + 2]
        assert float(cube.min()) - 0.1 <= point[2] <= float(cube.max()) + 0.1


def test_found_and_true_points_give_the_same_grid(frame, oblique):
    image, points = oblique
    finder = Found(points)
    by_truth = FrameByShaped("image", frame)({"image": image, "landmarks": torch.as_tensor(points)})
    by_finder = FrameByShaped("image", frame, finder)({"image": image})
    assert torch.allclose(by_truth["image"].affine, by_finder["image"].affine, atol=1e-4)
    assert finder.asked == [("case.nii", None)]


def test_the_field_that_was_searched_is_that_of_the_whole_image(frame, oblique):
    image, points = oblique
    framed = FrameByShaped("image", frame, Found(points))({"image": image})["image"]
    affine, shape = field_of(framed)
    assert shape == (60, 60, 50) and np.allclose(affine, image.affine)
    assert field_of(image)[1] == (60, 60, 50)


def test_how_far_views_of_a_first_network_disagree_is_told(frame, oblique):
    image, points = oblique
    finder = Found(points)
    here, agreed = finder.views("case.nii")
    away = Found(points + (0, 0, 30)).views("case.nii")[0]
    for views, doubt in (([here, agreed], 0.0), ([here] * 5 + [away] * 2, 2 / 7 / 0.3)):
        finder.views = lambda image, alone=None, views=views: views
        meta = FrameByShaped("image", frame, finder)({"image": image})["image"].meta
        assert meta["signs"]["doubt"] == pytest.approx(doubt) and "elsewhere_mm" not in meta
        assert np.isfinite(meta["signs"]["coarse_misfit"])
    finder.views = lambda image, alone=None: [here] * 4 + [away] * 2
    framed = FrameByShaped("image", frame, finder)({"image": image})["image"]
    decode = HeatmapToLandmarksd("pred", ref_key="image")
    peaks = decode({"pred": torch.zeros(5, *framed.shape[1:]), "image": framed})["pred_peaks"]
    assert peaks.signs["doubt"] == pytest.approx(2 / 6 / 0.3) and "sharpness_either_way" in peaks.signs
    assert np.allclose(peaks.elsewhere_mm, 30, atol=0.1)


def test_a_given_pose_is_taken_as_it_is(frame, oblique):
    step = FrameByShaped("image", frame)
    pose = np.eye(4)
    framed = step({"image": oblique[0], "pose": pose})["image"]
    assert np.allclose(framed.affine, step.frame.grid(pose)[0])


def test_without_points_and_without_a_first_network_it_stops(frame, oblique):
    with pytest.raises(LandmarkError, match=r"case\.nii.*coarse stage"):
        FrameByShaped("image", frame)({"image": oblique[0]})


def test_a_frame_outside_the_image_shows_its_border(frame, oblique):
    image, points = oblique
    framed = FrameByShaped("image", frame, Found(points + 500))({"image": image})["image"]
    assert bool(torch.isfinite(framed).all())
