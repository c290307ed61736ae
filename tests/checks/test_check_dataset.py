# SPDX-License-Identifier: Apache-2.0
"""What would spoil training is found before it starts, and the case is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark.checks.dataset import check_dataset
from auto3dlandmark.checks.findings import ERROR, WARNING, raise_on_errors, report_findings
from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.formats import read_landmarks, write_landmarks


def errors_of(folder):
    """Case and message of every error."""
    findings = check_dataset(scan_folder(folder), progress=False)
    return {finding.case: finding.message for finding in findings if finding.severity == ERROR}


def label(folder, case):
    return folder / "landmarks" / f"{case}.mrk.json"


def move(folder, case, mm):
    """Move the first landmark, about 6 mm inside the image, along x."""
    landmarks = read_landmarks(label(folder, case))
    points = landmarks.points.copy()
    points[0, 0] += mm
    write_landmarks(label(folder, case), replace(landmarks, points=points))


def rewrite_image(change, dtype=np.float32):
    """A way to spoil an image: save what ``change`` makes of its voxels."""

    def spoil(path):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(change(np.array(image.dataobj).astype(dtype)), image.affine), path)

    return spoil


def with_voxel(value):
    def change(array):
        array[3, 4, 5] = value
        return array

    return rewrite_image(change)


def flatten_affine(path):
    image = nib.load(path)
    image = nib.Nifti1Image(np.array(image.dataobj), image.affine)
    image.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), code=1)
    image.set_qform(None, code=0)
    nib.save(image, path)


BAD_IMAGES = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:5000]), "cannot be read as an image"),
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "no image": (lambda path: path.write_text("patient moved, no scan"), "cannot be read as an image"),
    "NaN": (with_voxel(np.nan), "1 voxels are NaN or infinite"),
    "infinite": (with_voxel(np.inf), "1 voxels are NaN or infinite"),
    "constant": (rewrite_image(lambda array: np.full_like(array, 7)), "every voxel is 7"),
    "all NaN": (rewrite_image(lambda array: np.full_like(array, np.nan)), "NaN or infinite"),
    "singular affine": (flatten_affine, "singular"),
    "4D": (
        rewrite_image(lambda array: np.stack([array, array + 1], axis=-1)),
        "has 2 channels .* most images have one channel",
    ),
    "2D": (rewrite_image(lambda array: array[:, :, 0]), r"shape \(32, 28\)|shape \(32, 28, 1\)"),
    "complex": (rewrite_image(lambda array: array * 1j, np.complex64), "complex64"),
}


def test_a_good_dataset_has_no_findings(write_dataset):
    assert check_dataset(scan_folder(write_dataset()), progress=False) == []


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_is_an_error_that_names_the_case(write_dataset, kind):
    folder = write_dataset(("a", "b.x", "c"))
    spoil, message = BAD_IMAGES[kind]
    spoil(folder / "images" / "b.x.nii.gz")
    with pytest.raises(
        LandmarkError, match=rf"1 errors in 1 cases:\nerror: b\.x: .*b\.x\.nii\.gz: .*{message}"
    ):
        raise_on_errors(check_dataset(scan_folder(folder), progress=False))


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_a_missing_name_is_an_error_in_that_case(write_dataset, case):
    folder = write_dataset()
    landmarks = read_landmarks(label(folder, case))
    write_landmarks(label(folder, case), landmarks.select(landmarks.names[:3]))
    errors = errors_of(folder)
    assert list(errors) == [case] and "no landmark named 'chin'" in errors[case]


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_a_name_that_only_one_case_has_is_an_error_in_that_case(write_dataset, case):
    folder = write_dataset()
    landmarks = read_landmarks(label(folder, case))
    write_landmarks(label(folder, case), replace(landmarks, names=["nose", "left_ear", "right_ear", "Chin"]))
    errors = errors_of(folder)
    assert list(errors) == [case] and "'chin'" in errors[case] and "'Chin'" in errors[case]


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda text: text.replace('"chin"', '"nose"'), "'nose' is used more than once"),
        (lambda text: text[: len(text) // 2], "not valid JSON"),
        (lambda text: "", "the file is empty"),
        (lambda text: text.replace('"LPS"', '"XYZ"'), "coordinateSystem is 'XYZ'"),
    ],
    ids=["name twice", "truncated", "empty", "frame"],
)
def test_a_bad_landmark_file_is_an_error_that_names_the_case(write_dataset, spoil, message):
    folder = write_dataset()
    label(folder, "b").write_text(spoil(label(folder, "b").read_text()))
    errors = errors_of(folder)
    assert list(errors) == ["b"] and message in errors["b"] and "b.mrk.json" in errors["b"]


def test_an_order_of_names_of_its_own_is_no_error(write_dataset):
    folder = write_dataset()
    landmarks = read_landmarks(label(folder, "b"))
    write_landmarks(label(folder, "b"), landmarks.select(reversed(landmarks.names)))
    assert errors_of(folder) == {}


def test_all_cases_with_errors_are_named_at_once_and_before_the_warnings(write_dataset):
    folder = write_dataset(("a", "b", "c", "d"))
    move(folder, "a", -10)
    for case in ("b", "d"):
        move(folder, case, 1000)
    findings = check_dataset(scan_folder(folder), progress=False)
    assert [(finding.severity, finding.case) for finding in findings] == [
        (ERROR, "b"),
        (ERROR, "d"),
        (WARNING, "a"),
    ]
    assert report_findings(findings).splitlines()[2].startswith("warning: a: ")
    with pytest.raises(LandmarkError, match=r"2 errors in 2 cases:\nerror: b: .*\nerror: d: "):
        raise_on_errors(findings)


def test_warnings_stop_nothing(write_dataset):
    folder = write_dataset()
    move(folder, "a", -10)
    findings = check_dataset(scan_folder(folder), progress=False)
    assert len(findings) == 1 and raise_on_errors(findings) is None


def test_a_test_case_is_checked_too_with_or_without_landmarks(write_dataset):
    folder = write_dataset()
    entries = [{"image": f"images/{case}.nii.gz", "label": f"landmarks/{case}.mrk.json"} for case in "ab"]
    content = {"training": entries, "testing": ["images/c.nii.gz", "images/missing.nii.gz"]}
    (folder / "dataset.json").write_text(json.dumps(content))
    assert list(errors_of(folder)) == ["missing"]


def test_checking_changes_no_file(write_dataset):
    folder = write_dataset()
    move(folder, "b", 1000)
    before = {path: path.read_bytes() for path in folder.glob("*/*")}
    check_dataset(scan_folder(folder), progress=False)
    assert {path: path.read_bytes() for path in folder.glob("*/*")} == before


def test_the_few_images_stored_in_another_direction_are_something_to_look_at(shared_data, tmp_path):
    for part in ("images", "landmarks"):
        (tmp_path / part).mkdir()
        for path in sorted((shared_data / "hippocampus" / part).iterdir())[:20]:
            shutil.copy(path, tmp_path / part)
    path = sorted((tmp_path / "images").iterdir())[7]
    image = nib.load(path)
    nib.save(image.as_reoriented([[0, -1], [1, 1], [2, 1]]), path)
    (finding,) = check_dataset(scan_folder(tmp_path), progress=False)
    assert (
        finding.severity == WARNING
        and path.name.startswith(finding.case)
        and "is stored as" in finding.message
    )
