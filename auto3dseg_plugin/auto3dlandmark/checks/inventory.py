# SPDX-License-Identifier: Apache-2.0
"""What a dataset has and lacks, in a few sentences; none of it is wrong."""

from __future__ import annotations

import numpy as np

from ..data.datalist import Datalist
from ..data.mirrored import PAIRS_FILE
from ..formats import read_landmarks
from ..landmarks import PRESENT, some_names
from ..shapes.alignment import mean_shape
from ..shapes.symmetry import flip_groups, lie_between_sides, mirrored_pairs
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
    read = [read_landmarks(label).select(datalist.landmark_names) for label in labels]
    status, points = np.array([one.status for one in read]), np.array([one.points for one in read])
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
        lines += _pairs(datalist, np.where(placed[..., None], points, np.nan))
    if len(cases) < FEWEST_CASES:
        lines.append(
            f"landmarks are compared between cases, for swapped or misplaced ones, from {FEWEST_CASES} cases "
            "on"
        )
    return lines


def _pairs(datalist: Datalist, points: np.ndarray) -> list[str]:
    """Which landmarks mirror each other: what the dataset says, or else what their places suggest."""
    names = datalist.landmark_names
    mean = mean_shape(points)
    if datalist.left_right_pairs:
        index = {name: row for row, name in enumerate(names)}
        said = [(index[first], index[second]) for first, second in datalist.left_right_pairs]
        flipped = "training flips them" if flip_groups(mean, said) else "the shape is not symmetric: no flips"
        return [f"{len(said)} pairs of landmarks mirror each other: {flipped}"]
    if lie_between_sides(points):
        return ["all landmarks lie between left and right: training shows mirror images, too"]
    known = np.isfinite(mean).all(axis=1)
    found = mirrored_pairs(mean) if known.all() else None
    if not found:
        return []
    shown = "; ".join(f"{names[first]},{names[second]}" for first, second in found)
    return [
        f"the landmarks look symmetric. If these are left and right, write {PAIRS_FILE} with the "
        "header left,right "
        f"and a row for each, and training will flip images: {shown}"
    ]
