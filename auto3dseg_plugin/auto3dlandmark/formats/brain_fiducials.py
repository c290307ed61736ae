# SPDX-License-Identifier: Apache-2.0
"""The 32 anatomical fiducials of the brain (AFIDs), in the one form that AFIDs' own tools read.

A ``.fcsv`` with a row for each fiducial, in their order: its number as the label, its name as the
description, and no field beyond the columns.

Source: the AFIDs protocol (Lau et al., Human Brain Mapping 2019), and afids-utils 0.2, which reads this.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping

from ..errors import LandmarkError
from ..files import write_text
from ..landmarks import LandmarkSet
from .fcsv import header_lines

__all__ = ["AFIDS", "are_afids", "write_afids"]

AFIDS: Mapping[str, str] = {
    "AC": "AC",
    "PC": "PC",
    "ICS": "infracollicular sulcus",
    "PMJ": "PMJ",
    "SIPF": "superior interpeduncular fossa",
    "RSLMS": "R superior LMS",
    "LSLMS": "L superior LMS",
    "RILMS": "R inferior LMS",
    "LILMS": "L inferior LMS",
    "CUL": "Culmen",
    "IMS": "Intermammillary sulcus",
    "RMB": "R MB",
    "LMB": "L MB",
    "PG": "pineal gland",
    "RLVAC": "R LV at AC",
    "LLVAC": "L LV at AC",
    "RLVPC": "R LV at PC",
    "LLVPC": "L LV at PC",
    "GENU": "Genu of CC",
    "SPLE": "Splenium of CC",
    "RALTH": "R AL temporal horn",
    "LALTH": "L AL temporal horn",
    "RSAMTH": "R superior AM temporal horn",
    "LSAMTH": "L superior AM temporal horn",
    "RIAMTH": "R inferior AM temporal horn",
    "LIAMTH": "L inferior AM temporal horn",
    "RIGO": "R indusium griseum origin",
    "LIGO": "L indusium griseum origin",
    "RVOH": "R ventral occipital horn",
    "LVOH": "L ventral occipital horn",
    "ROSF": "R olfactory sulcal fundus",
    "LOSF": "L olfactory sulcal fundus",
}
NUMBERS = {
    name: number
    for number, (short, long) in enumerate(AFIDS.items(), start=1)
    for name in (str(number), short, long)
}


def are_afids(names: Iterable[str]) -> bool:
    """
    Whether landmarks are the fiducials, all 32, called by their numbers, short names or names.
    """
    numbers = [NUMBERS.get(name, 0) for name in names]
    return sorted(numbers) == list(range(1, len(AFIDS) + 1))


def write_afids(path: str | os.PathLike, landmarks: LandmarkSet) -> None:
    """
    Write the fiducials; one without a position gets ``nan``, whether it is absent or unknown.

    Raises:
        LandmarkError: when the landmarks are not the 32 fiducials.
    """
    if not are_afids(landmarks.names):
        raise LandmarkError(
            f"{path}: these landmarks are not the {len(AFIDS)} AFIDs, called 1 to 32 or AC to LOSF."
        )
    stream = io.StringIO(newline="")
    stream.write(header_lines())
    writer = csv.writer(stream, lineterminator="\n")
    rows = {NUMBERS[name]: point for name, point in zip(landmarks.names, landmarks.points)}
    for number, described in enumerate(AFIDS.values(), start=1):
        place = [repr(float(value)) for value in rows[number]]
        writer.writerow(
            [f"vtkMRMLMarkupsFiducialNode_{number}", *place, 0, 0, 0, 1, 1, 1, 0, number, described, ""]
        )
    write_text(path, stream.getvalue())
