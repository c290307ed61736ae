# SPDX-License-Identifier: Apache-2.0
"""Which landmark a network may have taken for which: left for right, or all levels of a chain one too high
or low."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry import fit_rotation, rigid
from ..landmarks import left_right_pairs

__all__ = ["AS_FOUND", "Hypothesis", "hypotheses_for", "level_move"]

NUMBER = re.compile(r"\d+")
FEWEST_LEVELS = 3
LINE = 0.05  # of its first extent, is the second one of levels that lie on a line
RARE = 1e-3  # how often such a confusion is expected


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


def level_move(names: Sequence[str], mean: np.ndarray) -> np.ndarray | None:
    """
    What lays a shape onto its chain one level further: a shift, and a turn where the chain is bent.

    Args:
        names: as for :func:`hypotheses_for`.
        mean: a shape, millimetres, shape (N, 3).

    Returns:
        rigid, in the shape's millimetres, shape (4, 4); None without a chain. Without a turn where the levels
        lie on one line, which does not say how they are turned about it.
    """
    source = _shifted(names, 1)
    if source is None:
        return None
    rows = np.flatnonzero((source >= 0) & (source != np.arange(len(names))))
    here, there = mean[rows], mean[source[rows]]
    extents = np.linalg.svd(here - here.mean(axis=0), compute_uv=False)
    turn = fit_rotation(here, there) if extents[1] > LINE * extents[0] else np.eye(3)
    return rigid(turn, there.mean(axis=0) - turn @ here.mean(axis=0))


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
