# SPDX-License-Identifier: Apache-2.0
"""Where a folder keeps its images and its landmarks, and which images there are. All commands ask here.

Known are ``images/`` beside ``landmarks/``; a MONAI Label studies folder (images in the root,
``labels/final/``); images and landmark files side by side; a folder for each case that holds its image and
its landmark file; and, as SlicerMorph's users keep them, a folder of images and one of landmark files,
whatever they are called. Which landmarks belong to which image is for :mod:`.annotations`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import LandmarkError
from ..formats import landmark_suffix
from ..formats.shared_table import is_shared_table
from .images import IMAGE_SUFFIXES, case_id, holds_image, is_dicom
from .pairing import pair_names

__all__ = [
    "LAYOUTS",
    "find_images",
    "image_folder",
    "images_in",
    "landmark_files",
    "landmark_stem",
    "list_images",
    "places_in",
    "prediction_path",
    "question",
]

LAYOUTS = (
    "images/CASE.nii.gz with landmarks/CASE.mrk.json, or CASE.nii.gz with labels/final/CASE.mrk.json, "
    "or CASE.nii.gz beside CASE.mrk.json, or a folder CASE with both, or a folder of images and a folder of "
    "landmark files, or one CSV with case,name,x,y,z"
)
NO_LANDMARKS = ("groups.csv", "pairs.csv", "predictions.csv", "failed.csv")
REVIEW = "review"
NO_CASES = ("labels", REVIEW)  # what reviewing leaves in a studies folder


def list_images(folder: str | os.PathLike, doubled: dict[str, str] | None = None) -> dict[str, Path]:
    """
    The images of a folder by case, sorted: image files or, where there are none, folders that hold a DICOM
    series or image files of their own, one for each channel.

    Args:
        doubled: gets a sentence for each case that has two images, which is left out; None: that is an error.

    Raises:
        LandmarkError: when there is no such folder, or two images belong to the same case.
    """
    return images_in(image_folder(folder), doubled)


def images_in(place: Path, doubled: dict[str, str] | None = None) -> dict[str, Path]:
    """
    As :func:`list_images`, for the place of the images itself.
    """
    images: dict[str, Path] = {}
    inside = _visible(place)
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


def image_folder(folder: str | os.PathLike) -> Path:
    """
    Where a folder keeps its images.

    Raises:
        LandmarkError: when there is no such folder.
    """
    return places_in(Path(folder), chosen=True)[0]


def prediction_path(folder: str | os.PathLike, image: str | os.PathLike, suffix: str = ".mrk.json") -> Path:
    """
    Where the points predicted for an image go: a file named after the case.
    """
    return Path(folder) / f"{case_id(image) or Path(image).name}{suffix}"


def places_in(folder: Path, chosen: bool = False) -> tuple[Path, Path]:
    """
    Where the images are, and where the landmark files are or would be.

    Args:
        chosen: somebody named the landmark files, so it need not be asked which folder of them is meant.

    Raises:
        LandmarkError: when there is no such folder, or one image folder has several landmark folders.
    """
    if not folder.is_dir():
        raise LandmarkError(f"{folder}: there is no such folder. Give the folder that holds {LAYOUTS}.")
    final = folder / "labels" / "final"
    inside = _visible(folder)
    if (folder / "images").is_dir():
        beside = folder / "landmarks"
        if final.is_dir() and not beside.is_dir():
            return folder / "images", final
        places = [path for path in inside if path.is_dir() and path.name != "images"]
        return folder / "images", _only(folder, beside, places, chosen)
    cases = {case for path in inside if path.is_file() and (case := case_id(path))}
    if cases:
        beside_them = [path for path in landmark_files(inside) if not is_shared_table(path)]
        side_by_side = pair_names(cases, map(landmark_stem, beside_them)).names_of
        return folder, folder if side_by_side and not final.is_dir() else final
    folders = [path for path in inside if path.is_dir() and path.name != REVIEW]
    images = [path for path in folders if any(case_id(file) and file.is_file() for file in path.iterdir())]
    labels = [path for path in folders if landmark_files(path.iterdir())]
    labels = [path for path in labels if path not in images]
    if final.is_dir() or not labels:
        return folder, final
    where = _only(folder, final, labels, chosen) if len(images) == 1 or len(labels) == 1 else final
    return (images[0] if len(images) == 1 else folder), where


def _only(folder: Path, usual: Path, places: Iterable[Path], chosen: bool) -> Path:
    """The one folder of landmark files among several, or in the usual one; that one where there is none."""
    if usual.is_dir():
        if landmark_files(usual.iterdir()):
            return usual
        places = [path for path in _visible(usual) if path.is_dir()]
    found = [path for path in places if path.name != REVIEW and landmark_files(path.iterdir())]
    if len(found) > 1 and not chosen:
        answers = [path.relative_to(folder).as_posix() for path in found]
        raise question(folder, "folders with landmarks", answers)
    return found[0] if len(found) == 1 else usual


def question(folder: Path, what: str, answers: Iterable[str]) -> LandmarkError:
    """
    For a folder that can be read in several ways: what is there more than once, and what to say.

    Args:
        answers: values of the option ``landmarks``.
    """
    answers = sorted(set(answers))
    options = " or ".join(f"--landmarks '{answer}'" for answer in answers[:3])
    return LandmarkError(f"{folder}: there are several {what}. Which are meant? Keep one, or say {options}.")


def landmark_files(paths: Iterable[Path]) -> list[Path]:
    """
    Those files that hold landmarks, by their suffix, sorted.
    """
    return [
        path
        for path in sorted(paths)
        if landmark_suffix(path) and not path.name.startswith(".") and path.name not in NO_LANDMARKS
    ]


def landmark_stem(path: Path) -> str:
    """
    The name of a landmark file without its suffix.
    """
    return path.name[: -len(landmark_suffix(path) or "")]


def _visible(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
