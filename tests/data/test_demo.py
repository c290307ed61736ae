# SPDX-License-Identifier: Apache-2.0
"""The generated dataset: exact, varied, the same every time."""

from __future__ import annotations

import filecmp

import nibabel as nib
import numpy as np

from auto3dlandmark import read_landmarks
from auto3dlandmark.checks.dataset import check_dataset
from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.data.demo import DEMO_NAMES, make_demo_case, make_demo_dataset
from auto3dlandmark.geometry import voxel_spacing, world_to_voxel


def test_every_case_has_the_same_names_and_one_lacks_a_landmark(demo_dataset):
    sets = [read_landmarks(path) for path in sorted((demo_dataset / "landmarks").iterdir())]
    assert all(landmarks.names == DEMO_NAMES for landmarks in sets)
    assert [int(landmarks.present.sum()) for landmarks in sets] == [5, 4, 5, 5, 5, 5]


def test_the_data_passes_its_own_checks(demo_dataset):
    assert check_dataset(scan_folder(demo_dataset), progress=False) == []


def test_voxels_are_not_cubes_and_axes_are_oblique(demo_dataset):
    for path in (demo_dataset / "images").iterdir():
        affine = nib.load(path).affine
        spacing = voxel_spacing(affine)
        assert spacing[2] > 1.3 * spacing[0]
        assert (np.abs(affine[:3, :3] / spacing) < 0.9999).all()


def test_a_bead_is_bright_where_its_landmark_says():
    for seed in range(5):
        volume, affine, landmarks = make_demo_case(np.random.default_rng(seed))
        voxel = np.round(world_to_voxel(landmarks.points[DEMO_NAMES.index("bead_left")], affine)).astype(int)
        assert volume[tuple(voxel)] > np.percentile(volume, 98)


def test_the_same_seed_gives_the_same_files(demo_dataset, tmp_path):
    again = make_demo_dataset(tmp_path / "again", cases=6)
    names = sorted(path.name for path in (demo_dataset / "landmarks").iterdir())
    assert filecmp.cmpfiles(demo_dataset / "landmarks", again / "landmarks", names, shallow=False)[0] == names


def test_a_dataset_that_is_there_is_kept(demo_dataset):
    before = sorted((path, path.stat().st_mtime_ns) for path in demo_dataset.rglob("*"))
    make_demo_dataset(demo_dataset, cases=2)
    assert sorted((path, path.stat().st_mtime_ns) for path in demo_dataset.rglob("*")) == before
