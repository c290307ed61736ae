# SPDX-License-Identifier: Apache-2.0
"""Landmarks as voxels of an image: label maps, and the JSON files of nnLandmark.

These need the image's affine to say where a landmark is, so they are no landmark files of their own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..files import read_json, write_json
from ..geometry import voxel_to_world, world_to_voxel
from ..landmarks import PRESENT, LandmarkError, LandmarkSet
from .positions import three_numbers

__all__ = [
    "landmarks_of_labels",
    "paint_cubes",
    "paint_spheres",
    "read_nnlandmark_cases",
    "read_nnlandmark_prediction",
    "write_nnlandmark_cases",
    "write_nnlandmark_prediction",
]


def landmarks_of_labels(labels: np.ndarray, affine: np.ndarray, names: Mapping[int, str]) -> LandmarkSet:
    """
    The centroid of each label of a label map; a label without a voxel is unknown.

    Args:
        labels: whole numbers, shape (H, W, D).
        affine: voxel to RAS millimetres, shape (4, 4).
        names: by label value.

    Raises:
        LandmarkError: when the map holds a label without a name.
    """
    values = np.unique(labels)
    nameless = [int(value) for value in values if value != 0 and value not in names]
    if nameless:
        raise LandmarkError(f"the label map holds the label {nameless[0]}, which has no name.")
    points = np.full((len(names), 3), np.nan)
    for row, value in enumerate(names):
        voxels = np.argwhere(labels == value)
        if len(voxels):
            points[row] = voxel_to_world(voxels.mean(axis=0), affine)
    return LandmarkSet(tuple(names.values()), points)


def paint_cubes(
    landmarks: LandmarkSet, shape: Sequence[int], affine: np.ndarray, reach: int = 1
) -> tuple[np.ndarray, list[str]]:
    """
    A label map with a cube of 3 voxels around each present landmark, numbered from 1 in their order.

    Returns:
        labels: uint8, or uint16 for more than 255 landmarks; shape ``shape``.
        lost: the names whose cube is cut by the border or painted over by another's.
    """
    labels = np.zeros(tuple(shape), dtype=np.uint8 if len(landmarks) < 256 else np.uint16)
    whole = (2 * reach + 1) ** 3
    for number, (point, status) in enumerate(zip(landmarks.points, landmarks.status), start=1):
        if status == PRESENT:
            centre = np.round(world_to_voxel(point, affine)).astype(int)
            cube = tuple(slice(max(at - reach, 0), max(at + reach + 1, 0)) for at in centre)
            labels[cube] = number
    counts = np.bincount(labels.ravel(), minlength=len(landmarks) + 1)
    return labels, [
        name
        for number, (name, status) in enumerate(zip(landmarks.names, landmarks.status), start=1)
        if status == PRESENT and counts[number] < whole
    ]


def paint_spheres(
    landmarks: LandmarkSet, shape: Sequence[int], affine: np.ndarray, radius_mm: float
) -> np.ndarray:
    """
    A label map with a ball around each present landmark, numbered from 1 in their order. Balls are smaller where
    landmarks lie closer together, so that the centroid of each is its landmark, up to the voxels' coarseness.

    Returns:
        labels: uint8, or uint16 for more than 255 landmarks; shape ``shape``.
    """
    labels = np.zeros(tuple(shape), dtype=np.uint8 if len(landmarks) < 256 else np.uint16)
    nearest = np.full(labels.shape, np.inf, dtype=np.float32)
    reach = np.ceil(radius_mm * np.linalg.norm(np.linalg.inv(affine[:3, :3]), axis=1)).astype(int)
    apart = np.linalg.norm(landmarks.points[:, None] - landmarks.points, axis=-1) + np.diag(
        [np.inf] * len(landmarks)
    )
    radii = np.minimum(np.nanmin(np.nan_to_num(apart, nan=np.inf), axis=1, initial=np.inf) / 2, radius_mm)
    for number, (point, status) in enumerate(zip(landmarks.points, landmarks.status), start=1):
        if status == PRESENT:
            centre = np.round(world_to_voxel(point, affine)).astype(int)
            low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, labels.shape)
            if (low >= high).any():
                continue
            box = tuple(slice(first, end) for first, end in zip(low, high))
            voxels = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
            distance = np.linalg.norm(voxel_to_world(voxels, affine) - point, axis=-1)
            inside = (distance <= max(radii[number - 1], distance.min())) & (distance < nearest[box])
            labels[box][inside] = number
            nearest[box][inside] = distance[inside]
    return labels


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


def read_nnlandmark_prediction(
    path: str | os.PathLike, names: Mapping[int, str], affine: np.ndarray
) -> LandmarkSet:
    """
    Read nnLandmark's prediction of one case; its likelihoods become scores.

    Args:
        names: by label number, as in dataset.json.
        affine: of the image, shape (4, 4).

    Raises:
        LandmarkError: for another form, or a number without a name.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise LandmarkError(f"{path}: must hold an object of label numbers and their coordinates.")
    found: dict[str, tuple[np.ndarray, float]] = {}
    for number, entry in content.items():
        name = names.get(int(number)) if number.isdigit() else None
        if name is None or not isinstance(entry, dict):
            raise LandmarkError(f"{path}: {number!r} is not the number of a landmark.")
        place, likelihood = _triple(path, number, entry.get("coordinates")), entry.get("likelihood", np.nan)
        if isinstance(likelihood, bool) or not isinstance(likelihood, (int, float)):
            raise LandmarkError(f"{path}: the likelihood of {number!r} is {likelihood!r}, not a number.")
        found[name] = voxel_to_world(place, affine), float(likelihood)
    unknown = np.full(3, np.nan), np.nan
    rows = [found.get(name, unknown) for name in names.values()]
    return LandmarkSet(
        tuple(names.values()),
        np.array([row[0] for row in rows]).reshape(-1, 3),
        scores=np.array([row[1] for row in rows]),
    )


def write_nnlandmark_prediction(
    path: str | os.PathLike, landmarks: LandmarkSet, names: Mapping[int, str], affine: np.ndarray
) -> None:
    """
    Write landmarks as nnLandmark's prediction of one case; those that are not present are left out.
    """
    places, content = _voxels(landmarks, affine), {}
    for number, name in names.items():
        if name in places:
            score = float(landmarks.scores[landmarks.names.index(name)])
            entry: dict[str, Any] = {"coordinates": places[name]}
            content[str(number)] = entry if np.isnan(score) else {**entry, "likelihood": score}
    write_json(path, content)


def _triple(path: str | os.PathLike, what: str, value: Any) -> np.ndarray:
    triple = three_numbers(value)
    if triple is None:
        raise LandmarkError(f"{path}: {what}: {value!r} is not a voxel of three numbers.")
    return triple
