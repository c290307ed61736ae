# SPDX-License-Identifier: Apache-2.0
"""Which landmarks mirror each other, as a dataset says in ``pairs.csv``: the columns ``left`` and
``right``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ..errors import LandmarkError
from ..files import read_text

__all__ = ["PAIRS_FILE", "read_pairs"]

PAIRS_FILE = "pairs.csv"


def read_pairs(folder: Path, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """
    The pairs of a dataset folder; none where it has no such file.

    Args:
        names: of the dataset's landmarks.

    Raises:
        LandmarkError: for other columns, a name that is no landmark, or one that is in two pairs.
    """
    path = folder / PAIRS_FILE
    if not path.is_file():
        return ()
    rows = list(csv.reader(io.StringIO(read_text(path), newline="")))
    if not rows or [cell.strip().lower() for cell in rows[0]] != ["left", "right"]:
        raise LandmarkError(
            f"{path}: the header is {','.join(rows[0]) if rows else ''!r}. It must be left,right."
        )
    pairs: list[tuple[str, str]] = []
    used: set[str] = set()
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        wrong = [name for name in row if name not in names]
        if len(row) != 2 or wrong:
            what = f"{wrong[0]!r} is no landmark" if wrong else "must hold two names"
            raise LandmarkError(f"{path}, row {number}: {what}.")
        twice = [name for name in row if name in used]
        if twice or row[0] == row[1]:
            raise LandmarkError(f"{path}, row {number}: {(twice or row)[0]!r} is in more than one pair.")
        used |= set(row)
        pairs.append((row[0], row[1]))
    return tuple(pairs)
