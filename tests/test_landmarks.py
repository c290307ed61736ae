# SPDX-License-Identifier: Apache-2.0
"""The landmarks of one case."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from auto3dlandmark import LandmarkError, LandmarkSet
from auto3dlandmark.landmarks import ABSENT, PRESENT, STATUSES, UNKNOWN, left_right_pairs

NAN = [np.nan] * 3


def test_without_a_status_a_point_is_present_and_nan_is_unknown():
    landmarks = LandmarkSet(("a", "b"), np.array([[0.0, 0, 0], NAN]))
    assert landmarks.status.tolist() == [PRESENT, UNKNOWN]
    assert np.isnan(landmarks.scores).all()


def test_present_marks_the_landmarks_that_have_a_point(four_points):
    assert four_points.present.tolist() == [True, True, False, False]
    assert len(four_points) == 4


def test_a_status_is_named_by_its_number():
    assert [STATUSES[status] for status in (UNKNOWN, PRESENT, ABSENT)] == ["unknown", "present", "absent"]


def test_names_keep_their_case_dots_spaces_and_order():
    names = ("b.B", "B.b", "a b", " a b", "左耳")
    assert LandmarkSet(names, np.zeros((5, 3))).names == names


def test_points_and_status_cannot_be_changed(four_points):
    for array in (four_points.points, four_points.status, four_points.scores):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_set_does_not_follow_the_array_it_was_made_from():
    points = np.zeros((1, 3))
    landmarks = LandmarkSet(("a",), points)
    points[0] = 9
    assert landmarks.points.tolist() == [[0, 0, 0]]


def test_a_set_may_be_empty():
    assert len(LandmarkSet((), np.zeros((0, 3)))) == 0


def test_a_repeated_name_is_refused():
    with pytest.raises(LandmarkError, match="'a' is used more than once"):
        LandmarkSet(("a", "b", "a"), np.zeros((3, 3)))


def test_names_that_differ_only_in_case_are_two_landmarks():
    assert len(LandmarkSet(("M1", "m1"), np.zeros((2, 3)))) == 2


@pytest.mark.parametrize("shape", [(3, 3), (1, 3), (0, 3)])
def test_a_number_of_points_other_than_of_names_is_refused(shape):
    with pytest.raises(LandmarkError, match="2 names"):
        LandmarkSet(("a", "b"), np.zeros(shape))


@pytest.mark.parametrize("shape", [(3, 4), (2, 6), (4, 2)])
def test_points_that_are_not_one_row_each_are_refused(shape):
    with pytest.raises(LandmarkError):
        LandmarkSet(("a", "b", "c", "d"), np.arange(np.prod(shape), dtype=float).reshape(shape))


@pytest.mark.parametrize("point", [(1, np.nan, 3), (np.inf, 0, 0), (np.nan, np.nan, 0), (-np.inf,) * 3])
def test_half_a_position_or_an_infinite_one_is_refused(point):
    with pytest.raises(LandmarkError, match="'nose' has the position"):
        LandmarkSet(("nose",), np.array([point]))


@pytest.mark.parametrize("status", [UNKNOWN, ABSENT])
def test_a_point_that_is_not_present_is_refused(status):
    with pytest.raises(LandmarkError, match=f"'nose' has a position but is {STATUSES[status]}"):
        LandmarkSet(("nose",), np.zeros((1, 3)), np.array([status]))


def test_a_present_landmark_without_a_point_is_refused():
    with pytest.raises(LandmarkError, match="'nose' has no position but is present"):
        LandmarkSet(("nose",), np.array([NAN]), np.array([PRESENT]))


@pytest.mark.parametrize("status", [[3], [-1], [1, 1], []])
def test_a_status_that_does_not_exist_is_refused(status):
    with pytest.raises(LandmarkError, match="status must be one of"):
        LandmarkSet(("nose",), np.zeros((1, 3)), np.array(status, dtype=int))


def test_scores_of_another_length_are_refused():
    with pytest.raises(LandmarkError, match="scores of shape"):
        LandmarkSet(("nose",), np.zeros((1, 3)), scores=np.array([0.5, 0.5]))


def test_select_reorders_and_keeps_what_is_known(four_points, assert_same):
    picked = four_points.select(["tooth.36", "nose"])
    assert_same(
        picked, LandmarkSet(("tooth.36", "nose"), np.array([NAN, [1, 2, 3]]), np.array([ABSENT, PRESENT]))
    )


def test_select_keeps_scores():
    landmarks = LandmarkSet(("a", "b"), np.zeros((2, 3)), scores=np.array([0.25, 0.75]))
    assert landmarks.select(["b"]).scores.tolist() == [0.75]


def test_select_of_a_name_that_is_not_there_is_unknown(four_points):
    picked = four_points.select(iter(["Nose", "nose"]))
    assert picked.names == ("Nose", "nose")
    assert picked.status.tolist() == [UNKNOWN, PRESENT]


def test_select_of_all_names_changes_nothing(four_points, assert_same):
    assert_same(four_points.select(four_points.names), four_points)


def test_a_landmark_error_is_a_value_error():
    assert issubclass(LandmarkError, ValueError)


@pytest.mark.parametrize(
    "left, right",
    [
        ("left_eye", "right_eye"),
        ("Left eye", "Right eye"),
        ("eye LEFT", "eye RIGHT"),
        ("L_ear", "R_ear"),
        ("ear-l", "ear-r"),
        ("LeftEye", "RightEye"),
        ("eyeLeft", "eyeRight"),
        ("LH 2", "RH 2"),
    ],
)
def test_mirror_images_are_found_by_their_names(left, right):
    assert left_right_pairs(["AC", right, left]) == [[2, 1]]


def test_no_pair_is_made_up():
    assert (
        left_right_pairs(["left_eye", "right_ear", "leftover", "rightover", "LIGO", "RIGO", "apex", "1", "2"])
        == []
    )


@pytest.mark.parametrize("name", ["a\nb", "a\r", "\t", "a\x00", "\x7f"])
def test_a_name_stays_in_one_line(name):
    with pytest.raises(LandmarkError, match="line break or control character"):
        LandmarkSet(["b", name], np.zeros((2, 3)))


def test_a_set_behaves_as_a_collection_of_named_points(four_points):
    assert len(four_points) == 4 and "nose" in four_points and "Nose" not in four_points
    np.testing.assert_array_equal(four_points["left ear"], [-40.5, 0.0, 12.25])
    assert np.isnan(four_points["tooth.36"]).all()
    with pytest.raises(KeyError, match="no landmark 'mouth'"):
        four_points["mouth"]
    assert repr(four_points) == "LandmarkSet(4 landmarks: 1 unknown, 2 present, 1 absent)"


def test_a_set_becomes_a_table(four_points, monkeypatch):
    """With a stand-in for pandas, which is not needed otherwise."""
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=dict))
    table = four_points.to_frame()
    known = ["probability", "radius95_mm", "peak_x_mm", "peak_y_mm", "peak_z_mm", "moved_mm", "score", "note"]
    assert list(table) == ["landmark", "status", "x_mm", "y_mm", "z_mm", *known]
    assert table["status"] == ["present", "present", "absent", "unknown"]
    assert table["y_mm"][:2].tolist() == [2.0, 0.0]
