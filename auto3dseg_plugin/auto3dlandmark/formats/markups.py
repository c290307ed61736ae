# SPDX-License-Identifier: Apache-2.0
"""Point lists of 3D Slicer: ``.mrk.json``.

What Slicer cannot say in a field of its own goes into each point's description, which survives a load and
save in Slicer; see descriptions.py.

Source: markups-schema-v1.0.3.json of 3D Slicer, and its habits: LPS when no system is named, and
``"position": ""`` for a point that was never placed.
"""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from ..errors import LandmarkError
from ..estimates import Estimates
from ..files import json_text, read_json, write_json
from ..geometry import lps_to_ras
from ..landmarks import ABSENT, PRESENT, UNKNOWN, LandmarkSet
from .descriptions import Description, description_of, estimates_of, read_description
from .positions import three_numbers

__all__ = ["markups_bytes", "markups_document", "read_markups", "write_markups"]

SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
MILLIMETRES_PER_UNIT = {"mm": 1.0, "um": 1e-3, "cm": 10.0, "m": 1000.0}
# Slicer writes the system as a name; files from before version 5 may hold its number.
IS_LPS = {"LPS": True, "RAS": False, 1: True, 0: False, "1": True, "0": False}
POINT_LISTS = ("Fiducial", "Line")
KNOWN_SCHEMA = re.compile(r"v1\.0(\.\d+)?\b")


def read_markups(path: str | os.PathLike) -> LandmarkSet:
    """
    Read all point lists and lines of a ``.mrk.json`` file as one set of landmarks in RAS millimetres.

    A point without a position is unknown, or absent when it is marked as missing.

    Raises:
        LandmarkError: when the file is not such a document, is of an unknown version, holds another kind of
            markup, an unknown unit or coordinate system, a broken position, or one name twice.
    """
    document = read_json(path)
    nodes = document.get("markups") if isinstance(document, dict) else None
    if not isinstance(nodes, list) or not nodes:
        raise LandmarkError(f"{path}: holds no 'markups' list. Save the point list from Slicer as .mrk.json.")
    schema = document.get("@schema")
    if schema is not None and not (isinstance(schema, str) and KNOWN_SCHEMA.search(schema)):
        raise LandmarkError(
            f"{path}: is of the version {schema!r}. Versions 1.0 are known; save it again in Slicer."
        )
    names: list[str] = []
    points: list[np.ndarray] = []
    status: list[int] = []
    described: list[Description] = []
    for node in nodes:
        if not isinstance(node, dict) or node.get("type", "Fiducial") not in POINT_LISTS:
            kind = node.get("type") if isinstance(node, dict) else node
            raise LandmarkError(
                f"{path}: holds a markup of type {kind!r}. Landmarks are kept as type 'Fiducial' or 'Line'."
            )
        scale, lps = _read_frame(path, node)
        control_points = node.get("controlPoints") or []
        if not isinstance(control_points, list) or not all(isinstance(item, dict) for item in control_points):
            raise LandmarkError(f"{path}: 'controlPoints' is not a list of points.")
        for row, item in enumerate(control_points, start=1):
            name = item.get("label")
            if not isinstance(name, str) or not name:
                raise LandmarkError(f"{path}, point {row}: has no label. Name it after its landmark.")
            description = item.get("description") if isinstance(item.get("description"), str) else ""
            position = _read_position(path, name, item)
            names.append(name)
            points.append(
                np.full(3, np.nan)
                if position is None
                else (lps_to_ras(position) if lps else position) * scale
            )
            told = read_description(description, f"{path}: {name!r}")
            described.append(told)
            missing = item.get("positionStatus") == "missing" or told.missing
            status.append(PRESENT if position is not None else ABSENT if missing else UNKNOWN)
    try:
        return LandmarkSet(
            names,
            np.array(points).reshape(-1, 3),
            np.array(status, dtype=int),
            np.array([told.score for told in described]),
            estimates_of(described),
        )
    except LandmarkError as error:
        raise LandmarkError(f"{path}: {error}") from error


def write_markups(path: str | os.PathLike, landmarks: LandmarkSet) -> None:
    """
    Write a ``.mrk.json`` that 3D Slicer opens as one point list.
    """
    write_json(path, markups_document(landmarks))


def markups_bytes(landmarks: LandmarkSet) -> bytes:
    """
    What :func:`write_markups` writes.
    """
    return json_text(markups_document(landmarks)).encode()


def markups_document(landmarks: LandmarkSet) -> dict[str, Any]:
    """
    The content of a ``.mrk.json`` file for these landmarks: LPS millimetres, status and scores kept.
    """
    control_points = []
    for row, (name, point, status) in enumerate(
        zip(landmarks.names, lps_to_ras(landmarks.points), landmarks.status)
    ):
        defined = status == PRESENT
        control_points.append(
            {
                "id": str(row + 1),
                "label": name,
                "description": description_of(landmarks, row),
                "position": [float(value) + 0.0 for value in point] if defined else "",
                "positionStatus": "defined" if defined else "undefined",
            }
        )
    node = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "labelFormat": "%N-%d",
        "controlPoints": control_points,
    }
    if landmarks.estimates is not None:
        node["measurements"] = _measurements(landmarks.estimates)
    return {"@schema": SCHEMA, "markups": [node]}


def _measurements(known: Estimates) -> list[dict[str, Any]]:
    """What Slicer shows beside the points: the radii, and how unusual the case is."""
    radii = [round(float(value), 4) for value in np.nan_to_num(known.radius95_mm)]
    found: list[dict[str, Any]] = [
        {
            "name": "radius95",
            "enabled": True,
            "units": "mm",
            "description": "holds the landmark with 95 %; 0 where it is not known",
            "printFormat": "%-#4.2f",
            "controlPointValues": radii,
        }
    ]
    if np.isfinite(known.unusual):
        told = "1 is as far as held-out cases went, more does not look like the training images"
        found.append(
            {"name": "unusual", "enabled": True, "value": round(known.unusual, 4), "description": told}
        )
    return found


def _read_frame(path: str | os.PathLike, node: dict) -> tuple[float, bool]:
    """Millimetres per unit, and whether the positions are LPS."""
    units, system = node.get("coordinateUnits", "mm"), node.get("coordinateSystem", "LPS")
    if isinstance(units, list) and len(units) == 3:  # a code: its value, its scheme, its meaning
        units = units[0]
    if not isinstance(units, str) or units not in MILLIMETRES_PER_UNIT:
        raise LandmarkError(
            f"{path}: coordinateUnits is {units!r}. Known units: {', '.join(MILLIMETRES_PER_UNIT)}."
        )
    if not isinstance(system, (str, int)) or system not in IS_LPS:
        raise LandmarkError(f"{path}: coordinateSystem is {system!r}. Known systems: LPS, RAS.")
    return MILLIMETRES_PER_UNIT[units], IS_LPS[system]


def _read_position(path: str | os.PathLike, name: str, item: dict) -> np.ndarray | None:
    """The position as it stands in the file, or None when the point is not placed."""
    position = item.get("position")
    if position in (None, "", []) or item.get("positionStatus", "defined") in (
        "undefined",
        "preview",
        "missing",
    ):
        return None
    point = three_numbers(position)
    if point is None:
        raise LandmarkError(
            f"{path}: {name!r} has the position {position!r}, not three numbers. Place it again."
        )
    return point
