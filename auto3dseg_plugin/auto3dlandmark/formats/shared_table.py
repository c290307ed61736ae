# SPDX-License-Identifier: Apache-2.0
"""One CSV for the landmarks of all cases: ``case,name,x,y,z`` and perhaps ``status`` and ``score``; RAS mm.

``TABLE.csv#CASE`` names the rows of one case, as a landmark file is named by its path.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from ..errors import LandmarkError
from ..landmarks import LandmarkSet
from .table import Row, read_rows, rows_to_landmarks

__all__ = ["is_shared_table", "landmark_file", "read_case_of_table", "table_cases"]

CASE = "case"
MARK = ".csv#"


def is_shared_table(path: str | os.PathLike) -> bool:
    """
    Whether a CSV file has a column for the case beside those for a point.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as stream:
            header = {column.strip().strip('"').lower() for column in stream.readline(1000).split(",")}
    except OSError:
        return False
    return CASE in header and bool(header & set("xyz"))


def table_cases(path: str | os.PathLike) -> dict[str, Path]:
    """
    What names the rows of each case of a table: ``TABLE.csv#CASE``, in the order of the table.

    Raises:
        LandmarkError: when the table cannot be read, or a row has no case.
    """
    return {case: Path(f"{path}#{case}") for case in _table(path)[1]}


def landmark_file(path: str | os.PathLike) -> Path:
    """
    The file that holds these landmarks: the path itself, or the table of ``TABLE.csv#CASE``.
    """
    return _parts(path)[0]


def read_case_of_table(path: str | os.PathLike) -> LandmarkSet | None:
    """
    Read the landmarks that ``TABLE.csv#CASE`` names; None for the path of a file.

    Raises:
        LandmarkError: when the table has no such case, or its rows are broken.
    """
    table, case = _parts(path)
    if case is None:
        return None
    header, cases = _table(table)
    if case not in cases:
        raise LandmarkError(f"{table}: has no rows of case {case!r}.")
    return rows_to_landmarks(path, header, cases[case])


def _parts(path: str | os.PathLike) -> tuple[Path, str | None]:
    """The table and the case; no case when a file has this very name."""
    text = os.fspath(path)
    at = text.lower().rfind(MARK)
    if at < 0 or os.path.exists(text):
        return Path(path), None
    return Path(text[: at + len(MARK) - 1]), text[at + len(MARK) :]


def _table(path: str | os.PathLike) -> tuple[list[str], dict[str, list[Row]]]:
    """The header without the case, and the rows of each case without it."""
    try:
        state = os.stat(path)
    except OSError as error:
        raise LandmarkError(f"{path}: cannot be read ({error.strerror}).") from error
    return _read_table(os.fspath(path), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)  # a table of a thousand cases is asked for once for each of them
def _read_table(path: str, changed: int, size: int) -> tuple[list[str], dict[str, list[Row]]]:
    header, numbered = read_rows(path)
    if header.count(CASE) != 1:
        raise LandmarkError(f"{path}: the header is {','.join(header)!r}. It must hold case,name,x,y,z.")
    column = header.index(CASE)
    cases: dict[str, list[Row]] = {}
    for number, row in numbered:
        if len(row) != len(header):
            raise LandmarkError(f"{path}, row {number}: has {len(row)} fields, the header has {len(header)}.")
        case = row[column].strip()
        if not case:
            raise LandmarkError(f"{path}, row {number}: has no case. Name the image it belongs to.")
        cases.setdefault(case, []).append((number, row[:column] + row[column + 1 :]))
    return header[:column] + header[column + 1 :], cases
