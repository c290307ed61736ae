# SPDX-License-Identifier: Apache-2.0
"""Where a dataset's folder keeps its images and its landmark files, and which belong together."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import LandmarkError
from ..formats import SUFFIXES, landmark_suffix
from .images import case_id, list_images

__all__ = ["find_pairs", "list_images", "prediction_path"]

LAYOUTS = (
    "images/CASE.nii.gz with landmarks/CASE.mrk.json, or CASE.nii.gz with labels/final/CASE.mrk.json, "
    "or CASE.nii.gz beside CASE.mrk.json"
)
NO_LANDMARKS = ("groups.csv",)


def find_pairs(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """
    The images and the landmark files of a dataset, by case.

    The folder has ``images/`` and ``landmarks/``, or is a MONAI Label studies folder (images in the root and
    ``labels/final/``), or has images and landmark files side by side, or, as SlicerMorph's users keep them, one folder
    of images and one of landmark files, whatever they are called.

    Raises:
        LandmarkError: when the folder is missing or is none of these, or files do not pair up.
    """
    if not folder.is_dir():
        raise LandmarkError(f"{folder}: there is no such folder. Give the folder that holds {LAYOUTS}.")
    image_folder, label_folder = _folders(folder)
    images = list_images(image_folder)
    if not images:
        raise LandmarkError(f"{folder}: holds no images. Expected {LAYOUTS}.")
    if not label_folder.is_dir():
        raise LandmarkError(
            f"{folder}: there is no folder {label_folder.relative_to(folder)}. Expected {LAYOUTS}."
        )
    labels = _list_labels(label_folder)
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


def _folders(folder: Path) -> tuple[Path, Path]:
    """Where the images are, and where the landmark files."""
    if (folder / "images").is_dir():
        return folder / "images", folder / "landmarks"
    studies = folder, folder / "labels" / "final"
    if studies[1].is_dir():
        return studies
    inside = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    cases = {case_id(path) for path in inside if path.is_file()}
    if any(_landmark_case(path) in cases for path in inside if landmark_suffix(path)):
        return folder, folder
    folders = [path for path in inside if path.is_dir()]
    images = [path for path in folders if any(case_id(file) and file.is_file() for file in path.iterdir())]
    labels = [path for path in folders if any(landmark_suffix(file) for file in path.iterdir())]
    return (images[0], labels[0]) if len(images) == len(labels) == 1 and images != labels else studies


def _landmark_case(path: Path) -> str:
    return path.name[: -len(landmark_suffix(path) or "")]


def _list_labels(folder: Path) -> dict[str, Path]:
    labels: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if landmark_suffix(path) is None or path.name.startswith(".") or path.name in NO_LANDMARKS:
            continue
        case = _landmark_case(path)
        if case in labels:
            raise LandmarkError(
                f"{path}: case {case!r} has a second landmark file, {labels[case].name}. Keep one."
            )
        labels[case] = path
    return labels


def prediction_path(folder: str | os.PathLike, image: str | os.PathLike, suffix: str = ".mrk.json") -> Path:
    """
    Where the points predicted for an image go: a file named after the case.
    """
    return Path(folder) / f"{case_id(image) or Path(image).name}{suffix}"
