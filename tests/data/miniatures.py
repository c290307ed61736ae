# SPDX-License-Identifier: Apache-2.0
"""Parts that the miniatures of the public benchmarks are made of, and what must hold for a converted one."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from auto3dlandmark import LandmarkSet, read_landmarks
from auto3dlandmark.checks.dataset import check_dataset
from auto3dlandmark.checks.findings import ERROR
from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.data.images import read_image
from auto3dlandmark.geometry import voxel_to_world

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
