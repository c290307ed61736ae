# SPDX-License-Identifier: Apache-2.0
"""Which case to review next."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from .submission import ReviewError

__all__ = ["RANKED_BY", "STRATEGIES", "is_given", "next_case"]

STRATEGIES = {
    "expected_gain": "the case whose review is expected to mend most millimetres first",
    "lowest_confidence": "the case with the least certain landmark first",
    "disagreement": "the case first on which the networks of the folds differ most",
    "random": "any case",
    "first": "in the order of the names",
}
# The note a strategy reads.
RANKED_BY = {
    "expected_gain": "gain",
    "lowest_confidence": "confidence",
    "disagreement": "disagreement",
}
RESERVED_SECONDS = 30 * 60.0


def next_case(
    waiting: Sequence[str],
    notes: Mapping[str, Mapping[str, Any]],
    strategy: str,
    client: str = "",
    now: float = 0.0,
    version: int = 0,
) -> str | None:
    """
    Choose one of the cases that wait for review. Those that whoever asks was just given, and goes on from,
    come later, those that another reviewer has even later, and images that could not be read last.

    Args:
        waiting: ids.
        notes: on images, as :class:`auto3dlandmark.review.store.ReviewStore` keeps them: ``gain``,
            ``confidence`` and ``disagreement`` with the ``version`` of the model they are by, to whom and
            when it was ``given``, and whether it is ``unreadable``.
        strategy: one of ``STRATEGIES``; cases without a score come after those that have one.
        client: who asks.
        now: seconds since the epoch.
        version: of the model; scores of older ones do not count.

    Returns:
        None when nothing waits.

    Raises:
        ReviewError: for an unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise ReviewError(f"there is no strategy {strategy!r}. There are {', '.join(STRATEGIES)}.", 404)

    def given(case: str) -> int:
        """2 when somebody else has it now, 1 when whoever asks was given it and goes on, 0 otherwise."""
        note = notes.get(case, {})
        return (1 if note["given"].get("to") == client else 2) if is_given(note, now) else 0

    def rank(case: str) -> tuple[bool, int, float, bool, float]:
        note = notes.get(case, {})
        begun = (note.get("given") or {}).get("at", 0.0) if given(case) else 0.0
        first = bool(note.get("unreadable")), given(case), begun
        key = RANKED_BY.get(strategy)
        value = note.get(key) if key and note.get("version") == version else None
        if strategy == "random":
            return *first, False, random.random()
        return *first, value is None, 0.0 if value is None else value if key == "confidence" else -value

    return min(sorted(waiting), key=rank, default=None)


def is_given(note: Mapping[str, Any], now: float) -> bool:
    """
    Whether somebody was given a case not long ago.

    Args:
        note: on its image.
        now: seconds since the epoch.
    """
    given = note.get("given") or {}
    return bool(now - given.get("at", -RESERVED_SECONDS) < RESERVED_SECONDS)
