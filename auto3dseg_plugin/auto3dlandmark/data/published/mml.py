# SPDX-License-Identifier: Apache-2.0
"""MML: 14 landmarks at the molars in dental CT, some of them absent.

Points are voxel indices in the axis order of the NRRD file. Its header's spacing is wrong or absent; the
``.npy`` beside it decides. The images state no orientation, so theirs is taken as it is stored.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ...errors import LandmarkError
from ...geometry import voxel_to_world
from ...landmarks import ABSENT, PRESENT, LandmarkSet
from ..images import read_image
from .source import RawCase, Source, present_file, published_split

__all__ = ["find_mml"]

NAMES = tuple(f"landmark_{number}" for number in range(1, 15))


def find_mml(folder: Path, complete: bool = False) -> Source:
    """
    The cases of ``mmld_dataset``.

    Args:
        complete: only those of nnLandmark's subset, which has every landmark; else all, as their folders
            split them.
    """
    top = folder if (folder / "train").is_dir() else folder / "mmld_dataset"
    cases, split = {}, {}
    for part in ("train", "val", "test"):
        for path in sorted((top / part).glob("*_volume.nrrd")):
            case = path.name.removesuffix("_volume.nrrd")
            if case in cases:
                raise LandmarkError(f"{path}: case {case!r} is in another folder too. Keep one of them.")
            cases[case], split[case] = partial(_read, path, case), part
    training = [case for case, part in split.items() if part != "test"]
    testing = [case for case, part in split.items() if part == "test"]
    if complete:
        training, testing = published_split("mml")
    layout = "mmld_dataset/{train,val,test}/ID_volume.nrrd with ID_label.npy and ID_spacing.npy."
    return Source(NAMES, cases, training, testing, layout)


def _read(volume: Path, case: str) -> RawCase:
    voxels = _array(volume.with_name(f"{case}_label.npy"), (len(NAMES), 3))
    spacing = _array(volume.with_name(f"{case}_spacing.npy"), (3,))
    if not (spacing > 0).all():
        raise LandmarkError(
            f"{volume.with_name(f'{case}_spacing.npy')}: holds {spacing.tolist()}, not three lengths."
        )
    array, _ = read_image(present_file(volume))
    affine = np.diag([*spacing, 1.0])
    absent = (voxels.mean(axis=1) < -100) | (voxels.sum(axis=1) < 0)
    points = np.where(absent[:, None], np.nan, voxel_to_world(voxels, affine))
    return RawCase((array, affine), LandmarkSet(NAMES, points, np.where(absent, ABSENT, PRESENT)))


def _array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.load(present_file(path), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise LandmarkError(f"{path}: cannot be read as an array ({error}).") from error
    if array.shape != shape or not np.issubdtype(array.dtype, np.number) or not np.isfinite(array).all():
        raise LandmarkError(f"{path}: has the shape {array.shape}, or no plain numbers; {shape} is wanted.")
    return np.asarray(array.astype(np.float64))
