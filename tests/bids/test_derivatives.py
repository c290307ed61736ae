# SPDX-License-Identifier: Apache-2.0
"""A BIDS dataset in, a BIDS derivative out, which AFIDs' own tools read."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from afids_utils.afids import AfidSet

from auto3dlandmark import LandmarkError, LandmarkSet, read_landmarks
from auto3dlandmark.bids.anatomy import anatomical_images
from auto3dlandmark.bids.derivatives import Derivatives
from auto3dlandmark.cli import main
from auto3dlandmark.formats.brain_fiducials import AFIDS, are_afids, write_afids
from auto3dlandmark.inference.batch import predict_batch
from auto3dlandmark.inference.parallel import Outcome

NAMES = tuple(str(number) for number in range(1, 33))


class FixedPoints:
    """Makes the same landmarks of every image."""

    identity = "fixed"

    def __init__(self, landmarks):
        self.landmarks = landmarks

    def load(self):
        return lambda image: Outcome(self.landmarks)


@pytest.fixture
def dataset(tmp_path):
    """Two subjects, one with sessions and runs; files that are not asked for lie about."""
    root = tmp_path / "raw"
    for name in (
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "sub-01/anat/sub-01_T1w.json",
        "sub-02/ses-a/anat/sub-02_ses-a_run-1_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_run-2_T1w.nii.gz",
        "sub-02/ses-b/anat/sub-02_ses-b_T1w.nii",
        "derivatives/other/sub-01/anat/sub-01_desc-brain_T1w.nii.gz",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


@pytest.fixture
def points():
    values = np.random.default_rng(0).normal(scale=40, size=(32, 3))
    return LandmarkSet(NAMES, values)


def test_images_of_one_suffix_are_found_in_all_sessions(dataset):
    assert [path.relative_to(dataset).as_posix() for path in anatomical_images(dataset)] == [
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_run-1_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_run-2_T1w.nii.gz",
        "sub-02/ses-b/anat/sub-02_ses-b_T1w.nii",
    ]
    assert len(anatomical_images(dataset, "T2w")) == 1


def test_what_is_not_there_is_told(dataset, tmp_path):
    with pytest.raises(LandmarkError, match="end in T1w, T2w: choose one by --suffix"):
        anatomical_images(dataset, "FLAIR")
    with pytest.raises(LandmarkError, match="Is it a BIDS dataset"):
        anatomical_images(tmp_path)
    with pytest.raises(LandmarkError, match="must be the last word"):
        anatomical_images(dataset, "*")
    shutil.copy(dataset / "sub-01/anat/sub-01_T1w.nii.gz", dataset / "sub-01/anat/sub-01_T1w.nii")
    with pytest.raises(LandmarkError, match="is there again"):
        anatomical_images(dataset)


def test_a_derivative_goes_round_and_afids_utils_reads_it(dataset, points, tmp_path):
    out = dataset / "derivatives" / "auto3dlandmark"
    form = Derivatives(dataset, NAMES)
    form.begin(out)
    report = predict_batch(FixedPoints(points), anatomical_images(dataset), out, form, progress=False)
    assert report.made[1] == "sub-02_ses-a_run-1_T1w" and len(report.made) == 4
    stem = "sub-02_ses-a_run-1_space-T1w_desc-auto3dlandmark_afids"
    place = out / "sub-02" / "ses-a" / "anat"
    read = read_landmarks(place / f"{stem}.mrk.json")
    assert read.names == NAMES
    np.testing.assert_allclose(read.points, points.points, atol=1e-9)
    theirs = AfidSet.load(place / f"{stem}.fcsv")
    assert theirs.coord_system == "RAS"
    np.testing.assert_array_equal([[one.x, one.y, one.z] for one in theirs.afids], points.points)
    described = json.loads((out / "dataset_description.json").read_text())
    assert (
        described["DatasetType"] == "derivative" and described["GeneratedBy"][0]["Name"] == "auto3dlandmark"
    )
    assert len(anatomical_images(dataset)) == 4  # the derivative is not taken for images
    form.begin(out)
    again = predict_batch(FixedPoints(points), anatomical_images(dataset), out, form, progress=False)
    assert len(again.kept) == 4 and not again.made


def test_two_kinds_of_image_do_not_share_a_file(dataset):
    form, images = (
        Derivatives(dataset, ["chin"]),
        [*anatomical_images(dataset), *anatomical_images(dataset, "T2w")],
    )
    paths = [path for image in images for path in form.paths(dataset / "out", image)]
    assert len(set(paths)) == len(paths) == 10
    assert paths[0].name == "sub-01_space-T1w_desc-auto3dlandmark_landmarks.mrk.json"


def test_another_dataset_is_not_written_over(dataset):
    description = dataset / "dataset_description.json"
    description.write_text('{"Name": "ours", "BIDSVersion": "1.8.0"}')
    with pytest.raises(LandmarkError, match="describes another dataset"):
        Derivatives(dataset, NAMES).begin(dataset)
    assert "ours" in description.read_text()


def test_fiducials_are_known_by_each_of_their_names(tmp_path, points):
    assert are_afids(AFIDS) and are_afids(AFIDS.values()) and are_afids(reversed(NAMES))
    assert not are_afids(NAMES[:-1]) and not are_afids([*NAMES, "AC"]) and not are_afids(["chin"])
    reordered = LandmarkSet(tuple(reversed(AFIDS)), points.points)
    write_afids(tmp_path / "points.fcsv", reordered)
    np.testing.assert_array_equal(AfidSet.load(tmp_path / "points.fcsv").afids[31].x, points.points[0, 0])
    with pytest.raises(LandmarkError, match="not the 32 AFIDs"):
        write_afids(tmp_path / "other.fcsv", LandmarkSet(("chin",), np.zeros((1, 3))))


def test_a_fiducial_without_a_position_has_none(tmp_path, points):
    values = points.points.copy()
    values[4] = np.nan
    write_afids(tmp_path / "points.fcsv", LandmarkSet(NAMES, values))
    read = read_landmarks(tmp_path / "points.fcsv")
    assert np.isnan(read.points[4]).all() and not read.present[4]
    assert np.isnan(AfidSet.load(tmp_path / "points.fcsv").afids[4].x)


def test_the_command_reads_and_writes_bids(trained_bundle, demo_dataset, tmp_path):
    place = tmp_path / "raw" / "sub-01" / "anat"
    place.mkdir(parents=True)
    shutil.copy(demo_dataset / "images" / "demo_01.nii.gz", place / "sub-01_T1w.nii.gz")
    words = ["predict", str(trained_bundle), str(tmp_path / "raw"), str(tmp_path / "out"), "--bids"]
    with pytest.raises(SystemExit, match="--format is not for --bids"):
        main([*words, "--format", "csv"])
    with pytest.raises(SystemExit, match="choose one by --suffix"):
        main([*words, "--suffix", "T2w"])
    main(words)
    found = tmp_path / "out" / "sub-01" / "anat" / "sub-01_space-T1w_desc-auto3dlandmark_landmarks.fcsv"
    assert (
        read_landmarks(found).names == read_landmarks(demo_dataset / "landmarks" / "demo_01.mrk.json").names
    )
    assert "sub-01_T1w," in (tmp_path / "out" / "predictions.csv").read_text()
