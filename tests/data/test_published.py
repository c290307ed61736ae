# SPDX-License-Identifier: Apache-2.0
"""Miniatures of the public benchmarks, with their quirks, are converted point by point."""

from __future__ import annotations

import itk
import numpy as np
import pytest
from miniatures import SHAPE, assert_points, assert_trainable, fcsv, points_in, save_image

from auto3dlandmark import LandmarkError
from auto3dlandmark.cli import main
from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.data.images import read_image
from auto3dlandmark.data.published import convert
from auto3dlandmark.files import read_json
from auto3dlandmark.geometry import world_to_voxel

# AFIDs

AFIDS = {
    "AFIDs-HCP_sub-103111": ("hcp", "sub-103111", "_acq-MP2RAGE", "", "0"),
    "AFIDs-HCP_sub-123925": ("hcp", "sub-123925", "_acq-MP2RAGE", "", "RAS"),
    "AFIDs-OASIS_sub-0109": ("oasis", "sub-0109", "", "", "LPS"),
    "LHSCPD_sub-087": ("ds004471", "sub-087", "_run-01", "", "1"),
    "SNSX_sub-C001": ("ds004470", "sub-C001", "_acq-MP2RAGE_run-01", "_acq-MP2RAGE_run-01", "0"),
}


@pytest.fixture
def afids(tmp_path):
    """Four sites; ids of the rows differ from their labels, and some labels carry stray characters."""
    truth = {}
    for seed, (case, (site, subject, kind, in_truth, system)) in enumerate(AFIDS.items()):
        root = tmp_path / "afids" / site
        image = save_image(root / subject / "anat" / f"{subject}{kind}_T1w.nii.gz", seed)
        points = points_in(image, 32, seed)
        truth[case] = {str(number): point for number, point in enumerate(points, start=1)}
        stray = {"9": "9 ", "20": "20'"} if seed == 0 else {}
        rows = [(str(33 - int(name)), stray.get(name, name), point) for name, point in truth[case].items()]
        folder = root / "derivatives" / "afids_groundtruth" / subject / "anat"
        fcsv(folder / f"{subject}{in_truth}_space-T1w_desc-groundtruth_afids.fcsv", rows, system)
    return tmp_path / "afids", truth


def test_afids(afids, tmp_path):
    source, truth = afids
    report = convert("afids", source, tmp_path / "out", progress=False)
    known = [case for case in truth if case in report["converted"]]
    assert len(known) == len(report["converted"]) >= 4
    for case in known:
        found = assert_points(tmp_path / "out", case, truth[case])
        assert list(found.names) == [str(number) for number in range(1, 33)]
    listed = scan_folder(tmp_path / "out")
    assert "AFIDs-HCP_sub-123925" in [case.id for case in listed.testing]
    assert len(report["missing"]) == 132 - len(known) and all(
        "not found" in line for line in report["missing"]
    )
    assert ["7", "6"] in read_json(tmp_path / "out" / "dataset.json")["left_right_pairs"]
    assert_trainable(tmp_path / "out")


def test_a_link_of_git_annex_is_named_as_such(afids, tmp_path):
    source, _ = afids
    image = source / "ds004471" / "sub-087" / "anat" / "sub-087_run-01_T1w.nii.gz"
    image.unlink()
    image.symlink_to("../../.git/annex/objects/xx/yy/MD5E-s1--0.nii.gz")
    label = next((source / "ds004470").rglob("*.fcsv"))
    label.unlink()
    label.symlink_to("../../../../.git/annex/objects/zz/MD5E-s2--1.fcsv")
    report = convert("afids", source, tmp_path / "out", progress=False)
    annexed = [line for line in report["missing"] if "git annex get" in line]
    assert [line.split(":")[0] for line in annexed] == ["LHSCPD_sub-087", "SNSX_sub-C001"]
    assert "not found" not in " ".join(annexed)


@pytest.mark.parametrize(
    "old, new, message",
    [
        (",20',", ",2O,", "label '2O' is not one of 1 to 32"),
        (",31,", ",30,", "lacks the labels 31|more than once"),
    ],
)
def test_a_label_that_is_not_a_fiducial_is_told(afids, tmp_path, old, new, message):
    source, _ = afids
    path = next((source / "hcp").rglob("sub-103111*.fcsv"))
    path.write_text(path.read_text().replace(old, new, 1))
    report = convert("afids", source, tmp_path / "out", progress=False)
    (line,) = [line for line in report["missing"] if line.startswith("AFIDs-HCP_sub-103111")]
    assert path.name in line


# MML


