# SPDX-License-Identifier: Apache-2.0
"""The landmarks of one case: names, points, what is known of each, and how sure a model is.

A landmark is *present* (it has a point), *absent* (known not to be there, as an extracted tooth) or
*unknown* (nobody looked). Files and images are other modules' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import LandmarkError
from .estimates import Estimates

__all__ = [
    "ABSENT",
    "PRESENT",
    "STATUSES",
    "UNKNOWN",
    "LandmarkError",
    "LandmarkSet",
    "left_right_pairs",
    "some_names",
]

UNKNOWN, PRESENT, ABSENT = 0, 1, 2
SIDES = (("left", "right"), ("l", "r"), ("lh", "rh"), ("lt", "rt"))
ROUNDING_MM = 1e-3  # files keep positions so well
STATUSES = ("unknown", "present", "absent")


@dataclass(frozen=True, eq=False)
class LandmarkSet:
    """
    Named points of one case, in RAS millimetres.

    Args:
        names: one name per landmark, unique, in one line; never changed in case or order.
        points: RAS millimetres, float64, shape (N, 3). NaN unless the landmark is present.
        status: one of UNKNOWN, PRESENT, ABSENT per landmark, shape (N,). Left out: a landmark with a
            point is present, one without is unknown.
        scores: confidence in [0, 1], shape (N,); NaN where there is none, as in hand-made annotations.
        estimates: how far off the points may be; None for what is no prediction.

    Raises:
        LandmarkError: when names repeat or break a line, shapes disagree, or a status contradicts its point.
    """

    names: Sequence[str]
    points: np.ndarray
    status: np.ndarray = None  # type: ignore[assignment]  # filled in below, as are the scores
    scores: np.ndarray = None  # type: ignore[assignment]
    estimates: Estimates | None = None

    def __post_init__(self) -> None:
        names = tuple(self.names)
        points = np.array(self.points, dtype=np.float64)
        points = points.reshape(0, 3) if points.size == 0 else points
        if points.shape != (len(names), 3):
            raise LandmarkError(
                f"{len(names)} names but points of shape {points.shape}. Each landmark needs one of each."
            )
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise LandmarkError(
                f"the landmark name {repeated[0]!r} is used more than once. Rename one of them."
            )
        for name in names:
            if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
                raise LandmarkError(
                    f"the landmark name {name!r} holds a line break or control character. Rename it."
                )
        for name, point in zip(names, points):
            if np.isinf(point).any() or 0 < np.isnan(point).sum() < 3:
                raise LandmarkError(
                    f"{name!r} has the position {point.tolist()}: give three finite numbers, or none."
                )
        defined = np.array(np.isfinite(points).all(axis=1))
        status = np.where(defined, PRESENT, UNKNOWN) if self.status is None else np.array(self.status)
        if status.shape != (len(names),) or not np.isin(status, (UNKNOWN, PRESENT, ABSENT)).all():
            raise LandmarkError(f"status must be one of 0, 1, 2 for each of the {len(names)} landmarks.")
        for name, has_point, state in zip(names, defined.tolist(), status.tolist()):
            if has_point != (state == PRESENT):
                what = "has a position but is" if has_point else "has no position but is"
                raise LandmarkError(
                    f"{name!r} {what} {STATUSES[state]}. Only a present landmark has a position."
                )
        scores = (
            np.full(len(names), np.nan) if self.scores is None else np.array(self.scores, dtype=np.float64)
        )
        if scores.shape != (len(names),):
            raise LandmarkError(f"{len(names)} names but scores of shape {scores.shape}.")
        if self.estimates is not None and len(self.estimates.notes) != len(names):
            raise LandmarkError(f"{len(names)} names but estimates of {len(self.estimates.notes)} landmarks.")
        for key, value in (("points", points), ("status", status.astype(np.int8)), ("scores", scores)):
            value.setflags(write=False)
            object.__setattr__(self, key, value)
        object.__setattr__(self, "names", names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        """Whether there is a landmark of this name, present or not."""
        return name in self.names

    def __getitem__(self, name: str) -> np.ndarray:
        """
        The point of a landmark, RAS millimetres, shape (3,); NaN unless it is present.

        Raises:
            KeyError: when there is no landmark of this name.
        """
        if name not in self.names:
            raise KeyError(f"no landmark {name!r}. There are {some_names(self.names)}.")
        return np.asarray(self.points[self.names.index(name)])

    def __repr__(self) -> str:
        counts = {state: int((self.status == code).sum()) for code, state in enumerate(STATUSES)}
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        return f"LandmarkSet({len(self)} landmarks: {told or 'none'})"

    def to_frame(self) -> Any:
        """
        The landmarks as a table of pandas, with the columns of :meth:`columns`.

        Raises:
            ImportError: when pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(self.columns())

    def columns(self) -> dict[str, Any]:
        """
        What is known of each landmark: ``landmark, status, x_mm, y_mm, z_mm, probability, radius95_mm,
        peak_x_mm, peak_y_mm, peak_z_mm, moved_mm, score, note``; positions are RAS, NaN is what is not known.
        """
        known = self.estimates or Estimates.unknown(len(self))
        columns: dict[str, Any] = {"landmark": list(self.names)}
        columns["status"] = [STATUSES[code] for code in self.status]
        columns |= {f"{axis}_mm": self.points[:, row] for row, axis in enumerate("xyz")}
        columns |= {"probability": known.probability, "radius95_mm": known.radius95_mm}
        columns |= {f"peak_{axis}_mm": known.peaks[:, row] for row, axis in enumerate("xyz")}
        moved = np.linalg.norm(self.points - known.peaks, axis=1)
        columns["moved_mm"] = np.where(moved < ROUNDING_MM, 0.0, moved)
        return {**columns, "score": self.scores, "note": list(known.notes)}

    @property
    def present(self) -> np.ndarray:
        """True for each landmark that has a point, shape (N,)."""
        return np.asarray(self.status == PRESENT)

    def select(self, names: Iterable[str]) -> LandmarkSet:
        """
        The landmarks of these names, in this order; a name this set does not have becomes unknown.
        """
        names = tuple(names)
        rows = {name: row for row, name in enumerate(self.names)}
        points = np.full((len(names), 3), np.nan)
        status = np.full(len(names), UNKNOWN)
        scores = np.full(len(names), np.nan)
        for new_row, name in enumerate(names):
            if name in rows:
                row = rows[name]
                points[new_row], status[new_row], scores[new_row] = (
                    self.points[row],
                    self.status[row],
                    self.scores[row],
                )
        found = [rows.get(name, -1) for name in names]
        estimates = None if self.estimates is None else self.estimates.select(found)
        return LandmarkSet(names, points, status, scores, estimates)


