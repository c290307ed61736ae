# SPDX-License-Identifier: Apache-2.0
"""Landmark files: one table from suffix to reader and writer. Each format has a module of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..errors import LandmarkError
from ..landmarks import LandmarkSet
from .fcsv import read_fcsv, write_fcsv
from .markups import read_markups, write_markups
from .shared_table import landmark_file, read_case_of_table
from .table import read_table, write_table

__all__ = ["SUFFIXES", "landmark_file", "landmark_suffix", "read_landmarks", "write_landmarks"]

Reader = Callable[[str | os.PathLike], LandmarkSet]
Writer = Callable[[str | os.PathLike, LandmarkSet], None]

FORMATS: dict[str, tuple[Reader, Writer]] = {
    ".mrk.json": (read_markups, write_markups),
    ".fcsv": (read_fcsv, write_fcsv),
    ".csv": (read_table, write_table),
}
SUFFIXES = tuple(FORMATS)


def landmark_suffix(path: str | os.PathLike) -> str | None:
    """
    The suffix of a landmark file we can read, such as ``.mrk.json``, or None.
    """
    name = Path(path).name
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def read_landmarks(path: str | os.PathLike) -> LandmarkSet:
    """
    Read the landmarks of one case, in RAS millimetres.

    Args:
        path: a file, or ``TABLE.csv#CASE``.

    Raises:
        LandmarkError: when the suffix is unknown or the file is broken; the message names the file.
    """
    of_table = read_case_of_table(path)
    return of_table if of_table is not None else _format_of(path)[0](path)


def write_landmarks(path: str | os.PathLike, landmarks: LandmarkSet) -> None:
    """
    Write the landmarks of one case, whole or not at all.

    Raises:
        LandmarkError: when the suffix is unknown or the place cannot be written to.
    """
    _format_of(path)[1](path, landmarks)


def _format_of(path: str | os.PathLike) -> tuple[Reader, Writer]:
    suffix = landmark_suffix(path)
    if suffix is None:
        raise LandmarkError(f"{path}: unknown kind of landmark file. Known suffixes: {', '.join(SUFFIXES)}.")
    return FORMATS[suffix]
