# SPDX-License-Identifier: Apache-2.0
"""Miniatures of the public benchmarks, with their quirks, are converted point by point."""

from __future__ import annotations

import json
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark import LandmarkError, LandmarkSet, read_landmarks
from auto3dlandmark.checks import check_dataset
from auto3dlandmark.cli import main
from auto3dlandmark.datalist import scan_folder
from auto3dlandmark.datasets import convert
from auto3dlandmark.files import read_json
from auto3dlandmark.findings import ERROR
from auto3dlandmark.formats.markups import markups_document
from auto3dlandmark.geometry import voxel_to_world, world_to_voxel
from auto3dlandmark.images import read_image

AFFINE = np.array([[-0.9, 0, 0, 20], [0, 0.8, 0, -15], [0, 0, 1.1, 4], [0, 0, 0, 1]])
SHAPE = (24, 26, 20)


def save_image(path: Path, seed: int = 0, shape=SHAPE, affine=AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).uniform(10, 200, size=shape).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def points_in(image: Path, count: int, seed: int) -> np.ndarray:
    array, affine = read_image(image)
    voxels = np.random.default_rng(seed).uniform(2, np.array(array.shape) - 3, size=(count, 3))
    return voxel_to_world(voxels, affine)


def fcsv(path: Path, rows: list[tuple[str, str, np.ndarray]], system: str = "0") -> None:
    """Rows of id, label and RAS position, written in the named system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sign = -1 if system in ("1", "LPS") else 1
    lines = ["# Markups fiducial file version = 4.6", f"# CoordinateSystem = {system}"]
    lines.append("# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID")
    for id_, label, (x, y, z) in rows:
        lines.append(f"{id_},{sign * x},{sign * y},{z},0,0,0,1,1,1,0,{label},a description,")
    path.write_text("\n".join(lines) + "\n")


def assert_points(
    folder: Path, case: str, expected: dict[str, np.ndarray], atol: float = 1e-6
) -> LandmarkSet:
    found = read_landmarks(folder / "landmarks" / f"{case}.mrk.json")
    for name, point in expected.items():
        np.testing.assert_allclose(
            found.points[found.names.index(name)], point, atol=atol, err_msg=f"{case} {name}"
        )
    return found


def assert_trainable(folder: Path) -> None:
    """The converted folder is a dataset of ours without errors."""
    assert [
        finding for finding in check_dataset(scan_folder(folder), progress=False) if finding.severity == ERROR
    ] == []


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


# LFC

LINES = {"bBIP": 0, "sBIP": 0, "TCD": 0, "OFD": 1, "HDV": 2, "ADV": 1}
SIDES = {0: ("left", "right"), 1: ("posterior", "anterior"), 2: ("inferior", "superior")}


@pytest.fixture(params=["named", "numbered"])
def lfc(tmp_path, request):
    """Six lines for each case, the ends of every second one the other way round."""
    truth = {}
    raw_names = ["CBD", "BBD", "TCD", "FOD", "HDV", "ADV"]
    for seed, (part, case) in enumerate([("train", "1"), ("train", "10"), ("valid", "1002")]):
        top = tmp_path / "lfc" / "LFC_dataset"
        image = save_image(top / part / f"{case}.nii.gz", seed)
        points = points_in(image, 12, seed).reshape(6, 2, 3)
        truth[case] = {}
        folder = top / f"{part}_label" / case
        folder.mkdir(parents=True)
        for row, (name, axis) in enumerate(LINES.items()):
            ends = points[row][np.argsort(points[row][:, axis])]
            truth[case].update({f"{name}_{side}": end for side, end in zip(SIDES[axis], ends)})
            drawn = ends[:: -1 if row % 2 else 1]
            document = markups_document(LandmarkSet(("L-1", "L-2"), drawn))
            document["markups"][0]["type"] = "Line"
            length = float(np.linalg.norm(ends[0] - ends[1]))
            document["markups"][0]["measurements"] = [
                {"name": "length", "enabled": True, "value": length, "units": "mm"}
            ]
            numbered = "L.mrk.json" if row == 0 else f"L_{row}.mrk.json"
            file = f"{raw_names[row]}.mrk.json" if request.param == "named" else numbered
            (folder / file).write_text(json.dumps(document))
    return tmp_path / "lfc", truth


def test_lfc(lfc, tmp_path):
    source, truth = lfc
    report = convert("lfc", source, tmp_path / "out", progress=False)
    assert report["converted"] == ["1", "10", "1002"]
    for case, points in truth.items():
        assert sorted(assert_points(tmp_path / "out", case, points).names) == sorted(points)
    lengths = read_json(tmp_path / "out" / "measurements.json")["lengths"]
    assert lengths["TCD"] == ["TCD_left", "TCD_right"] and len(lengths) == 6
    assert_trainable(tmp_path / "out")


def test_a_length_that_disagrees_with_its_points_is_told(lfc, tmp_path):
    source, _ = lfc
    path = sorted((source / "LFC_dataset" / "train_label" / "1").glob("*"))[2]
    document = json.loads(path.read_text())
    document["markups"][0]["measurements"][0]["value"] += 1
    path.write_text(json.dumps(document))
    report = convert("lfc", source, tmp_path / "out", progress=False)
    assert any(path.name in line and "mm apart, but it says" in line for line in report["missing"])
    assert report["converted"] == ["10", "1002"]


# FeTA

FETA = {"LCC": 1, "HV": 2, "bBIP": 0, "sBIP": 0, "TCD": 0}


@pytest.fixture(params=[False, True], ids=["to the image", "from the image"])
def feta(tmp_path, request):
    """Two voxels for each length in a realigned grid; the transform leads to the image, or from it."""
    truth = {}
    for seed, case in enumerate(["sub-001", "sub-018"]):
        top = tmp_path / "feta"
        image_path = top / case / "anat" / f"{case}_rec-mial_T2w.nii.gz"
        turn = itk.Euler3DTransform.New()
        turn.SetRotation(0.3, -0.2, 0.5)
        turn.SetTranslation([60.0, -20.0, 8.0])
        middle = [0.0, 0.0, 0.0]
        centre = np.array(turn.TransformPoint(middle)) * [-1, -1, 1]  # RAS
        affine = np.diag([1.0, 1, 1, 1])
        affine[:3, 3] = centre - 20
        save_image(image_path, seed, (40, 40, 40), affine)
        grid = np.diag([-0.8, 0.8, 0.8, 1.0])
        grid[:3, 3] = (8, -8, -8)
        labels = np.zeros((21, 21, 21), dtype=np.int16)
        random = np.random.default_rng(seed)
        places = random.permutation(np.argwhere(labels == 0))[:10].reshape(5, 2, 3)
        truth[case] = {}
        for value, ((name, axis), ends) in enumerate(zip(FETA.items(), places), start=1):
            labels[tuple(ends[0])] = labels[tuple(ends[1])] = value
            world = voxel_to_world(ends, grid)
            order = world[np.argsort(world[:, axis], kind="stable")]
            for side, end in zip(SIDES[axis], order):
                moved = np.array(turn.TransformPoint([float(v) for v in end * [-1, -1, 1]])) * [-1, -1, 1]
                truth[case][f"{name}_{side}"] = moved
        folder = top / "derivatives" / "biometry" / case / "anat"
        folder.mkdir(parents=True)
        nib.save(nib.Nifti1Image(labels, grid), folder / f"{case}_rec-mial_meas.nii.gz")
        inverse = itk.Euler3DTransform.New()
        turn.GetInverse(inverse)
        itk.transformwrite(inverse if request.param else turn, str(folder / f"{case}_rec-mial_trf.txt"))
    return tmp_path / "feta", truth


def test_feta(feta, tmp_path):
    source, truth = feta
    report = convert("feta", source, tmp_path / "out", progress=False)
    assert report["converted"] == ["sub-001", "sub-018"]
    for case, points in truth.items():
        found = assert_points(tmp_path / "out", case, {})
        for name in FETA:  # an end is one of the two, whichever side a tie was given
            ends = [key for key in points if key.startswith(f"{name}_")]
            ours = np.array([found.points[found.names.index(key)] for key in ends])
            theirs = np.array([points[key] for key in ends])
            assert min(np.abs(ours - theirs).max(), np.abs(ours - theirs[::-1]).max()) < 1e-4
        exact = [
            key for key in points if np.abs(found.points[found.names.index(key)] - points[key]).max() < 1e-4
        ]
        assert len(exact) >= 8
    assert len(read_json(tmp_path / "out" / "measurements.json")["lengths"]) == 5
    assert_trainable(tmp_path / "out")


def test_a_label_without_two_voxels_is_told(feta, tmp_path):
    source, _ = feta
    path = next(source.rglob("sub-001*_meas.nii.gz"))
    image = nib.load(path)
    labels = np.asarray(image.dataobj).copy()
    labels[tuple(np.argwhere(labels == 4)[0])] = 0
    nib.save(nib.Nifti1Image(labels, image.affine), path)
    with pytest.raises(
        LandmarkError, match=r"no case of the training split(.|\n)*label 4 \(sBIP\) has 1 voxels"
    ):
        convert("feta", source, tmp_path / "out", progress=False)


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
