# SPDX-License-Identifier: Apache-2.0
"""What a dataset looks like, in numbers a reader can check."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark.data.datalist import Case, Datalist
from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.formats import write_landmarks
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN, LandmarkSet
from auto3dlandmark.planning.fingerprint import compute_fingerprint, read_fingerprint, write_fingerprint

NAMES = ("a", "b", "c")
TRIANGLE = np.array([[0.0, 0, 0], [3, 4, 0], [3, 4, 12]])  # sides 5, 12 and 13


def turn_about_z(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def affine_of(axes, origin=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, origin
    return affine


@pytest.fixture
def fingerprint_of(tmp_path):
    """The fingerprint of cases, each a volume, an affine and landmarks."""

    def compute(*cases, names=NAMES, **options):
        listed = []
        for number, (volume, affine, landmarks) in enumerate(cases):
            image, label = tmp_path / f"{number}.nii.gz", tmp_path / f"{number}.mrk.json"
            nib.save(nib.Nifti1Image(np.asarray(volume, dtype=np.float32), affine), image)
            write_landmarks(label, landmarks)
            listed.append(Case(f"case {number}", image, label, 0))
        return compute_fingerprint(Datalist(tmp_path, names, tuple(listed)), progress=False, **options)

    return compute


@pytest.fixture
def volume():
    volume = np.zeros((4, 6, 8))
    volume[1:3, 1:4, 2:6] = 5  # a box of 2 x 3 x 4 voxels, an eighth of the whole
    return volume


def test_shapes_and_spacings_are_in_ras_axes(fingerprint_of, volume):
    slices_first = affine_of([[0, -1, 0], [0, 0, -2], [3, 0, 0]])  # i runs up, j left, k back
    found = fingerprint_of((volume, slices_first, LandmarkSet(NAMES, TRIANGLE)))
    assert found.shapes == ((6, 8, 4),)
    assert found.spacings == ((1, 2, 3),)
    assert found.shapes_after_crop == ((3, 4, 2),)


def test_spacings_of_an_oblique_image_are_the_lengths_of_its_voxels(fingerprint_of, volume, oblique_affine):
    found = fingerprint_of((volume, oblique_affine, LandmarkSet(NAMES, TRIANGLE)))
    np.testing.assert_allclose(sorted(found.spacings[0]), [2, 3, 5], atol=1e-5)


def test_the_crop_is_the_box_of_voxels_that_are_not_zero(fingerprint_of, volume):
    landmarks = LandmarkSet(NAMES, TRIANGLE)
    cases = [(v, np.eye(4), landmarks) for v in (volume, volume + 1, volume - 2)]
    found = fingerprint_of(*cases)
    assert found.shapes_after_crop == ((2, 3, 4), (4, 6, 8), (4, 6, 8))
    assert found.median_relative_size_after_crop == 1
    assert fingerprint_of(cases[0]).median_relative_size_after_crop == 1 / 8


def test_intensities_are_those_of_the_voxels_that_are_not_zero(fingerprint_of, volume):
    volume[1] *= 3 / 5  # half of the box is 3, the other half 5
    intensity = fingerprint_of((volume, np.eye(4), LandmarkSet(NAMES, TRIANGLE))).intensity[0]
    expected = {
        "mean": 4,
        "std": 1,
        "median": 4,
        "min": 3,
        "max": 5,
        "percentile_00_5": 3,
        "percentile_99_5": 5,
    }
    assert intensity == pytest.approx(expected)


def test_presence_is_counted_for_each_landmark(fingerprint_of, volume):
    nan = np.full(3, np.nan)
    first = LandmarkSet(NAMES, np.array([[0, 0, 0], nan, nan]), np.array([PRESENT, ABSENT, UNKNOWN]))
    second = LandmarkSet(("c", "a"), np.array([[1, 1, 1], nan]), np.array([PRESENT, ABSENT]))
    found = fingerprint_of((volume, np.eye(4), first), (volume, np.eye(4), second))
    assert found.presence == {
        "a": {"present": 1, "absent": 1, "unknown": 0},
        "b": {"present": 0, "absent": 1, "unknown": 1},
        "c": {"present": 1, "absent": 0, "unknown": 1},
    }


def test_the_nearest_landmark_is_found_in_millimetres(fingerprint_of, volume, oblique_affine):
    for affine in (np.eye(4), oblique_affine):
        found = fingerprint_of((volume, affine, LandmarkSet(NAMES, TRIANGLE)))
        assert found.nearest_landmark_mm == pytest.approx({"a": 5, "b": 5, "c": 12}, abs=1e-4)


def test_a_landmark_without_neighbours_has_no_nearest_one(fingerprint_of, volume):
    points = np.array([[0, 0, 0], [np.nan] * 3, [np.nan] * 3])
    found = fingerprint_of((volume, np.eye(4), LandmarkSet(NAMES, points)))
    assert found.nearest_landmark_mm == {"a": None, "b": None, "c": None}
    single = fingerprint_of((volume, np.eye(4), LandmarkSet(("a",), np.zeros((1, 3)))), names=("a",))
    assert single.nearest_landmark_mm == {"a": None} and single.pose_angles_deg is None


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_poses_are_compared_between_the_images_grids(fingerprint_of, volume, degrees):
    turned = LandmarkSet(NAMES, TRIANGLE @ turn_about_z(degrees).T + [50, 60, 70])
    found = fingerprint_of((volume, np.eye(4), LandmarkSet(NAMES, TRIANGLE)), (volume, np.eye(4), turned))
    assert found.pose_angles_deg == pytest.approx(
        {"median": degrees, "p95": degrees, "max": degrees}, abs=1e-3
    )


def test_an_image_that_is_turned_with_its_landmarks_is_in_the_same_pose(fingerprint_of, volume):
    turn = turn_about_z(30)
    cases = [
        (volume, affine_of(np.diag([1, 2, 3])), LandmarkSet(NAMES, TRIANGLE)),
        (
            volume,
            affine_of(turn @ np.diag([1, 2, 3]), (5, 6, 7)),
            LandmarkSet(NAMES, TRIANGLE @ turn.T + [5, 6, 7]),
        ),
    ]
    assert fingerprint_of(*cases).pose_angles_deg["max"] == pytest.approx(0, abs=0.01)


def test_landmarks_on_a_line_say_nothing_about_poses(fingerprint_of, volume):
    line = LandmarkSet(NAMES, np.array([[0.0, 0, 0], [1, 1, 1], [2, 2, 2]]))
    assert fingerprint_of(*[(volume, np.eye(4), line)] * 2).pose_angles_deg is None


def test_how_fast_grey_values_change_is_said_of_each_axis(fingerprint_of, tmp_path):
    falling = 255.0 - np.arange(6)[:, None, None] * 6 - np.arange(5)[:, None] * 3 + np.zeros(4)
    wide, landmarks = np.diag([2.0, 1, 1, 1]), LandmarkSet(NAMES, TRIANGLE)
    expected = (1, 1, 0)  # six a voxel of two millimetres, and three a millimetre
    assert fingerprint_of((falling, wide, landmarks)).gradient == expected
    case = Case("whole numbers", tmp_path / "whole.nii.gz", tmp_path / "0.mrk.json", 0)
    nib.save(nib.Nifti1Image(falling.astype(np.uint8), wide), case.image)
    assert compute_fingerprint(Datalist(tmp_path, NAMES, (case,)), progress=False).gradient == expected
    assert fingerprint_of((falling[:, :, :1], np.eye(4), landmarks)).gradient == (1, 0.5, 1)
    assert fingerprint_of((np.ones((6, 5, 4)), np.eye(4), landmarks)).gradient == (1, 1, 1)


def test_ids_names_and_modality_are_kept_in_order(fingerprint_of, volume):
    case = (volume, np.eye(4), LandmarkSet(NAMES, TRIANGLE))
    found = fingerprint_of(case, case, names=("c", "a", "b"), modality="CT")
    assert (found.cases, found.landmark_names, found.modalities) == (
        ("case 0", "case 1"),
        ("c", "a", "b"),
        ("CT",),
    )


def test_a_fingerprint_is_read_as_it_was_written(fingerprint_of, volume, oblique_affine, tmp_path):
    case = (volume, oblique_affine, LandmarkSet(NAMES, TRIANGLE))
    found = fingerprint_of(case, case)
    write_fingerprint(tmp_path / "fingerprint.json", found)
    assert read_fingerprint(tmp_path / "fingerprint.json") == found


def test_another_version_or_another_file_is_refused_with_what_to_do(fingerprint_of, volume, tmp_path):
    path = tmp_path / "fingerprint.json"
    write_fingerprint(
        path, replace(fingerprint_of((volume, np.eye(4), LandmarkSet(NAMES, TRIANGLE))), version=0)
    )
    for text in (path.read_text(), "{}", "[]", '{"version": 1}'):
        path.write_text(text)
        with pytest.raises(LandmarkError, match=r"fingerprint\.json: .*Run 'auto3dlandmark analyze' again"):
            read_fingerprint(path)
