# SPDX-License-Identifier: Apache-2.0
"""Which landmarks a folder holds, and which image each of them belongs to.

They lie in files of their own, in the folders of their cases, or in one table for all cases. What could be
read in two ways is a question, answered by naming the landmark files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import LandmarkError
from ..formats import SUFFIXES, landmark_file
from ..formats.shared_table import is_shared_table, table_cases
from ..landmarks import some_names
from .folder import LAYOUTS, images_in, landmark_files, landmark_stem, places_in, question
from .pairing import pair_names

__all__ = ["FolderContent", "find_pairs", "has_landmarks", "read_folder"]

CASE = "CASE"  # what stands for the name of an image in the name of a landmark file
NOT_TO_LEARN = {"review", "original"}  # folders of predictions and of what was replaced


@dataclass(frozen=True)
class FolderContent:
    """
    What a folder holds.

    Args:
        images: by case; a case is called after its image.
        labels: the landmark file of each annotated case, or ``TABLE.csv#CASE``.
        orphans: landmark files without an image.
        rule: how images and landmark files were paired, in a sentence; None where their names are equal.
        label_folder: where new landmark files go; None: into the case's own folder.
    """

    images: dict[str, Path]
    labels: dict[str, Path]
    orphans: tuple[Path, ...]
    rule: str | None
    label_folder: Path | None


def has_landmarks(folder: str | os.PathLike, landmarks: str | None = None) -> bool:
    """
    Whether a folder's images come with landmarks.

    Raises:
        LandmarkError: as :func:`read_folder`.
    """
    if landmarks is not None and not landmark_files(Path(folder).rglob("*")):
        return False  # where nothing is, nothing is chosen
    return (Path(folder) / "dataset.json").is_file() or bool(read_folder(folder, landmarks).labels)


def find_pairs(folder: str | os.PathLike, landmarks: str | None = None) -> FolderContent:
    """
    The images and the landmark files of a dataset, which has both.

    Args:
        landmarks: as for :func:`read_folder`.

    Raises:
        LandmarkError: when the folder is missing, holds no images or no landmarks, or files do not pair up.
    """
    folder = Path(folder)
    content = read_folder(folder, landmarks)
    if not content.images:
        raise LandmarkError(f"{folder}: holds no images. Expected {LAYOUTS}.")
    if content.orphans:
        names = some_names(list(content.images))
        advice = (
            f"The table calls cases after their images, which are {names}."
            if landmark_file(content.orphans[0]) != content.orphans[0]
            else "Name both alike: CASE.nii.gz and CASE.mrk.json."
        )
        raise LandmarkError(
            f"{content.orphans[0]}: there is no image for these landmarks ({len(content.orphans)} such: "
            f"{some_names([path.name for path in content.orphans])}). {advice}"
        )
    if not content.labels:
        place = content.label_folder or folder
        fault = (
            f"{place}: no landmark file ({', '.join(SUFFIXES)}) fits an image"
            if place.is_dir()
            else f"{folder}: there is no folder {place.relative_to(folder)}"
        )
        for table in [path for path in landmark_files(folder.iterdir()) if path.suffix.lower() == ".csv"]:
            with open(table, encoding="utf-8-sig", errors="replace") as stream:
                fault += (
                    f". {table.name} is no table of landmarks, its header is {stream.readline(80).strip()!r}"
                )
        raise LandmarkError(f"{fault}. Expected {LAYOUTS}.")
    return content


def read_folder(
    folder: str | os.PathLike, landmarks: str | None = None, doubled: dict[str, str] | None = None
) -> FolderContent:
    """
    The images of a folder, and their landmarks as far as there are some.

    Args:
        landmarks: which landmark files are meant, where there are several for an image: a folder, a table, or
            a pattern such as ``*-1.mrk.json``, all relative to the folder.
        doubled: as for :func:`list_images`.

    Raises:
        LandmarkError: when there is no such folder, or it can be read in more than one way.
    """
    folder = Path(folder)
    place, label_folder = places_in(folder, landmarks is not None)
    images = images_in(place, doubled)
    if landmarks is not None:
        files, label_folder = _chosen(folder, landmarks, label_folder, images)
    else:
        files = landmark_files(label_folder.iterdir()) if label_folder.is_dir() else []
        files = files or _in_case_folders(images) or _tables(folder)
    tables = [file for file in files if is_shared_table(file)]
    if len(tables) > 1:
        raise question(folder, "tables of landmarks", [table.name for table in tables])
    named: dict[str, list[Path]] = {}
    for file in files:
        if file not in tables:
            named.setdefault(_name(file, images), []).append(file)
    if not named and tables:
        named = {case: [path] for case, path in table_cases(tables[0]).items()}
    pairing = pair_names(images, named)
    labels = {
        case: [path for name in names for path in named[name]] for case, names in pairing.names_of.items()
    }
    for case, paths in labels.items():
        if len(paths) > 1:
            patterns = [_pattern(case, path) for path in paths]
            raise question(folder, f"landmark files for the image {images[case].name!r}", patterns)
    for name, fitting in pairing.images_of.items():
        if len(fitting) > 1:
            raise LandmarkError(
                f"{named[name][0]}: fits the images {some_names(fitting)}. Put the channels of a case into a "
                "folder of its own, named after the case, or name both alike: CASE.nii.gz and CASE.mrk.json."
            )
    found = {case: labels[case][0] for case in images if case in labels}
    in_case_folders = bool(found) and all(path.parent == images[case] for case, path in found.items())
    return FolderContent(
        images,
        found,
        tuple(path for name in pairing.images_of for path in named[name]),
        _rule(found, in_case_folders),
        None if in_case_folders else label_folder,
    )


def _chosen(
    folder: Path, landmarks: str, label_folder: Path, images: Mapping[str, Path]
) -> tuple[list[Path], Path]:
    """The landmark files that somebody named, and where new ones go."""
    named = folder / landmarks
    if named.is_dir():
        return landmark_files(named.iterdir()), named
    files = [named] if named.is_file() else []
    if CASE in landmarks:
        places = [base / landmarks.replace(CASE, case) for case in images for base in (folder, label_folder)]
        files = landmark_files({path for path in places if path.is_file()})
    elif not files and not landmarks.startswith(("/", "..")):
        inside = folder.rglob(landmarks)
        files = landmark_files(p for p in inside if not NOT_TO_LEARN & set(p.relative_to(folder).parts))
    if not files:
        raise LandmarkError(
            f"{folder}: landmarks={landmarks!r} names no landmark file ({', '.join(SUFFIXES)}) there. Give a "
            "folder, a table, or a pattern such as '*-1.mrk.json' or 'CASE.fcsv'."
        )
    return files, label_folder


def _tables(folder: Path) -> list[Path]:
    """Tables of the landmarks of all cases that lie in the dataset's folder."""
    return [path for path in landmark_files(folder.iterdir()) if is_shared_table(path)]


