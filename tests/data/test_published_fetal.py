# SPDX-License-Identifier: Apache-2.0
"""Miniatures of the fetal benchmarks, whose landmarks are the ends of lengths, are converted point by
point."""

from __future__ import annotations

import json

import itk
import nibabel as nib
import numpy as np
import pytest
from miniatures import assert_points, assert_trainable, points_in, save_image

from auto3dlandmark import LandmarkError, LandmarkSet
from auto3dlandmark.data.published import convert
from auto3dlandmark.files import read_json
from auto3dlandmark.formats.markups import markups_document
from auto3dlandmark.geometry import voxel_to_world

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
