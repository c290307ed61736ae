# SPDX-License-Identifier: Apache-2.0
"""One case of a dataset, which cases belong together, and the fold in which each is held out."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import LandmarkError
from ..files import read_text

__all__ = ["Case", "assign_folds", "read_groups"]

FOLD_SEED = 12345  # nnU-Net's


@dataclass(frozen=True)
class Case:
    """
    One image and, when it is annotated, its landmark file. ``fold`` is None for a test case; cases of one
    ``group``, such as a subject or a site, are held out together.
    """

    id: str
    image: Path
    label: Path | None = None
    fold: int | None = None
    group: str | None = None


def assign_folds(cases: Sequence[Case], folds: int = 5) -> list[Case]:
    """
    Give each case without a fold one, evenly and reproducibly: the same ids always get the same folds.

    Args:
        folds: how many; fewer cases than folds give one fold a case.

    Returns:
        the cases in their order; those that had a fold keep it, and the others fill up the smallest folds.
        Cases of one group share a fold.

    Source: nnU-Net's split, so that its results and ours hold out the same cases: scikit-learn's shuffled
        ``KFold`` with seed 12345 over the sorted ids.
    """
    known = {_unit(case): case.fold for case in cases if case.group is not None and case.fold is not None}
    ids = sorted({_unit(case) for case in cases if case.fold is None and _unit(case) not in known})
    order = np.arange(len(ids))
    np.random.RandomState(FOLD_SEED).shuffle(order)
    blocks = np.array_split(order, min(folds, max(len({_unit(case) for case in cases}), 1)))
    fold_of = {**known, **{ids[index]: fold for fold, block in enumerate(blocks) for index in block}}
    taken = Counter(case.fold for case in cases if case.fold is not None)
    if taken:  # late comers fill up the smallest folds
        sizes = Counter(_unit(case) for case in cases if case.fold is None)
        for index in order:
            fold_of[ids[index]] = min(range(len(blocks)), key=lambda fold: (taken[fold], fold))
            taken[fold_of[ids[index]]] += sizes[ids[index]]
    return [case if case.fold is not None else replace(case, fold=fold_of[_unit(case)]) for case in cases]


def _unit(case: Case) -> str:
    """What is held out together: a case, or the group it belongs to."""
    return case.id if case.group is None else case.group


def read_groups(path: Path, cases: Collection[str]) -> dict[str, str]:
    """
    Read ``groups.csv``, with the columns ``case`` and ``group``; nothing when there is no such file.

    Args:
        cases: the ids there are; a case may be left out of the file.

    Raises:
        LandmarkError: for other columns, a case that is not there, or one that is listed twice.
    """
    if not path.is_file():
        return {}
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    if [(name or "").strip().lower() for name in reader.fieldnames or ()] != ["case", "group"]:
        raise LandmarkError(
            f"{path}: the header is {','.join(reader.fieldnames or ())!r}. It must be case,group."
        )
    groups: dict[str, str] = {}
    for row in reader:
        case, group = (list(row.values()) + ["", ""])[:2]
        if len(row) != 2 or not case or not group or not isinstance(group, str):
            raise LandmarkError(f"{path}, row {reader.line_num}: must hold a case and its group.")
        if case not in cases:
            raise LandmarkError(f"{path}, row {reader.line_num}: there is no image of case {case!r}.")
        if case in groups:
            raise LandmarkError(f"{path}, row {reader.line_num}: case {case!r} is listed twice.")
        groups[case] = group
    return groups
