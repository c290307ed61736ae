# SPDX-License-Identifier: Apache-2.0
"""Landmarks as the module shows them, in RAS millimetres, and as ``.mrk.json`` files, which are LPS."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence

__all__ = ["ABSENT", "PRESENT", "UNKNOWN", "Point", "read_points", "write_points"]

PRESENT, ABSENT, UNKNOWN = "present", "absent", "unknown"
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
LPS_OR_RAS = {"LPS": -1.0, "1": -1.0, "RAS": 1.0, "0": 1.0}
MILLIMETRES = {"mm": 1.0, "um": 1e-3, "cm": 10.0, "m": 1000.0}
SCORE = re.compile(r"\bscore=([0-9.eE+-]+)")
PROBABILITY = re.compile(r"\bprobability=([0-9.eE+-]+)")
RADII = re.compile(r"\bradius_mm=[0-9.eE+-]+,[0-9.eE+-]+,([0-9.eE+-]+)")  # of 50, 90 and 95 %
NOTE = re.compile(r"(?<!\S)note=(.*)\Z", re.DOTALL)
DOUBT_MM = 10.0  # an absence that is as likely as not is as risky as a radius of so much
MISSING = re.compile(r"\bstatus=missing\b")


class Point:
    """
    One landmark.

    Args:
        name: never changed.
        position: RAS millimetres, three numbers; None unless it is present.
        status: ``present``, ``absent`` (known not to be there) or ``unknown`` (not annotated).
        score: of the model, in [0, 1]; None for a point that a person placed.
        radius: that holds the landmark with 95 %, by the model, in millimetres.
        probability: of being there, by the model, in [0, 1].
        note: what the model says of it, in words.
    """

    def __init__(
        self,
        name: str,
        position: Sequence[float] | None = None,
        status: str = UNKNOWN,
        score: float | None = None,
        radius: float | None = None,
        probability: float | None = None,
        note: str = "",
    ) -> None:
        if (status == PRESENT) != (position is not None):
            raise ValueError(f"{name!r}: a landmark has a position if, and only if, it is present.")
        if position is not None:
            position = tuple(float(value) for value in position)
            if len(position) != 3 or not all(map(math.isfinite, position)):
                raise ValueError(f"{name!r}: {position!r} is not a position.")
        self.name, self.position, self.status, self.score = name, position, status, score
        self.radius, self.probability, self.note = radius, probability, note

    @property
    def risk(self) -> float:
        """How much it needs a look: most where nothing is said of it, then by its radius, or its score."""
        if self.score is None and self.radius is None and self.probability is None:
            return math.inf
        if self.status == ABSENT and self.probability is not None:
            return DOUBT_MM * (1 - abs(2 * self.probability - 1))
        if self.radius is not None:
            return self.radius
        return 1 - (self.score or 0.0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"Point({self.name!r}, {self.position}, {self.status!r}, {self.score})"


def read_points(content: str | bytes) -> list[Point]:
    """
    Args:
        content: of a ``.mrk.json`` file.

    Returns:
        the points of its lists, in their order.

    Raises:
        ValueError: when it is something else.
    """
    points = []
    for node in json.loads(content)["markups"]:
        system, units = node.get("coordinateSystem", "LPS"), node.get("coordinateUnits", "mm")
        if isinstance(units, list) and len(units) == 3:  # a code: its value, its scheme, its meaning
            units = units[0]
        if str(system) not in LPS_OR_RAS or not isinstance(units, str) or units not in MILLIMETRES:
            raise ValueError(f"points in {system} and {units} are not read here.")
        scale = MILLIMETRES[units]
        sign = LPS_OR_RAS[str(system)] * scale
        for item in node.get("controlPoints") or []:
            note, position = item.get("description"), item.get("position")
            note = note if isinstance(note, str) else ""
            placed = bool(position) and item.get("positionStatus") not in ("undefined", "preview", "missing")
            missing = MISSING.search(note) or item.get("positionStatus") == "missing"
            told = NOTE.search(note)
            note = note if told is None else note[: told.start()]
            points.append(
                Point(
                    item["label"],
                    (sign * position[0], sign * position[1], scale * position[2]) if placed else None,
                    PRESENT if placed else ABSENT if missing else UNKNOWN,
                    _number(SCORE, note),
                    _number(RADII, note),
                    _number(PROBABILITY, note),
                    "" if told is None else told.group(1).strip(),
                )
            )
    return points


def _number(pattern: re.Pattern, text: str) -> float | None:
    found = pattern.search(text)
    return float(found.group(1)) if found else None


def write_points(points: Iterable[Point]) -> bytes:
    """
    Returns:
        the content of a ``.mrk.json`` file.
    """
    control_points = []
    for number, point in enumerate(points, start=1):
        notes = [] if point.score is None else [f"score={point.score:.6g}"]
        notes += ["status=missing"] if point.status == ABSENT else []
        position = point.position
        control_points.append(
            {
                "id": str(number),
                "label": point.name,
                "description": " ".join(notes),
                "position": "" if position is None else [-position[0], -position[1], position[2]],
                "positionStatus": "undefined" if position is None else "defined",
            }
        )
    node = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "controlPoints": control_points,
    }
    document = {"@schema": SCHEMA, "markups": [node]}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).encode()
