# SPDX-License-Identifier: Apache-2.0
"""Read a medical image as an array and an affine, without torch.

Training and inference read through MONAI; this is for looking at a dataset before anything is learnt.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from .landmarks import LandmarkError

__all__ = ["IMAGE_SUFFIXES", "case_id", "list_images", "read_image", "reorient_to_ras"]

NIFTI_SUFFIXES = (".nii.gz", ".nii")
ITK_SUFFIXES = (".nrrd", ".mha", ".mhd")
IMAGE_SUFFIXES = NIFTI_SUFFIXES + ITK_SUFFIXES


def case_id(path: str | os.PathLike) -> str | None:
    """
    The name of the case an image belongs to: its file name without the suffix, dots kept; None for other files.
    """
    name = Path(path).name
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if name.lower().endswith(suffix)), None)
    return name[: -len(suffix)] if suffix and not name.startswith(".") and len(name) > len(suffix) else None


def list_images(folder: str | os.PathLike) -> dict[str, Path]:
    """
    The images of a folder by case, sorted.

    Raises:
        LandmarkError: when two images belong to the same case.
    """
    images: dict[str, Path] = {}
    for path in sorted(Path(folder).iterdir()):
        case = case_id(path)
        if case is None or path.is_dir():
            continue
        if case in images:
            raise LandmarkError(
                f"{path}: case {case!r} has a second image, {images[case].name}. Keep one of them."
            )
        images[case] = path
    return images


def read_image(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """
    Read an image file.

    Returns:
        array: voxels in the axis order of the file's affine, shape (H, W, D) for an image of one channel.
        affine: voxel to RAS millimetres, shape (4, 4).

    Raises:
        LandmarkError: when the file is missing, empty, truncated or of an unknown kind.
    """
    name = Path(path).name.lower()
    if not os.path.isfile(path):
        raise LandmarkError(f"{path}: there is no such file.")
    if os.path.getsize(path) == 0:
        raise LandmarkError(f"{path}: the file is empty. Copy it again.")
    try:
        if name.endswith(NIFTI_SUFFIXES):
            image: Any = nib.load(path)
            return np.asanyarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)
        if name.endswith(ITK_SUFFIXES):
            return _read_itk(path)
    except Exception as error:  # the readers raise whatever zlib, struct or ITK raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise LandmarkError(
            f"{path}: cannot be read as an image ({reason}). Copy or export it again."
        ) from error
    raise LandmarkError(f"{path}: unknown kind of image. Known suffixes: {', '.join(IMAGE_SUFFIXES)}.")


def _read_itk(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    import itk  # slow to import, and only these formats need it

    image = itk.imread(str(path))
    array = itk.array_from_image(image)
    spatial = image.GetImageDimension()
    if spatial != 3:
        return array, np.eye(4)
    array = np.moveaxis(array, 0, 2).swapaxes(0, 1)  # ITK arrays are (z, y, x, ...)
    affine = np.eye(4)
    affine[:3, :3] = itk.array_from_matrix(image.GetDirection()) * np.array(list(image.GetSpacing()))
    affine[:3, 3] = list(image.GetOrigin())
    return array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def reorient_to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Flip and swap axes so that i, j, k run closest to right, anterior, superior; nothing is resampled.

    Args:
        array: shape (H, W, D).
        affine: voxel to RAS millimetres, shape (4, 4).
    """
    orientation = nib.orientations.io_orientation(affine)
    turned = nib.orientations.apply_orientation(array, orientation)
    return turned, affine @ nib.orientations.inv_ornt_aff(orientation, array.shape)
