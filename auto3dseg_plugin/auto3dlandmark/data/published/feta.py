# SPDX-License-Identifier: Apache-2.0
"""FeTA 2.4: five lengths, so ten landmarks, in fetal brain T2 MRI.

The two ends of a length are the two voxels of a label in a realigned copy of the image; a SimpleITK transform
says how it was realigned. Ends are named by anatomy, in the realigned space, whose axes are the head's.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ...errors import LandmarkError
from ...geometry import lps_to_ras, voxel_to_world, world_to_voxel
from ...landmarks import LandmarkSet
from ..images import read_image
from .source import RawCase, Source, present_file, published_split, two_ends

__all__ = ["find_feta"]

# Label value, name, the axis it runs along, and its ends in the order of that axis.
LENGTHS = (
    (1, "LCC", 1, ("LCC_posterior", "LCC_anterior")),
    (2, "HV", 2, ("HV_inferior", "HV_superior")),
    (3, "bBIP", 0, ("bBIP_left", "bBIP_right")),
    (4, "sBIP", 0, ("sBIP_left", "sBIP_right")),
    (5, "TCD", 0, ("TCD_left", "TCD_right")),
)
NAMES = tuple(name for *_, ends in LENGTHS for name in ends)


def find_feta(folder: Path) -> Source:
    """
    All cases below a folder that holds ``sub-XXX/anat`` and ``derivatives/biometry``.
    """
    cases = {}
    for path in sorted(folder.rglob("sub-*/anat/*_T2w.nii.gz")):
        if "derivatives" not in path.relative_to(folder).parts:
            cases[path.parents[1].name] = partial(_read, path)
    training, testing = published_split("feta")
    layout = "sub-XXX/anat/*_T2w.nii.gz with derivatives/biometry/sub-XXX/anat/*_meas.nii.gz and *_trf.txt."
    return Source(
        NAMES,
        cases,
        training,
        testing,
        layout,
        pairs=[ends for _, _, axis, ends in LENGTHS if axis == 0],
        lengths={name: ends for _, name, _, ends in LENGTHS},
    )


def _read(image: Path) -> RawCase:
    folder = image.parents[2] / "derivatives" / "biometry" / image.parents[1].name / "anat"
    measured, transform = _only(folder, "*_meas.nii.gz"), _only(folder, "*_trf.txt")
    labels, affine = read_image(measured)
    points: list[np.ndarray] = []
    for value, name, axis, _ in LENGTHS:
        voxels = np.argwhere(labels == value)
        if len(voxels) != 2:
            raise LandmarkError(f"{measured}: label {value} ({name}) has {len(voxels)} voxels, not 2.")
        first, second = voxel_to_world(voxels, affine)
        points += two_ends(first, second, axis)
    forward, backward = _both_ways(transform, np.array(points))
    array, image_affine = read_image(present_file(image))
    # A resampling transform leads from the realigned grid to the image; a file that holds its inverse shows
    # by its points lying off the brain.
    for moved in (forward, backward):
        if _on_content(array, world_to_voxel(moved, image_affine)):
            return RawCase(image, LandmarkSet(NAMES, moved))
    raise LandmarkError(f"{transform}: leads the landmarks outside the image, forwards and backwards.")


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise LandmarkError(f"{folder}: holds {len(found)} files {pattern}, not one.")
    return present_file(found[0])


def _both_ways(path: Path, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points in RAS millimetres, moved by a file's transform and by its inverse."""
    import itk  # slow to import

    try:
        (transform,) = itk.transformread(str(path))
        inverse = transform.GetInverseTransform()
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise LandmarkError(f"{path}: cannot be read as a transform of SimpleITK ({reason}).") from error
    lps = lps_to_ras(points)
    moved = [
        [list(way.TransformPoint(list(map(float, point)))) for point in lps] for way in (transform, inverse)
    ]
    return lps_to_ras(np.array(moved[0])), lps_to_ras(np.array(moved[1]))


def _on_content(array: np.ndarray, voxels: np.ndarray, reach: int = 3) -> bool:
    """Whether every point lies in the image, within ``reach`` voxels of something."""
    for place in np.round(voxels).astype(int):
        if (place < 0).any() or (place >= array.shape).any():
            return False
        if not array[tuple(slice(max(at - reach, 0), at + reach + 1) for at in place)].any():
            return False
    return True