def _in_case_folders(images: Mapping[str, Path]) -> list[Path]:
    """The landmark files that lie in the folders of their cases."""
    folders = [path for path in images.values() if path.is_dir()]
    return [file for path in folders for file in landmark_files(path.iterdir())]


def _name(file: Path, images: Mapping[str, Path]) -> str:
    """What tells the case of a landmark file: the folder of the case that it lies in, or its own name."""
    return file.parent.name if images.get(file.parent.name) == file.parent else landmark_stem(file)


def _pattern(case: str, path: Path) -> str:
    """What chooses this landmark file and its like in the other cases."""
    stem = landmark_stem(path)
    suffix = path.name[len(stem) :]
    if not stem.startswith(case):
        return path.name
    return f"{CASE}{suffix}" if stem == case else f"*{stem[len(case) :]}{suffix}"


def _rule(labels: Mapping[str, Path], in_case_folders: bool) -> str | None:
    """How landmarks were found, where it is not by equal names."""
    other = {case: path for case, path in labels.items() if landmark_stem(path) != case}
    if not other:
        return None
    case, path = next(iter(other.items()))
    if landmark_file(path) != path:
        return f"the landmarks of all cases are in {landmark_file(path).name}"
    if in_case_folders:
        return f"a folder for each case holds its landmarks, as in {case}/{path.name}"
    return f"{len(other)} landmark files have other names than their images, such as {path.name} of {case}"
