# SPDX-License-Identifier: Apache-2.0
"""Which landmark a network may have taken for which: left for right, or all levels of a chain one too high
or low."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry import fit_rotation
from ..landmarks import left_right_pairs

__all__ = ["AS_FOUND", "Hypothesis", "hypotheses_for", "mirrored_pairs"]

NUMBER = re.compile(r"\d+")
FEWEST_LEVELS = 3
SYMMETRIC = 0.12  # of the shape's size: as far as its mirror image may be from a symmetric shape
RARE = 0.02  # how often such a confusion is expected


@dataclass(frozen=True)
class Hypothesis:
    """
    What a network may have done.

    Args:
        name: in words.
        source: which landmark's peaks belong to each landmark, shape (N,); -1 where none do.
        chance: before anything is seen.
    """

    name: str
    source: np.ndarray
    chance: float


AS_FOUND = "as found"


def hypotheses_for(names: Sequence[str], pairs: Sequence[tuple[int, int]] = ()) -> list[Hypothesis]:
    """
    What is tried for these landmarks: as they were found; pairs exchanged; chains one level up and one down.

    Args:
        names: of the N landmarks; a chain is told by a number in names that are alike but for it, as in
            ``L3_centre``.
        pairs: indices of landmarks that mirror each other; left out, those whose names say so.
    """
    everything = np.arange(len(names))
    found = [Hypothesis(AS_FOUND, everything, 1.0)]
    exchanged = everything.copy()
    for first, second in pairs or [(a, b) for a, b in left_right_pairs(names)]:
        exchanged[first], exchanged[second] = second, first
    if (exchanged != everything).any():
        found.append(Hypothesis("left and right exchanged", exchanged, RARE))
    for step, word in ((1, "up"), (-1, "down")):
        shifted = _shifted(names, step)
        if shifted is not None:
            found.append(Hypothesis(f"one level {word}", shifted, RARE))
    return found


def _shifted(names: Sequence[str], step: int) -> np.ndarray | None:
    """For each landmark the one a level further; -1 at the end of a chain; None without a chain."""
    index = {name: row for row, name in enumerate(names)}
    chains: dict[str, list[int]] = {}
    source = np.arange(len(names))
    for row, name in enumerate(names):
        numbers = list(NUMBER.finditer(name))
        if len(numbers) == 1 and name != numbers[0].group():  # a bare number counts landmarks, not levels
            start, end = numbers[0].span()
            chains.setdefault(f"{name[:start]}#{name[end:]}", []).append(row)
            width = end - start
            further = f"{name[:start]}{int(name[start:end]) + step:0{width}d}{name[end:]}"
            source[row] = index.get(further, -1)
    members = [row for chain in chains.values() if len(chain) >= FEWEST_LEVELS for row in chain]
    if not members:
        return None
    alone = np.setdiff1d(np.arange(len(names)), members)
    source[alone] = alone
    return source


def mirrored_pairs(mean: np.ndarray) -> list[tuple[int, int]] | None:
    """
    Landmarks that mirror each other, by the shape alone.

    Args:
        mean: the usual shape, millimetres, shape (N, 3).

    Returns:
        pairs of indices, the rest lying in the plane between; None when the shape is not symmetric, or is
        flat, so that anything would be its mirror image.
    """
    centred = mean - mean.mean(axis=0)
    size = float(np.sqrt((centred**2).sum(axis=1).mean()))
    _, extents, axes = np.linalg.svd(centred, full_matrices=True)
    if len(mean) < 4 or extents[-1] < 0.05 * extents[0]:
        return None
    best: tuple[float, np.ndarray] | None = None
    for axis in axes:
        mirrored = centred - 2 * np.outer(centred @ axis, axis)
        for _ in range(3):  # the plane is not exactly a principal one
            distance = np.linalg.norm(mirrored[:, None] - centred, axis=2)
            partner = distance.argmin(axis=1)
            mirrored = mirrored @ fit_rotation(mirrored, centred[partner]).T
            mirrored -= mirrored.mean(axis=0) - centred[partner].mean(axis=0)
        worst = float(np.linalg.norm(mirrored - centred[partner], axis=1).max())
        mutual = (partner[partner] == np.arange(len(mean))).all()
        if mutual and worst < SYMMETRIC * size and (best is None or worst < best[0]):
            best = worst, partner
    if best is None or (best[1] == np.arange(len(mean))).all():
        return None
    return [(row, int(other)) for row, other in enumerate(best[1]) if row < other]
