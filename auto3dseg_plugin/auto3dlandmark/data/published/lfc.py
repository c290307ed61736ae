# SPDX-License-Identifier: Apache-2.0
"""LFC: six lengths, so twelve landmarks, in fetal brain T2 MRI; each length is a Line of 3D Slicer.

A file's points come in any order, so its ends are named by anatomy. Slicer stores the length too; it must
agree.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import LandmarkError
from ...files import read_json
from ...formats import read_landmarks
from ...landmarks import LandmarkSet
from ..folder import list_images
from .source import RawCase, Source, present_file, published_split, two_ends

__all__ = ["find_lfc"]

SIDES = {0: ("left", "right"), 1: ("posterior", "anterior"), 2: ("inferior", "superior")}
# The dataset's abbreviation, the common one, and the axis it runs along; in the order of the files.
LENGTHS = (
    ("CBD", "bBIP", 0),
    ("BBD", "sBIP", 0),
    ("TCD", "TCD", 0),
    ("FOD", "OFD", 1),
    ("HDV", "HDV", 2),
    ("ADV", "ADV", 1),
)
ENDS = {common: (f"{common}_{SIDES[axis][0]}", f"{common}_{SIDES[axis][1]}") for _, common, axis in LENGTHS}
NAMES = tuple(name for ends in ENDS.values() for name in ends)
TOLERANCE_MM = 0.1


def find_lfc(folder: Path) -> Source:
    """
    The cases of ``LFC_dataset``.
    """
    top = folder if (folder / "train").is_dir() else folder / "LFC_dataset"
    cases = {}
    for part in ("train", "valid"):
        images = list_images(top / part) if (top / part).is_dir() else {}
        for case, image in images.items():
            cases[case] = partial(_read, image, top / f"{part}_label" / case)
    training, testing = published_split("lfc")
    layout = "LFC_dataset/{train,valid}/ID.nii.gz with {train,valid}_label/ID/*.mrk.json, six lines."
    pairs = [ENDS[common] for _, common, axis in LENGTHS if axis == 0]
    return Source(NAMES, cases, training, testing, layout, pairs=pairs, lengths=ENDS)


def _read(image: Path, folder: Path) -> RawCase:
    points: list[np.ndarray] = []
    for path, (_, common, axis) in zip(_in_order(folder), LENGTHS):
        found = read_landmarks(present_file(path))
        if len(found) != 2 or not found.present.all():
            raise LandmarkError(f"{path}: is no line of two placed points.")
        measured = _stored_length(path)
        length = float(np.linalg.norm(found.points[0] - found.points[1]))
        if measured is not None and abs(measured - length) > TOLERANCE_MM:
            raise LandmarkError(
                f"{path}: its points are {length:.2f} mm apart, but it says {measured:.2f} mm ({common})."
            )
        points += two_ends(found.points[0], found.points[1], axis)
    return RawCase(present_file(image), LandmarkSet(NAMES, np.array(points)))


def _in_order(folder: Path) -> list[Path]:
    """The six files in the order of LENGTHS: by the abbreviations in their names, or by their numbers."""
    files = sorted(folder.glob("*.mrk.json"))
    if len(files) != len(LENGTHS):
        raise LandmarkError(f"{folder}: holds {len(files)} lines (*.mrk.json), not {len(LENGTHS)}.")
    named = [
        [
            path
            for path in files
            if re.search(rf"(?<![A-Za-z])({short}|{common})(?![A-Za-z])", path.name, re.IGNORECASE)
        ]
        for short, common, _ in LENGTHS
    ]
    if all(len(found) == 1 for found in named):
        return [found[0] for found in named]
    numbers = {path: re.search(r"\d+", path.name) for path in files}
    order = {
        path: int(match.group()) if match else 0 for path, match in numbers.items()
    }  # Slicer's L, L_1, L_2
    if len(set(order.values())) != len(files):
        raise LandmarkError(f"{folder}: the names of its lines do not tell which is which.")
    return sorted(files, key=order.__getitem__)


def _stored_length(path: Path) -> float | None:
    for node in read_json(path)["markups"]:
        for measurement in node.get("measurements") or []:
            if isinstance(measurement, dict) and measurement.get("name", "length") == "length":
                value = measurement.get("value")
                return float(value) if isinstance(value, (int, float)) else None
    return None
