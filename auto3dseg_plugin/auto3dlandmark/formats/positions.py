# SPDX-License-Identifier: Apache-2.0
"""Positions as they stand in JSON files."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["three_numbers"]


def three_numbers(value: Any) -> np.ndarray | None:
    """
    A JSON list of three finite numbers as an array, shape (3,); None for anything else.
    """
    numbers = isinstance(value, list) and all(
        isinstance(one, (int, float)) and not isinstance(one, bool) for one in value
    )
    try:
        point = np.array(value, dtype=np.float64) if numbers else None
    except OverflowError:
        point = None
    return point if point is not None and point.shape == (3,) and np.isfinite(point).all() else None
