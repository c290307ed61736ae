# SPDX-License-Identifier: Apache-2.0
"""Fiducial lists of 3D Slicer before version 5, and of much published data: ``.fcsv``.

Three comment lines (version, coordinate system, columns), then a row for each point, in millimetres. Files in
use leave comment lines out, number the system or name it, and have a field less or two more than their
columns say.

Source: Slicer's reader and writer, and published files. Readers before Slicer 4.11 take any named system for
RAS, so points are written as RAS, numbered 0.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re

import numpy as np

from ..errors import LandmarkError
from ..files import read_text, write_text
from ..geometry import lps_to_ras
from ..landmarks import ABSENT, PRESENT, UNKNOWN, LandmarkSet
from .descriptions import description_of, estimates_of, read_description

__all__ = ["header_lines", "read_fcsv", "write_fcsv"]

COLUMNS = (
    "id",
    "x",
    "y",
    "z",
    "ow",
    "ox",
    "oy",
    "oz",
    "vis",
    "sel",
    "lock",
    "label",
    "desc",
    "associatedNodeID",
)
SLICER_5 = ("positionStatus", "autoCreated")  # what Slicer 5 adds to rows without naming it
IS_LPS = {"0": False, "RAS": False, "1": True, "LPS": True}
HEADER = re.compile(r"#\s*(Markups fiducial file version|CoordinateSystem|columns)\s*=\s*(.*)", re.IGNORECASE)
VERSION = re.compile(r"[45](\.\d+)*$")
UNDEFINED, PREVIEW, DEFINED, MISSING = "0", "1", "2", "3"


def read_fcsv(path: str | os.PathLike) -> LandmarkSet:
    """
    Read a list of landmarks, named by the column ``label``, in RAS millimetres.

    A row whose coordinates are ``nan``, or whose position Slicer calls undefined, is unknown, or absent when
    marked so.

    Raises:
        LandmarkError: for an unknown version or coordinate system, or a row that is not as its columns say.
    """
    header, rows = _read(path)
    version, system = header.get("markups fiducial file version", "4.0"), header.get("coordinatesystem", "0")
    if not VERSION.match(version):
        raise LandmarkError(
            f"{path}: is of version {version!r}. Versions 4 and 5 are known; save it again in Slicer."
        )
    if system.upper() not in IS_LPS:
        raise LandmarkError(f"{path}: CoordinateSystem is {system!r}. Known systems: {', '.join(IS_LPS)}.")
    columns = (
        [name.strip() for name in header["columns"].split(",")] if "columns" in header else list(COLUMNS)
    )
    missing = [name for name in ("x", "y", "z", "label") if name not in columns]
    if missing:
        raise LandmarkError(f"{path}: has no column {missing[0]!r}, only {', '.join(columns)}.")
    names, points, status, described = [], [], [], []
    for number, row in rows:
        cells = _cells(path, number, columns, row)
        name = cells["label"]
        if not name:
            raise LandmarkError(f"{path}, row {number}: has no label. Name it after its landmark.")
        point, state = _position(path, number, cells)
        names.append(name)
        points.append(point)
        told = read_description(cells.get("desc", ""), f"{path}: {name!r}")
        described.append(told)
        absent = state == MISSING or told.missing
        status.append(PRESENT if not np.isnan(point[0]) else ABSENT if absent else UNKNOWN)
    array = np.array(points, dtype=float).reshape(-1, 3)
    try:
        return LandmarkSet(
            names,
            lps_to_ras(array) if IS_LPS[system.upper()] else array,
            np.array(status, int),
            np.array([told.score for told in described]),
            estimates_of(described),
        )
    except LandmarkError as error:
        raise LandmarkError(f"{path}: {error}") from error


def _read(path: str | os.PathLike) -> tuple[dict[str, str], list[tuple[int, list[str]]]]:
    """The header's values, and the rows with their line numbers."""
    stream = io.StringIO(read_text(path), newline="")
    header: dict[str, str] = {}
    skipped, start = 0, 0
    for line in stream:
        if not line.startswith("#"):  # comments stand at the top; below, "#" may begin a name
            break
        found = HEADER.match(line)
        if found:
            header[found.group(1).lower()] = found.group(2).strip().rstrip(",")
        skipped, start = skipped + 1, stream.tell()
    stream.seek(start)
    try:
        reader = csv.reader(stream, strict=True)
        return header, [
            (skipped + reader.line_num, row) for row in reader if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise LandmarkError(f"{path}: is not a table ({error}). Save it again in Slicer.") from error


def _cells(path: str | os.PathLike, number: int, columns: list[str], row: list[str]) -> dict[str, str]:
    more = len(row) - len(columns)
    if more not in (-1, 0, len(SLICER_5)):
        raise LandmarkError(f"{path}, row {number}: has {len(row)} fields, the columns are {len(columns)}.")
    return dict(zip([*columns, *SLICER_5] if more > 0 else columns, row))


def _position(path: str | os.PathLike, number: int, cells: dict[str, str]) -> tuple[np.ndarray, str]:
    """The position as it stands in the file, NaN where there is none, and what Slicer calls it."""
    state = cells.get("positionStatus", DEFINED).strip()
    if state not in (UNDEFINED, PREVIEW, DEFINED, MISSING):
        raise LandmarkError(f"{path}, row {number}: the position's status is {state!r}, not 0, 1, 2 or 3.")
    try:
        point = np.array([float(cells[axis]) for axis in "xyz"])
    except ValueError:
        point = np.full(3, math.inf)
    if np.isinf(point).any() or 0 < np.isnan(point).sum() < 3:
        shown = ", ".join(cells[axis] for axis in "xyz")
        raise LandmarkError(
            f"{path}, row {number}: the position is {shown}, not three numbers. Place it again."
        )
    return (point if state == DEFINED else np.full(3, math.nan)), state


def header_lines() -> str:
    """
    The three comment lines, of a file in RAS.
    """
    lines = ("Markups fiducial file version = 4.11", "CoordinateSystem = 0", f"columns = {','.join(COLUMNS)}")
    return "".join(f"# {line}\n" for line in lines)


def write_fcsv(path: str | os.PathLike, landmarks: LandmarkSet) -> None:
    """
    Write a file that every version of Slicer reads. Landmarks without a position get ``nan``, never a made-up
    place.
    """
    stream = io.StringIO(newline="")
    stream.write(header_lines())
    writer = csv.writer(stream, lineterminator="\n")
    for row, (name, point, status) in enumerate(zip(landmarks.names, landmarks.points, landmarks.status)):
        place = [repr(float(value)) for value in point]
        state = DEFINED if status == PRESENT else MISSING if status == ABSENT else UNDEFINED
        drawn = [0, 0, 0, 1, 1, 1, 0]  # orientation; visible, selected, not locked
        writer.writerow([row + 1, *place, *drawn, name, description_of(landmarks, row), "", state, 0])
    write_text(path, stream.getvalue())
