# SPDX-License-Identifier: Apache-2.0
"""Read a medical image as an array and an affine, without torch.

The image of a case is a file, or a folder: a DICOM series, or one file for each channel. Training and
inference read through MONAI; this is for looking at a dataset before anything is learnt.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ..errors import LandmarkError
from .headers import check_header

__all__ = [
    "IMAGE_SUFFIXES",
    "UPLOAD_SUFFIXES",
    "case_id",
    "channel_files",
    "channel_name",
    "first_channel",
    "holds_image",
    "is_dicom",
    "is_nifti",
    "read_geometry",
    "read_image",
    "refuse_other_grids",
    "reorient_to_ras",
]

NIFTI_SUFFIXES = (".nii.gz", ".nii")
ITK_SUFFIXES = (".nrrd", ".mha", ".mhd")
IMAGE_SUFFIXES = NIFTI_SUFFIXES + ITK_SUFFIXES
UPLOAD_SUFFIXES = (*NIFTI_SUFFIXES, ".nrrd")  # MetaImage headers may name any file of this machine
DICOM_MARK_AT, DICOM_MARK = 128, b"DICM"
POSITION_TAG = "0020|0032"
UNEVEN = 0.02  # more than rounding in the header explains


def case_id(path: str | os.PathLike) -> str | None:
    """
    The name of the case an image file belongs to: its name without the suffix, dots kept; None for other
    files.
    """
    name = Path(path).name
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if name.lower().endswith(suffix)), None)
    return name[: -len(suffix)] if suffix and not name.startswith(".") and len(name) > len(suffix) else None


def holds_image(folder: Path) -> bool:
    """
    Whether a folder holds image files or DICOM slices.
    """
    return any(case_id(path) or is_dicom(path) for path in folder.iterdir())


def is_dicom(path: Path) -> bool:
    """
    Whether a file is a DICOM slice, by its first bytes.
    """
    if not path.is_file():
        return False
    with open(path, "rb") as stream:
        stream.seek(DICOM_MARK_AT)
        return stream.read(len(DICOM_MARK)) == DICOM_MARK


def channel_files(path: str | os.PathLike) -> list[Path]:
    """
    What readers take for an image: a file, a DICOM series' folder, or files in the order of their channels'
    names.

    Raises:
        LandmarkError: when nothing is there, or a folder holds no image, or several DICOM series.
    """
    path = Path(path)
    if not path.exists():
        raise LandmarkError(f"{path}: there is no such file.")
    if not path.is_dir():
        return [path]
    files = [file for file in path.iterdir() if case_id(file) and file.is_file()]
    if files:
        return sorted(files, key=channel_name)
    if not holds_image(path):
        raise LandmarkError(f"{path}: holds neither image files nor a DICOM series.")
    _series_files(path)
    return [path]


def channel_name(path: Path) -> str:
    """
    What a channel with a file of its own is called: that file's name, without the case's, which is the
    folder's.
    """
    return (case_id(path) or path.name).removeprefix(path.parent.name).strip("_- ")


def _series_files(folder: Path) -> list[str]:
    """The slices of a folder's only DICOM series, in the order of their positions, as MONAI's ITKReader
    finds them."""
    import itk

    finder = itk.GDCMSeriesFileNames.New()
    finder.SetUseSeriesDetails(True)
    finder.AddSeriesRestriction("0008|0021")
    finder.SetDirectory(str(folder))
    series = finder.GetSeriesUIDs()
    if len(series) != 1:
        raise LandmarkError(
            f"{folder}: holds {len(series) or 'no readable'} DICOM series. Put one series into each case's "
            "folder."
        )
    files = list(finder.GetFileNames(series[0]))
    _check_slices(folder, files)
    return files


def _check_slices(folder: Path, files: Sequence[str]) -> None:
    """Whether slices say where they are, and none is missing between them: readers would not tell."""
    import itk

    reader, positions = itk.GDCMImageIO.New(), []
    for file in files:
        reader.SetFileName(file)
        reader.ReadImageInformation()
        if POSITION_TAG not in reader.GetMetaDataDictionary().GetKeys():
            raise LandmarkError(
                f"{file}: does not say where the slice lies. Export the series with its geometry."
            )
        positions.append([reader.GetOrigin(axis) for axis in range(3)])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1) if len(files) > 1 else np.ones(1)
    if steps.min() < 1e-3 or steps.max() > (1 + UNEVEN) * steps.min():
        raise LandmarkError(
            f"{folder}: its slices are {steps.min():.4g} to {steps.max():.4g} mm apart. Some are missing or "
            "there twice: copy the series again, or resample it to even slices."
        )


def read_image(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """
    Read an image: a file, a DICOM series, or a folder of channels.

    Returns:
        array: voxels in the axis order of the affine, shape (H, W, D), or (H, W, D, C) with several channels.
        affine: voxel to RAS millimetres, shape (4, 4).

    Raises:
        LandmarkError: when a file is missing, empty, truncated or of an unknown kind, or channels differ in
            geometry.
    """
    files = channel_files(path)
    arrays, affines = zip(*(_read_one(file) for file in files))
    if len(files) == 1:
        array = arrays[0]
        return (array[..., 0] if array.ndim == 4 and array.shape[3] == 1 else array), affines[0]
    refuse_other_grids(files, arrays, affines)
    return np.stack(arrays, axis=-1), affines[0]


def read_geometry(path: str | os.PathLike) -> tuple[tuple[int, ...], np.ndarray]:
    """
    The voxels along each axis, three numbers, and the affine of an image; fast for NIfTI, whose voxels stay
    unread.

    Raises:
        LandmarkError: as :func:`read_image`.
    """
    if Path(path).is_file() and is_nifti(path):
        try:
            image: Any = nib.load(path)
            if len(image.shape) < 3:
                raise LandmarkError(f"{path}: has {len(image.shape)} axes. A 3D image is needed.")
            return tuple(image.shape[:3]), np.asarray(image.affine, dtype=np.float64)
        except LandmarkError:
            raise
        except Exception:  # read_image says what is wrong
            pass
    array, affine = read_image(path)
    return array.shape[:3], affine


def refuse_other_grids(files: Sequence[Path], arrays: Sequence[Any], affines: Sequence[Any]) -> None:
    """
    Stop when the channels of a case do not lie on the same grid of voxels.

    Raises:
        LandmarkError: with the file that differs from the first.
    """
    for file, array, affine in zip(files, arrays, affines):
        if array.shape != arrays[0].shape:
            difference = f"shape {tuple(array.shape)}, not {tuple(arrays[0].shape)}"
        elif not np.allclose(affine, affines[0], atol=1e-3):
            difference = f"affine {np.round(affine, 4).tolist()}, not {np.round(affines[0], 4).tolist()}"
        else:
            continue
        raise LandmarkError(
            f"{file}: has the {difference} as {files[0].name}. Resample the channels of a case to one grid."
        )


def is_nifti(path: str | os.PathLike) -> bool:
    """Whether a file is for nibabel; all others are for ITK."""
    return str(path).lower().endswith(NIFTI_SUFFIXES)


def _read_one(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if path.is_file() and os.path.getsize(path) == 0:
        raise LandmarkError(f"{path}: the file is empty. Copy it again.")
    if path.is_file():
        check_header(path)
    try:
        if path.is_dir():
            return _read_itk(_series_files(path))
        if is_nifti(path):
            image: Any = nib.load(path)
            return np.asanyarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)
        if path.name.lower().endswith(ITK_SUFFIXES):
            return _read_itk(str(path))
    except LandmarkError:
        raise
    except Exception as error:  # the readers raise whatever zlib, struct or ITK raise
        # ITK's texts tell about other files of this machine: they stay in the chain of errors.
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1] if is_nifti(path) else "by ITK"
        raise LandmarkError(
            f"{path}: cannot be read as an image ({reason}). Copy or export it again."
        ) from error
    raise LandmarkError(f"{path}: unknown kind of image. Known suffixes: {', '.join(IMAGE_SUFFIXES)}.")


def _read_itk(source: str | list[str]) -> tuple[np.ndarray, np.ndarray]:
    import itk  # slow to import, and only these formats need it

    image = itk.imread(source)
    array = itk.array_from_image(image)
    spatial = image.GetImageDimension()
    if spatial != 3:
        return array, np.eye(4)
    array = np.moveaxis(array, 0, 2).swapaxes(0, 1)  # ITK arrays are (z, y, x, ...)
    affine = np.eye(4)
    affine[:3, :3] = itk.array_from_matrix(image.GetDirection()) * np.array(list(image.GetSpacing()))
    affine[:3, 3] = list(image.GetOrigin())
    return array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def first_channel(array: np.ndarray) -> np.ndarray:
    """
    One volume to look at, shape (H, W, D).
    """
    return array[..., 0] if array.ndim == 4 else array


def reorient_to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Flip and swap axes so that i, j, k run closest to right, anterior, superior; nothing is resampled.

    Args:
        array: shape (H, W, D), or (H, W, D, C).
        affine: voxel to RAS millimetres, shape (4, 4).
    """
    orientation = nib.orientations.io_orientation(affine)
    turned = nib.orientations.apply_orientation(array, orientation)
    return turned, affine @ nib.orientations.inv_ornt_aff(orientation, array.shape[:3])
