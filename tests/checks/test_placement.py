# SPDX-License-Identifier: Apache-2.0
"""Landmarks that lie where they cannot belong are found before training starts, and the case is named."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark.checks.dataset import check_dataset
from auto3dlandmark.checks.findings import ERROR, WARNING
from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.formats import read_landmarks, write_landmarks
from auto3dlandmark.geometry import lps_to_ras, voxel_to_world
from auto3dlandmark.landmarks import ABSENT, LandmarkSet

DARK_TISSUE = [(6, 20, 6), (16, 22, 8), (10, 18, 16), (18, 21, 18)]
EMPTY = [(28, 6, 6), (29, 8, 8), (28, 20, 16), (29, 21, 18)]


def errors_of(folder):
    """Case and message of every error."""
    findings = check_dataset(scan_folder(folder), progress=False)
    return {finding.case: finding.message for finding in findings if finding.severity == ERROR}


def label(folder, case):
    return folder / "landmarks" / f"{case}.mrk.json"


def affine_of(folder, case):
    return nib.load(folder / "images" / f"{case}.nii.gz").affine


def change_points(folder, case, change):
    landmarks = read_landmarks(label(folder, case))
    write_landmarks(label(folder, case), LandmarkSet(landmarks.names, change(landmarks.points.copy())))


def place(folder, case, voxel_points):
    change_points(folder, case, lambda _: voxel_to_world(voxel_points, affine_of(folder, case)))


def place_first(folder, case, voxel_point):
    def change(points):
        points[0] = voxel_to_world(voxel_point, affine_of(folder, case))
        return points

    change_points(folder, case, change)


def test_negated_x_and_y_are_found_and_hinted_at_when_that_leads_to_content(write_dataset):
    folder = write_dataset()
    change_points(folder, "b", lps_to_ras)
    errors = errors_of(folder)
    assert list(errors) == ["b"]
    assert "4 of 4 landmarks lie outside" in errors["b"] and "probably LPS marked as RAS" in errors["b"]


def test_no_flip_is_hinted_at_when_it_would_lead_to_empty_background(write_dataset):
    folder = write_dataset()
    place(folder, "b", EMPTY)
    change_points(folder, "b", lps_to_ras)
    assert "in empty background, so it is not LPS marked as RAS" in errors_of(folder)["b"]


def test_no_flip_is_hinted_at_when_it_does_not_lead_inside(write_dataset):
    folder = write_dataset()
    change_points(folder, "b", lambda points: points + 1000)
    assert "another image or frame" in errors_of(folder)["b"]


@pytest.mark.parametrize(
    "i, severities", [(0, []), (-0.4, []), (-2, [WARNING]), (-5.4, [WARNING]), (-7, [ERROR])]
)
def test_a_little_outside_is_a_warning_and_far_outside_an_error(write_dataset, i, severities):
    folder = write_dataset()
    place_first(folder, "b", (i, 6, 6))
    findings = check_dataset(scan_folder(folder), progress=False)
    assert [finding.severity for finding in findings] == severities
    assert all(finding.case == "b" and "'nose'" in finding.message for finding in findings)


def test_the_distance_outside_is_in_millimetres(write_dataset):
    folder = write_dataset()
    place_first(folder, "b", (6, 6, 23.5 + 10))  # slices are 2 mm thick
    assert "'nose' by 20.0 mm" in errors_of(folder)["b"]


@pytest.mark.parametrize("misframed", ["b", "bc", "bcd", "abcd"])
def test_landmarks_on_empty_background_are_an_error_however_many_cases_have_them(write_dataset, misframed):
    folder = write_dataset(("a", "b", "c", "d"))
    for case in misframed:
        place(folder, case, EMPTY)
    errors = errors_of(folder)
    assert list(errors) == list(misframed)
    assert all("empty background" in message for message in errors.values())


def test_landmarks_on_other_content_than_in_the_other_cases_are_an_error(write_dataset):
    folder = write_dataset(tuple("abcdefgh"))
    place(folder, "d", DARK_TISSUE)
    errors = errors_of(folder)
    assert list(errors) == ["d"] and "other content" in errors["d"]


def test_another_scale_of_brightness_is_no_other_content(write_dataset):
    folder = write_dataset(tuple("abcdefgh"))
    path = folder / "images" / "d.nii.gz"
    nib.save(nib.Nifti1Image(nib.load(path).get_fdata() * 1000 - 5, affine_of(folder, "d")), path)
    assert check_dataset(scan_folder(folder), progress=False) == []


def test_a_case_without_any_point_is_no_error(write_dataset):
    folder = write_dataset()
    names = read_landmarks(label(folder, "b")).names
    write_landmarks(label(folder, "b"), LandmarkSet(names, np.full((4, 3), np.nan), np.full(4, ABSENT)))
    assert errors_of(folder) == {}


@pytest.mark.parametrize("name", ["mouse_skull", "hippocampus"])
def test_real_data_that_is_good_has_no_errors(shared_data, name):
    assert errors_of(shared_data / name) == {}


def test_every_misframed_mouse_is_named(shared_data):
    errors = errors_of(shared_data / "mouse_skull_misframed")
    assert sorted(errors) == ["C57BLKS.J_", "NOR.LtJ_", "PWK.PhJ_", "X129P3.J_"]
    assert not any("probably LPS marked as RAS" in message for message in errors.values())


@pytest.fixture
def flipped_mice(shared_data, tmp_path):
    """The misframed mice with x and y negated: now inside their images, but in air."""
    cases = []
    for case in scan_folder(shared_data / "mouse_skull_misframed").training:
        landmarks = read_landmarks(case.label)
        write_landmarks(tmp_path / case.label.name, replace(landmarks, points=lps_to_ras(landmarks.points)))
        cases.append(replace(case, label=tmp_path / case.label.name))
    return cases


@pytest.mark.parametrize("good_cases", [24, 3])
@pytest.mark.parametrize("misframed", [[0], [1], [2], [3], [0, 1, 2, 3]])
def test_a_misframed_mouse_is_found_even_when_a_flip_puts_it_inside(
    shared_data, flipped_mice, good_cases, misframed
):
    good = scan_folder(shared_data / "mouse_skull")
    bad = [flipped_mice[number] for number in misframed]
    mixed = replace(good, training=(*good.training[:good_cases], *bad))
    errors = [finding for finding in check_dataset(mixed, progress=False) if finding.severity == ERROR]
    assert [finding.case for finding in errors] == [case.id for case in bad]


def test_misframed_mice_alone_are_found_even_when_a_flip_puts_them_inside(shared_data, flipped_mice):
    alone = replace(scan_folder(shared_data / "mouse_skull"), training=tuple(flipped_mice))
    errors = {finding.case for finding in check_dataset(alone, progress=False) if finding.severity == ERROR}
    assert errors == {case.id for case in flipped_mice}
