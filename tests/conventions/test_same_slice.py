# SPDX-License-Identifier: Apache-2.0
"""Points that people place in one slice are found to be so, and laid into one; others are left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from auto3dlandmark import LandmarkError
from auto3dlandmark.conventions.same_slice import SameSlice, find_same_slice

NAMES = ["top", "front", "back", "beside", "far"]


def image(number, oblique=False):
    """An affine: voxels of 1 x 2 x 3 mm in another storage order for each image."""
    random = np.random.default_rng(number)
    turn = Rotation.from_rotvec(random.normal(size=3) * 0.2).as_matrix() if oblique else np.eye(3)
    stored = np.eye(3)[:, random.permutation(3)] * random.choice([-1, 1], size=3)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 2, 3]) @ stored
    affine[:3, 3] = random.uniform(-50, 50, size=3)
    return affine, turn


def cases(count, oblique=False, together=(0, 1, 2)):
    """The first three points share what is left and right in their image, the last two what is up."""
    found = []
    for number in range(count):
        affine, turn = image(number, oblique)
        random = np.random.default_rng(100 + number)
        points = random.uniform(-20, 20, size=(5, 3))
        points[list(together), 0] = points[together[0], 0]
        points[4, 2] = points[3, 2]
        found.append((points @ turn.T, affine))
    return found


@pytest.mark.parametrize("oblique", [False, True])
def test_points_of_one_slice_are_found_along_the_axes_of_their_images(oblique):
    same = find_same_slice(cases(8, oblique))
    assert same.to_json(NAMES) == {
        "left to right": [["top", "front", "back"]],
        "back to front": [],
        "down to up": [["beside", "far"]],
        "usual_mm": None,
    }
    for one in (same, replace(same, usual_mm=0.7)):
        again = SameSlice.from_json(one.to_json(NAMES), NAMES, "")
        assert np.array_equal(again.groups >= 0, one.groups >= 0) and again.usual_mm == one.usual_mm


def test_one_case_that_differs_is_enough_to_see_that_it_is_no_rule():
    found = cases(8)
    found[3][0][1] += (0.5, 0, 0)
    assert find_same_slice(found).to_json(NAMES)["left to right"] == [["top", "back"]]
    assert find_same_slice(cases(4)) is None  # too few to tell from chance


def test_a_point_that_is_missing_says_nothing():
    found = cases(12)
    for number in range(6):
        found[number][0][1] = np.nan
    assert find_same_slice(found).to_json(NAMES)["left to right"] == [["top", "front", "back"]]
    for number in range(6, 9):
        found[number][0][1] = np.nan  # together with others in three cases only
    assert find_same_slice(found).to_json(NAMES)["left to right"] == [["top", "back"]]


def test_no_more_images_are_read_than_it_takes_to_see_that_there_is_no_rule():
    def images():
        for number in range(5):
            yield np.random.default_rng(number).uniform(size=(5, 3)) * 40, np.eye(4)
        raise AssertionError("read on")

    assert find_same_slice(images()) is None


@pytest.mark.parametrize("oblique", [False, True])
def test_points_are_moved_along_one_axis_to_where_most_of_them_are(oblique):
    same = find_same_slice(cases(8, oblique))
    (points, affine), (_, turn) = cases(9, oblique)[8], image(8, oblique)
    along = points @ turn
    seen = along.copy()
    seen[:3, 0] += (0.5, -0.4, 9.0)  # a turned set of points, and one that is wrong
    laid = same.laid(seen @ turn.T, np.ones(5), affine) @ turn
    assert np.ptp(laid[:3, 0]) < 1e-9 and abs(laid[0, 0] - along[0, 0]) < 0.5
    assert np.allclose(laid[:, 1:2], seen[:, 1:2]) and np.allclose(laid[3:, 0], seen[3:, 0])
    seen[1] = np.nan
    lost = same.laid(seen @ turn.T, np.array([1.0, 1, 0, 1, 1]), affine) @ turn
    assert np.allclose(lost[[0, 2, 3, 4]], seen[[0, 2, 3, 4]]) and np.isnan(lost[1]).all()


def test_what_is_surer_counts_more():
    same = SameSlice(np.array([[0, 0, -1, -1, -1], [-1] * 5, [-1] * 5]))
    points = np.zeros((5, 3))
    points[1, 0] = 1.0
    sure, even = (same.laid(points, np.array([w, 0.3, 1, 1, 1]), np.eye(4))[0, 0] for w in (0.9, 0.3))
    assert even == pytest.approx(0.5, abs=0.01) and sure < 0.35


def test_an_image_that_lies_askew_has_other_slices():
    same, sure = find_same_slice(cases(8)), np.ones(5)
    tilted = np.array([[0.5], [-0.4], [0.1], [0.3], [-0.3]])
    found = [(points + tilted, sure, affine) for points, affine in cases(12)]
    known = same.seen_in(found[:8])
    assert 0.2 < known.usual_mm < 0.5
    turn = Rotation.from_euler("xyz", [30, 30, 30], degrees=True).as_matrix()
    for points, _, affine in found[8:]:
        assert not known.askew(points, sure, affine)
        turned = affine.copy()
        turned[:3, :3] = turn @ affine[:3, :3]
        assert known.askew(points, sure, turned) and not same.askew(points, sure, turned)
    one_is_wrong = found[8][0] + np.array([9.0, 0, 0]) * (np.arange(5) == 2)[:, None]
    assert not known.askew(one_is_wrong, sure, found[8][2])
    nothing = np.full((5, 3), np.nan)
    assert not known.askew(nothing, np.zeros(5), np.eye(4))


def test_a_damaged_file_is_named():
    with pytest.raises(LandmarkError, match=r"shape\.json: is damaged.*Calibrate the bundle again"):
        SameSlice.from_json({"left to right": [["nobody"]]}, NAMES, "shape.json")
