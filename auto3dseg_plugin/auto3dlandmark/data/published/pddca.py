# SPDX-License-Identifier: Apache-2.0
"""PDDCA 1.4.1: five bony landmarks in head-and-neck CT; a third of the cases has none."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...formats import read_landmarks
from .source import RawCase, Source, present_file, published_split

__all__ = ["find_pddca"]

NAMES = ("chin", "mand_r", "mand_l", "odont_proc", "occ_bone")


def find_pddca(folder: Path) -> Source:
    """
    All cases below a folder that have a landmark file.
    """
    cases = {}
    for path in sorted(folder.rglob("0522c*/Landmarks_*.fcsv")):
        case = path.parent.name
        cases[case] = partial(_read, path.parent / "img.nrrd", path)
    training, testing = published_split("pddca")
    layout = "0522c0001/img.nrrd with 0522c0001/Landmarks_0001.fcsv."
    return Source(NAMES, cases, training, testing, layout, pairs=[("mand_l", "mand_r")])


def _read(image: Path, landmarks: Path) -> RawCase:
    return RawCase(present_file(image), read_landmarks(present_file(landmarks)).select(NAMES))