def left_right_pairs(names: Sequence[str]) -> list[list[int]]:
    """
    Landmarks that are each other's mirror image, by their names.

    A side is a word of its own (``left_eye``, ``eye L``, ``LeftEye``), in any case; only pairs whose two
    names are both there count.

    Returns:
        for each pair, the indices of the left one and the right one.
    """
    index = {name: number for number, name in enumerate(names)}
    pairs = []
    for name, number in index.items():
        others = {_other_side(name, left, right) for left, right in SIDES} - {name}
        pairs += [[number, index[other]] for other in sorted(others) if other in index]
    return pairs


def _other_side(name: str, left: str, right: str) -> str:
    """The name with the word ``left`` replaced by ``right``, written as ``left`` was."""

    def swap(match: re.Match) -> str:
        word = match.group()
        return right.upper() if word.isupper() else right.capitalize() if word[0].isupper() else right

    words = rf"(?<![A-Za-z])(?i:{left})(?![A-Za-z])"
    if left == "left":  # letters alone are too often something else
        words += r"|(?<![A-Z])Left(?=[A-Z])|(?<=[a-z])Left(?![a-z])"
    return re.sub(words, swap, name)


def some_names(names: Sequence[str], most: int = 4) -> str:
    """
    The first few names for a sentence, and how many more there are.
    """
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
