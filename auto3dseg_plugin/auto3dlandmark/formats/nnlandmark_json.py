# SPDX-License-Identifier: Apache-2.0
"""nnLandmark's JSON of voxels: every case's landmarks in one file, which need the images' affines to say
where they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import LandmarkError
from ..files import read_json, write_json
from ..geometry import world_to_voxel
from ..landmarks import PRESENT, LandmarkSet
from .positions import three_numbers

__all__ = ["read_nnlandmark_cases", "write_nnlandmark_cases"]


def read_nnlandmark_cases(path: str | os.PathLike) -> dict[str, dict[str, np.ndarray]]:
    """
    Read ``all_landmarks_voxel.json``: voxel indices (i, j, k) by case and name.

    Raises:
        LandmarkError: for another form.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(names, dict) for names in content.values()):
        raise LandmarkError(f"{path}: must hold for each case an object of landmarks and their voxels.")
    return {
        case: {name: _triple(path, f"{case}, {name}", value) for name, value in names.items()}
        for case, names in content.items()
    }


def write_nnlandmark_cases(
    path: str | os.PathLike, cases: Mapping[str, tuple[LandmarkSet, np.ndarray]]
) -> None:
    """
    Write ``all_landmarks_voxel.json``, without rounding; landmarks that are not present are left out.

    Args:
        cases: landmarks, and the image's affine.
    """
    write_json(path, {case: _voxels(landmarks, affine) for case, (landmarks, affine) in cases.items()})


def _voxels(landmarks: LandmarkSet, affine: np.ndarray) -> dict[str, list[float]]:
    places = world_to_voxel(landmarks.points, affine)
    return {
        name: [float(value) for value in place]
        for name, place, status in zip(landmarks.names, places, landmarks.status)
        if status == PRESENT
    }


def _triple(path: str | os.PathLike, what: str, value: Any) -> np.ndarray:
    triple = three_numbers(value)
    if triple is None:
        raise LandmarkError(f"{path}: {what}: {value!r} is not a voxel of three numbers.")
    return triple
