# SPDX-License-Identifier: Apache-2.0
"""Landmarks as a CSV table: ``name,x,y,z`` and, if there are any, ``status``, ``score`` and
``description``, which says what a prediction knows of itself.

Millimetres, RAS. Empty coordinates mean unknown unless the status column says ``absent``. The table that 3D
Slicer exports of a point list is read too: ``label,l,p,s,defined,...,description``, or with ``r,a,s``.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence

import numpy as np

from ..errors import LandmarkError
from ..files import read_text, write_rows
from ..landmarks import ABSENT, PRESENT, STATUSES, UNKNOWN, LandmarkSet
from .descriptions import Description, description_of, estimates_of, read_description

__all__ = ["read_rows", "read_table", "rows_to_landmarks", "write_table"]

Row = tuple[int, list[str]]  # the number of its line, and its cells

COLUMNS = ("name", "x", "y", "z")
OPTIONAL_COLUMNS = ("status", "score", "description")
SLICER_COLUMNS = ("label", "s", "defined", "selected", "visible", "locked", "description")
SLICER_AXES = {("l", "p"): -1.0, ("r", "a"): 1.0}  # what x and y are multiplied by


def read_table(path: str | os.PathLike) -> LandmarkSet:
    """
    Read a CSV of landmarks in RAS millimetres.

    Raises:
        LandmarkError: when the header or a row is not as described at the top of this module.
    """
    header, numbered = read_rows(path)
    if header[:1] == ["label"]:
        header, numbered = _from_slicer(path, header, numbered)
    return rows_to_landmarks(path, header, numbered)


def read_rows(path: str | os.PathLike) -> tuple[list[str], list[Row]]:
    """
    The header of a CSV in lower case, and its rows with the numbers of their lines.

    Raises:
        LandmarkError: when the file cannot be read or is no CSV.
    """
    text = read_text(path)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        numbered = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise LandmarkError(f"{path}: is not a CSV table ({error}).") from error
    return ([column.strip().lower() for column in numbered[0][1]] if numbered else []), numbered[1:]


def rows_to_landmarks(path: str | os.PathLike, header: Sequence[str], numbered: Sequence[Row]) -> LandmarkSet:
    """
    The landmarks of one case from rows of ``name,x,y,z`` and perhaps ``status`` and ``score``.

    Args:
        path: where the rows are from, for errors.

    Raises:
        LandmarkError: when the header or a row is not as described at the top of this module.
    """
    unknown = [column for column in header if column not in COLUMNS + OPTIONAL_COLUMNS]
    if any(column not in header for column in COLUMNS) or unknown or len(set(header)) != len(header):
        raise LandmarkError(
            f"{path}: the header is {','.join(header)!r}. It must hold name,x,y,z and may hold status,score; "
            "x, y and z are RAS millimetres."
        )
    names, points, status, scores = [], [], [], []
    described: list[Description] = []
    for number, row in numbered:
        if len(row) != len(header):
            raise LandmarkError(f"{path}, row {number}: has {len(row)} fields, the header has {len(header)}.")
        cells = dict(zip(header, row))
        point = [_number(path, number, axis, cells[axis]) for axis in "xyz"]
        state = cells.get("status", "").strip().lower()
        if state not in ("", *STATUSES):
            raise LandmarkError(
                f"{path}, row {number}: the status is {state!r}, not one of {', '.join(STATUSES)}."
            )
        if not cells["name"]:
            raise LandmarkError(f"{path}, row {number}: has no name. Name it after its landmark.")
        names.append(cells["name"])
        points.append(point)
        has_point = not any(math.isnan(value) for value in point)
        status.append(STATUSES.index(state) if state else PRESENT if has_point else UNKNOWN)
        scores.append(_number(path, number, "score", cells.get("score", "")))
        described.append(read_description(cells.get("description", ""), f"{path}, row {number}"))
    try:
        return LandmarkSet(
            names,
            np.array(points).reshape(-1, 3),
            np.array(status, dtype=int),
            np.array(scores),
            estimates_of(described),
        )
    except LandmarkError as error:
        raise LandmarkError(f"{path}: {error}") from error


def _from_slicer(
    path: str | os.PathLike, header: list[str], numbered: list[Row]
) -> tuple[list[str], list[Row]]:
    """Slicer's exported table in the form of ours."""
    axes = next((pair for pair in SLICER_AXES if set(pair) <= set(header)), None)
    if axes is None or set(header) - {*SLICER_COLUMNS, *axes} or len(set(header)) != len(header):
        raise LandmarkError(
            f"{path}: the header is {','.join(header)!r}. Slicer's tables hold label,l,p,s or label,r,a,s."
        )
    rows: list[Row] = []
    for number, row in numbered:
        if len(row) != len(header):
            raise LandmarkError(f"{path}, row {number}: has {len(row)} fields, the header has {len(header)}.")
        cells = dict(zip(header, row))
        place = [cells[axes[0]], cells[axes[1]], cells["s"]]
        told = cells.get("description", "")
        if cells.get("defined", "1").strip() in ("0", "false", "False"):
            place = ["", "", ""]
        elif SLICER_AXES[axes] < 0:
            place = [_negated(place[0]), _negated(place[1]), place[2]]
        found = read_description(told, f"{path}, row {number}")
        status = STATUSES[ABSENT] if found.missing else ""
        score = "" if math.isnan(found.score) else repr(found.score)
        rows.append((number, [cells["label"], *place, status, score, told]))
    return [*COLUMNS, *OPTIONAL_COLUMNS], rows


def _negated(text: str) -> str:
    """The negative of a number, digit for digit."""
    text = text.strip()
    return text[1:] if text.startswith("-") else f"-{text.removeprefix('+')}" if text else text


def write_table(path: str | os.PathLike, landmarks: LandmarkSet) -> None:
    """
    Write a CSV of landmarks in RAS millimetres, with every digit.
    """
    columns = list(COLUMNS)
    if (landmarks.status == ABSENT).any():
        columns.append("status")
    if not np.isnan(landmarks.scores).all():
        columns.append("score")
    if landmarks.estimates is not None:
        columns.append("description")
    rows = []
    for row, (name, point, status, score) in enumerate(
        zip(landmarks.names, landmarks.points, landmarks.status, landmarks.scores)
    ):
        cells = {axis: "" if math.isnan(value) else repr(float(value)) for axis, value in zip("xyz", point)}
        score_text = "" if math.isnan(score) else repr(float(score))
        told = description_of(landmarks, row)
        values = {"name": name, **cells, "status": STATUSES[status], "score": score_text, "description": told}
        rows.append(values)
    write_rows(path, rows, columns)


def _number(path: str | os.PathLike, row: int, column: str, text: str) -> float:
    """A cell as a number; empty is NaN."""
    if not text.strip():
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LandmarkError(
            f"{path}, row {row}: {column} is {text!r}, not a number. Numbers are written with a dot, as in "
            "12.5."
        )
    return value