@pytest.fixture
def mml(tmp_path):
    """NRRD files whose header's spacing is wrong, labels with sentinel rows."""
    truth = {}
    for seed, (part, case) in enumerate(
        [("train", "0001"), ("train", "118_new"), ("val", "9999"), ("test", "0003")]
    ):
        folder = tmp_path / "mml" / "mmld_dataset" / part
        folder.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(seed)
        voxels = random.uniform(0, 1000, size=SHAPE).astype(np.float32)
        image = itk.image_from_array(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
        image.SetSpacing([7.0, 7.0, 7.0])
        itk.imwrite(image, str(folder / f"{case}_volume.nrrd"))
        points = random.uniform(3, np.array(SHAPE) - 4, size=(14, 3))
        spacing = np.array([0.4, 0.5, 0.6])
        if case == "118_new":
            points[5], points[9] = (-500, -500, -500), (-1, -1, -1)
        np.save(folder / f"{case}_label.npy", points)
        np.save(folder / f"{case}_spacing.npy", spacing)
        truth[case] = points, spacing, voxels
    return tmp_path / "mml", truth


def test_mml(mml, tmp_path):
    source, truth = mml
    report = convert("mml", source, tmp_path / "out", progress=False)
    assert sorted(report["converted"]) == ["0001", "0003", "118_new", "9999"] and report["missing"] == []
    for case, (points, spacing, voxels) in truth.items():
        array, affine = read_image(tmp_path / "out" / "images" / f"{case}.nii.gz")
        np.testing.assert_array_equal(array, voxels)
        np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), spacing, rtol=1e-6)
        present = points.sum(axis=1) > 0
        expected = {f"landmark_{row + 1}": points[row] * spacing for row in np.flatnonzero(present)}
        found = assert_points(tmp_path / "out", case, expected)
        assert [name for name, state in zip(found.names, found.status) if state == 2] == (
            ["landmark_6", "landmark_10"] if case == "118_new" else []
        )
    listed = scan_folder(tmp_path / "out")
    assert [case.id for case in listed.testing] == ["0003"] and len(listed.training) == 3
    assert_trainable(tmp_path / "out")


def test_the_complete_subset_of_mml_is_an_option(mml, tmp_path, capsys):
    source, _ = mml
    main(["convert", "mml", str(source), str(tmp_path / "out"), "--complete"])
    report = read_json(tmp_path / "out" / "conversion.json")
    assert (
        sorted(report["converted"]) == ["0001", "0003", "118_new"]
        and len(report["missing"]) == 340
        and report["left_out"] == ["9999: in neither split"]
    )
    said = capsys.readouterr().out
    assert "3 cases written" in said and "and 320 more" in said


@pytest.mark.parametrize(
    "content", [np.zeros((13, 3)), np.array([{}], dtype=object), np.full((14, 3), np.nan)]
)
def test_a_broken_array_is_told_and_not_unpickled(mml, tmp_path, content):
    source, _ = mml
    path = source / "mmld_dataset" / "train" / "0001_label.npy"
    np.save(path, content, allow_pickle=True)
    report = convert("mml", source, tmp_path / "out", progress=False)
    (line,) = report["missing"]
    assert line.startswith("0001: ") and "0001_label.npy" in line


# PDDCA


def test_pddca(tmp_path):
    truth, names = {}, ["chin", "mand_r", "mand_l", "odont_proc", "occ_bone"]
    for seed, case in enumerate(["0522c0001", "0522c0014", "0522c0002"]):
        folder = tmp_path / "pddca" / case
        folder.mkdir(parents=True)
        voxels = np.random.default_rng(seed).uniform(-1000, 2000, size=SHAPE).astype(np.float32)
        image = itk.image_from_array(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
        image.SetSpacing([1.0, 1.1, 2.5])
        image.SetOrigin([-12.0, 30.0, 5.0])
        itk.imwrite(image, str(folder / "img.nrrd"))
        if case == "0522c0002":  # a case without landmarks
            continue
        points = points_in(folder / "img.nrrd", 5, seed)
        truth[case] = dict(zip(names, points))
        rows = [(f"F-{row}", name, point) for row, (name, point) in enumerate(truth[case].items())]
        fcsv(folder / f"Landmarks_{case[-4:]}.fcsv", rows[::-1])
    report = convert("pddca", tmp_path / "pddca", tmp_path / "out", progress=False)
    assert report["converted"] == ["0522c0001", "0522c0014"] and "0522c0002: not found" in report["missing"]
    for case, points in truth.items():
        assert list(assert_points(tmp_path / "out", case, points).names) == names
        array, affine = read_image(tmp_path / "out" / "images" / f"{case}.nrrd")
        inside = world_to_voxel(np.array(list(points.values())), affine)
        assert (inside > 0).all() and (inside < np.array(array.shape) - 1).all()
    assert_trainable(tmp_path / "out")


# All


@pytest.mark.parametrize("name", ["afids", "mml", "pddca", "feta", "lfc"])
def test_an_empty_folder_is_told_what_was_expected(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LandmarkError, match="found no case. Expected "):
        convert(name, tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(mml, tmp_path):
    source, _ = mml
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("x")
    with pytest.raises(LandmarkError, match="is there already"):
        convert("mml", source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious.txt"]


def test_an_unknown_dataset_or_folder_is_refused(tmp_path):
    with pytest.raises(LandmarkError, match="dataset 'brats' is unknown. Choose one of afids, mml"):
        convert("brats", tmp_path, tmp_path / "out")
    with pytest.raises(LandmarkError, match="there is no such folder"):
        convert("mml", tmp_path / "nowhere", tmp_path / "out")
