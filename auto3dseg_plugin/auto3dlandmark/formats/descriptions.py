# SPDX-License-Identifier: Apache-2.0
"""What Slicer has no field for, written into a point's description, which survives a load and save in Slicer.

``score=0.93 probability=0.99 radius_mm=0.4,1.1,1.5 peak_ras_mm=1,2,3 covariance_mm2=... status=missing
note=...``
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import LandmarkError
from ..estimates import LEVELS, Estimates
from ..landmarks import ABSENT, LandmarkSet

__all__ = ["Description", "description_of", "estimates_of", "read_description"]

SIZES = {
    "score": 1,
    "probability": 1,
    "radius_mm": len(LEVELS),
    "peak_ras_mm": 3,
    "covariance_mm2": 6,
    "unusual": 1,
}
DIGITS = {key: 9 if key == "peak_ras_mm" else 6 for key in SIZES}  # micrometres of a position
NUMBER = "[0-9.eE+-]+"
VALUES = {key: re.compile(rf"\b{key}=({NUMBER}(?:,{NUMBER}){{{size - 1}}})") for key, size in SIZES.items()}
MISSING = re.compile(r"\bstatus=missing\b")
NOTE = re.compile(r"(?<!\S)note=(.*)\Z", re.DOTALL)
UPPER = np.triu_indices(3)  # xx, xy, xz, yy, yz, zz


@dataclass(frozen=True)
class Description:
    """
    What a description says.

    Args:
        missing: the landmark is known not to be there.
        numbers: by key, NaN where it says nothing.
        note: in words.
    """

    missing: bool
    numbers: dict[str, np.ndarray]
    note: str

    @property
    def score(self) -> float:
        """NaN where there is none."""
        return float(self.numbers["score"][0])


def description_of(landmarks: LandmarkSet, row: int) -> str:
    """
    The description of a landmark.

    Args:
        row: which one.
    """
    told: list[tuple[str, Sequence[float]]] = [("score", [landmarks.scores[row]])]
    note = ""
    if (known := landmarks.estimates) is not None:
        told += [("probability", [known.probability[row]]), ("radius_mm", known.radii_mm[row])]
        told += [("peak_ras_mm", known.peaks[row]), ("covariance_mm2", known.covariance[row][UPPER])]
        told += [("unusual", [known.unusual])]
        note = known.notes[row]
    parts = [
        f"{key}={','.join(f'{value:.{DIGITS[key]}g}' for value in values)}"
        for key, values in told
        if not np.isnan(np.asarray(values, dtype=float)).any()
    ]
    if landmarks.status[row] == ABSENT:
        parts.append("status=missing")
    return " ".join([*parts, *([f"note={note}"] if note else [])])


def read_description(description: str, where: str) -> Description:
    """
    What a description says.

    Args:
        where: the file and the landmark, for the error.

    Raises:
        LandmarkError: when a key is not followed by its numbers.
    """
    note = NOTE.search(description)
    text = description if note is None else description[: note.start()]
    numbers = {key: np.full(size, np.nan) for key, size in SIZES.items()}
    for key, pattern in VALUES.items():
        if found := pattern.search(text):
            try:
                numbers[key] = np.array([float(part) for part in found.group(1).split(",")])
            except ValueError:
                raise LandmarkError(
                    f"{where} is described as {description!r}, without a number after '{key}='."
                ) from None
    return Description(
        MISSING.search(text) is not None, numbers, "" if note is None else note.group(1).strip()
    )


def estimates_of(descriptions: Sequence[Description]) -> Estimates | None:
    """
    What the descriptions of all landmarks of a case say together; None when they say nothing but scores.
    """
    keys = [key for key in SIZES if key != "score"]
    if not any(one.note or any(not np.isnan(one.numbers[key]).all() for key in keys) for one in descriptions):
        return None
    values = {key: np.array([one.numbers[key] for one in descriptions]) for key in keys}
    covariance = np.full((len(descriptions), 3, 3), np.nan)
    covariance[:, UPPER[0], UPPER[1]] = covariance[:, UPPER[1], UPPER[0]] = values["covariance_mm2"]
    unusual = values["unusual"][:, 0]
    return Estimates(
        values["probability"][:, 0],
        values["radius_mm"],
        covariance,
        values["peak_ras_mm"],
        tuple(one.note for one in descriptions),
        float(unusual[~np.isnan(unusual)][0]) if not np.isnan(unusual).all() else np.nan,
    )
