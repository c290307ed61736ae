# SPDX-License-Identifier: Apache-2.0
"""What users type on the command line, checked before any work begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import LandmarkError

__all__ = ["first_folds", "has_landmarks", "numbers", "positive"]


def first_folds(available: Sequence[int], count: Any) -> list[int]:
    """
    The first so many folds of a dataset.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise LandmarkError(f"folds={count!r} must be a whole number from 1 to {len(available)}.")
    if len(available) < 2:
        raise LandmarkError(
            "the dataset has a single annotated case. At least two are needed, one to hold out."
        )
    return list(available)[:count]


def positive(name: str, value: Any) -> float:
    """
    A number greater than 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise LandmarkError(f"{name}={value!r} must be a number greater than 0.")
    return float(value)


def numbers(values: Any) -> tuple[float, ...]:
    """
    One number greater than 0, or several.
    """
    values = values if isinstance(values, (tuple, list)) else (values,)
    return tuple(positive("thresholds_mm", value) for value in values)


def has_landmarks(folder: str) -> bool:
    """
    Whether the images of a folder come with annotated landmarks.
    """
    return (Path(folder) / "landmarks").is_dir() or (Path(folder) / "labels" / "final").is_dir()
