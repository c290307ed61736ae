# SPDX-License-Identifier: Apache-2.0
"""What a dataset has and lacks, in a few sentences; none of it is wrong."""

from __future__ import annotations

import numpy as np

from ..data.datalist import Datalist
from ..formats import read_landmarks
from ..landmarks import PRESENT, some_names
from .arrangement import FEWEST_CASES

__all__ = ["inventory"]

FEW = 0.2  # a landmark is placed in few cases when that is a smaller share of them


def inventory(datalist: Datalist, images: int) -> list[str]:
    """
    Sentences about a dataset whose files can all be read.

    Args:
        datalist: the dataset.
        images: how many there are, annotated or not.
    """
    cases = [case for case in datalist.training if case.label is not None]
    annotated = len(cases) + sum(case.label is not None for case in datalist.testing)
    images = max(images, len(cases) + len(datalist.testing))
    lines = [f"{images} images: {annotated} with landmarks, {images - annotated} without"]
    labels = [case.label for case in cases if case.label is not None]
    status = np.array([read_landmarks(label).select(datalist.landmark_names).status for label in labels])
    if status.size:
        placed = status == PRESENT
        nothing = [case.id for case, row in zip(cases, placed) if not row.any()]
        if nothing:
            lines.append(f"nothing is placed in {some_names(nothing)}: such cases teach nothing")
        never = [name for name, column in zip(datalist.landmark_names, placed.T) if not column.any()]
        if never:
            lines.append(f"placed in no case, and so not learnt: {some_names(never)}")
        rare = [
            f"{name} ({column.sum()})"
            for name, column in zip(datalist.landmark_names, placed.T)
            if 0 < column.mean() < FEW
        ]
        if rare:
            lines.append(f"placed in few of the {len(cases)} cases: {', '.join(rare)}")
    if len(cases) < FEWEST_CASES:
        lines.append(
            f"landmarks are compared between cases, for swapped or misplaced ones, from {FEWEST_CASES} cases "
            "on"
        )
    return lines
