# SPDX-License-Identifier: Apache-2.0
"""Landmarks as segments, for clients that know nothing else: small balls out, and what comes back as
points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auto3dlandmark.data.images import IMAGE_SUFFIXES, read_geometry, read_image
from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.formats.label_maps import landmarks_of_labels, paint_spheres
from auto3dlandmark.formats.markups import markups_bytes
from auto3dlandmark.geometry import voxel_spacing
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN, LandmarkSet
from auto3dlandmark.review.store import FINAL, ORIGINAL, ReviewStore
from auto3dlandmark.review.submission import ReviewError

__all__ = ["is_label_map", "points_of_spheres", "spheres_of"]

SPHERE_VOXELS = 3.0  # radius, of the coarsest voxels


def is_label_map(file_name: str) -> bool:
    """Whether a file of this name is to be read as an image."""
    return file_name.lower().endswith(IMAGE_SUFFIXES)


def spheres_of(landmarks: LandmarkSet, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """
    A label map of balls, numbered from 1 in the landmarks' order; shape ``shape``.
    """
    return paint_spheres(landmarks, shape, affine, SPHERE_VOXELS * float(voxel_spacing(affine).max()))


def points_of_spheres(
    store: ReviewStore, image_id: str, file: Path, label_info: list[dict[str, Any]] | None = None
) -> bytes:
    """
    A label map as a point list, the content of a ``.mrk.json`` file.

    A segment that is the very ball of a label or prediction on the server was not touched: it stands for that
    exact point. Another one stands for its centroid. A landmark without a voxel is absent when the label on
    the server says so, and unknown otherwise.

    Args:
        file: the label map.
        label_info: ``name`` and ``idx`` of each segment; left out, the order of the landmarks.

    Raises:
        ReviewError: when it is no label map, or holds a segment that is no landmark.
    """
    labels, affine = read_image(file)
    shape, own_affine = read_geometry(store.image(image_id))
    if labels.shape != tuple(shape) or not np.allclose(affine, own_affine, atol=1e-3):
        raise ReviewError(
            "the label map is not on the grid of the image. Export it with the image as its reference."
        )
    names = _segments(store, label_info)
    try:
        found = landmarks_of_labels(labels, affine, names).select(store.names)
    except LandmarkError as error:
        raise ReviewError(str(error)) from error
    numbers = {name: number for number, name in names.items()}
    points, status = found.points.copy(), found.status.copy()
    for tag in (ORIGINAL, FINAL):
        if image_id in store.labelled(tag):
            before = store.landmarks(image_id, tag).select(store.names)
            balls = spheres_of(before, labels.shape, affine)
            for row, name in enumerate(store.names):
                untouched = np.array_equal(balls == row + 1, labels == numbers.get(name, 0))
                if status[row] == PRESENT and before.status[row] == PRESENT and untouched:
                    points[row] = before.points[row]
                if tag == FINAL and status[row] == UNKNOWN and before.status[row] == ABSENT:
                    status[row] = ABSENT
    return markups_bytes(LandmarkSet(found.names, points, status))


def _segments(store: ReviewStore, label_info: Any) -> dict[int, str]:
    """Names of the segments by their number in the label map."""
    if not label_info:
        return dict(enumerate(store.names, start=1))
    try:
        pairs = [(int(entry["idx"]), str(entry["name"])) for entry in label_info]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ReviewError("label_info must be a list of segments with 'name' and 'idx'.") from error
    names = dict(pairs)
    strange = sorted(set(names.values()) - set(store.names))
    if strange:
        raise ReviewError(f"the segment {strange[0]!r} is no landmark of the model.")
    if not len(pairs) == len(names) == len(set(names.values())):
        raise ReviewError("label_info names a number or a landmark twice.")
    return names
