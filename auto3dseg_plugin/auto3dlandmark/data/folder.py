# SPDX-License-Identifier: Apache-2.0
"""What a folder holds: which images, which landmark files, and which belong together. All commands ask here.

Known are ``images/`` beside ``landmarks/``; a MONAI Label studies folder (images in the root,
``labels/final/``); images and landmark files side by side; and, as SlicerMorph's users keep them, a folder of
images and one of landmark files, whatever they are called. Each may have no landmarks yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import LandmarkError
from ..formats import SUFFIXES, landmark_suffix
from .images import IMAGE_SUFFIXES, case_id, holds_image, is_dicom

__all__ = [
    "find_images",
    "find_pairs",
    "has_landmarks",
    "image_folder",
    "landmark_folder",
    "list_images",
    "list_landmarks",
    "prediction_path",
]

LAYOUTS = (
    "images/CASE.nii.gz with landmarks/CASE.mrk.json, or CASE.nii.gz with labels/final/CASE.mrk.json, "
    "or CASE.nii.gz beside CASE.mrk.json, or a folder of images and a folder of landmark files"
)
NO_LANDMARKS = ("groups.csv", "predictions.csv", "failed.csv")
NO_CASES = ("labels", "review")  # what reviewing leaves in a studies folder


def list_images(folder: str | os.PathLike, doubled: dict[str, str] | None = None) -> dict[str, Path]:
    """
    The images of a folder by case, sorted: image files or, where there are none, folders that hold a DICOM
    series or image files of their own, one for each channel.

    Args:
        doubled: gets a sentence for each case that has two images, which is left out; None: that is an error.

    Raises:
        LandmarkError: when there is no such folder, or two images belong to the same case.
    """
    return _images_in(image_folder(folder), doubled)


def list_landmarks(folder: str | os.PathLike) -> dict[str, Path]:
    """
    The landmark files of a folder by case, sorted; nothing where there are none.

    Raises:
        LandmarkError: when there is no such folder, or two files belong to the same case.
    """
    labels = landmark_folder(folder)
    return _landmarks_in(labels) if labels.is_dir() else {}


def has_landmarks(folder: str | os.PathLike) -> bool:
    """
    Whether a folder's images come with landmarks.

    Raises:
        LandmarkError: as :func:`list_landmarks`.
    """
    return (Path(folder) / "dataset.json").is_file() or bool(list_landmarks(folder))


def find_images(path: str | os.PathLike) -> list[Path]:
    """
    The images to look at: those of a folder, or one image, which may be a folder that holds a DICOM series.

    Raises:
        LandmarkError: when there are none.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    images = list(list_images(path).values())
    if not images and any(is_dicom(file) for file in path.iterdir()):
        return [path]
    if not images:
        raise LandmarkError(f"{path}: holds no images ({', '.join(IMAGE_SUFFIXES)}, or folders with DICOM).")
    return images


def find_pairs(folder: str | os.PathLike) -> tuple[dict[str, Path], dict[str, Path]]:
    """
    The images and the landmark files of a dataset, by case.

    Raises:
        LandmarkError: when the folder is missing, holds no images or no landmarks, or files do not pair up.
    """
    folder = Path(folder)
    images = list_images(folder)
    if not images:
        raise LandmarkError(f"{folder}: holds no images. Expected {LAYOUTS}.")
    label_folder = landmark_folder(folder)
    if not label_folder.is_dir():
        raise LandmarkError(
            f"{folder}: there is no folder {label_folder.relative_to(folder)}. Expected {LAYOUTS}."
        )
    labels = _landmarks_in(label_folder)
    orphans = sorted(set(labels) - set(images))
    if orphans:
        raise LandmarkError(
            f"{labels[orphans[0]]}: there is no image for these landmarks ({len(orphans)} such files: "
            f"{', '.join(orphans[:5])}). Name both alike: CASE.nii.gz and CASE.mrk.json."
        )
    if not labels:
        raise LandmarkError(
            f"{label_folder}: no landmark file ({', '.join(SUFFIXES)}) fits an image. Expected {LAYOUTS}."
        )
    return images, labels


def image_folder(folder: str | os.PathLike) -> Path:
    """
    Where a folder keeps its images.

    Raises:
        LandmarkError: when there is no such folder.
    """
    return _places(Path(folder))[0]


def landmark_folder(folder: str | os.PathLike) -> Path:
    """
    Where a folder keeps its landmark files, or is to keep them: it need not be there yet.

    Raises:
        LandmarkError: when there is no such folder.
    """
    return _places(Path(folder))[1]


def prediction_path(folder: str | os.PathLike, image: str | os.PathLike, suffix: str = ".mrk.json") -> Path:
    """
    Where the points predicted for an image go: a file named after the case.
    """
    return Path(folder) / f"{case_id(image) or Path(image).name}{suffix}"


def _places(folder: Path) -> tuple[Path, Path]:
    """Where the images are, and where the landmark files are or would be."""
    if not folder.is_dir():
        raise LandmarkError(f"{folder}: there is no such folder. Give the folder that holds {LAYOUTS}.")
    final = folder / "labels" / "final"
    if (folder / "images").is_dir():
        beside = folder / "landmarks"
        return folder / "images", final if final.is_dir() and not beside.is_dir() else beside
    inside = _visible(folder)
    cases = {case_id(path) for path in inside if path.is_file()} - {None}
    if cases:
        side_by_side = any(_landmark_case(path) in cases for path in _landmark_files(inside))
        return folder, folder if side_by_side and not final.is_dir() else final
    folders = [path for path in inside if path.is_dir() and path.name not in NO_CASES]
    images = [path for path in folders if any(case_id(file) and file.is_file() for file in path.iterdir())]
    labels = [path for path in folders if any(_landmark_files(path.iterdir()))]
    if final.is_dir() or not labels or labels == images:
        return folder, final
    # One of several folders of landmark files is not chosen here: which rater's?
    return (images[0] if len(images) == 1 else folder), (labels[0] if len(labels) == 1 else final)


def _visible(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _images_in(folder: Path, doubled: dict[str, str] | None = None) -> dict[str, Path]:
    images: dict[str, Path] = {}
    inside = _visible(folder)
    for path in inside:
        case = case_id(path)
        if case is None or path.is_dir():
            continue
        if case in images:
            said = f"{path}: case {case!r} has a second image, {images[case].name}. Keep one of them."
            if doubled is None:
                raise LandmarkError(said)
            doubled[case] = said
        images[case] = path
    images = {case: path for case, path in images.items() if case not in (doubled or ())}
    return images or {
        path.name: path
        for path in inside
        if path.is_dir() and path.name not in NO_CASES and holds_image(path)
    }


def _landmark_files(paths: Iterable[Path]) -> list[Path]:
    return [
        path
        for path in paths
        if landmark_suffix(path) and not path.name.startswith(".") and path.name not in NO_LANDMARKS
    ]


def _landmark_case(path: Path) -> str:
    return path.name[: -len(landmark_suffix(path) or "")]


def _landmarks_in(folder: Path) -> dict[str, Path]:
    labels: dict[str, Path] = {}
    for path in _landmark_files(sorted(folder.iterdir())):
        case = _landmark_case(path)
        if case in labels:
            raise LandmarkError(
                f"{path}: case {case!r} has a second landmark file, {labels[case].name}. Keep one."
            )
        labels[case] = path
    return labels
