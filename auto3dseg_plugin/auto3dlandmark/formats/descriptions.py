# SPDX-License-Identifier: Apache-2.0
"""What Slicer has no field for, written into a point's description: ``score=0.93`` and ``status=missing``."""

from __future__ import annotations

import math
import re

from ..errors import LandmarkError
from ..landmarks import ABSENT

__all__ = ["description_of", "read_missing", "read_score"]

SCORE = re.compile(r"\bscore=([0-9.eE+-]+)")
MISSING = re.compile(r"\bstatus=missing\b")


def description_of(status: int, score: float) -> str:
    """
    The description of a point with this status and score.
    """
    parts = [] if math.isnan(score) else [f"score={score:.6g}"]
    if status == ABSENT:
        parts.append("status=missing")
    return " ".join(parts)


def read_missing(description: str) -> bool:
    """
    Whether a description says that the landmark is known not to be there.
    """
    return MISSING.search(description) is not None


def read_score(description: str, where: str) -> float:
    """
    The score in a description; NaN when there is none.

    Args:
        where: the file and the landmark, for the error.

    Raises:
        LandmarkError: when ``score=`` is not followed by a number.
    """
    match = SCORE.search(description)
    try:
        return float(match.group(1)) if match else math.nan
    except ValueError:
        raise LandmarkError(
            f"{where} is described as {description!r}, without a number after 'score='."
        ) from None
