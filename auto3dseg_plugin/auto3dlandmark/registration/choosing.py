# SPDX-License-Identifier: Apache-2.0
"""Which images to annotate first: those that the others are most like."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from .pose_search import Volume, search_pose
from .templates import read_volume

__all__ = ["medoids", "representative"]

COMPARED_VOXELS = 24  # along the longest side of the first image, in which all are compared
SWAPS = 50


def representative(
    images: Sequence[str | os.PathLike], count: int, progress: bool = True
) -> list[tuple[int, int]]:
    """
    The images that the others are most like, in any pose.

    Args:
        images: files.
        count: how many to choose.

    Returns:
        for each chosen one its number in ``images``, and for how many it stands; that of most first.

    Raises:
        LandmarkError: when an image cannot be read.
    """
    first = read_volume(images[0])
    coarse = first.coarser(COMPARED_VOXELS)
    grid = np.moveaxis(np.indices(coarse.values.shape), 0, -1).reshape(-1, 3).astype(float)
    points = grid @ coarse.affine[:3, :3].T + coarse.affine[:3, 3]
    seen = [
        _seen(first, read_volume(image), points)
        for image in tqdm(images, "choose", unit="image", disable=not progress)
    ]
    distances = 1 - np.corrcoef(np.array(seen))
    chosen = medoids(distances, count)
    nearest = distances[:, chosen].argmin(axis=1)
    stands_for = [int((nearest == number).sum()) for number in range(len(chosen))]
    return sorted(zip(chosen, stands_for), key=lambda one: -one[1])


def _seen(first: Volume, image: Volume, points: np.ndarray) -> np.ndarray:
    """An image's grey values at places of the first one."""
    matrix = search_pose(first, image).matrix
    smooth = image.coarser(2 * COMPARED_VOXELS)
    values = smooth.at(points @ matrix[:3, :3].T + matrix[:3, 3])
    return values + 1e-6 * np.arange(len(values)) / len(values)  # never constant


def medoids(distances: np.ndarray, count: int) -> list[int]:
    """
    The rows from which all others are least far.

    Args:
        distances: shape (n, n), symmetric.
        count: how many; all rows, where there are no more.

    Source: Kaufman and Rousseeuw, "Partitioning around medoids", 1990: the best first, then swaps.
    """
    total = len(distances)
    if count >= total:
        return list(range(total))
    chosen: list[int] = []
    for _ in range(count):
        left = [row for row in range(total) if row not in chosen]
        chosen.append(min(left, key=lambda row: _far(distances, [*chosen, row])))
    for _ in range(SWAPS):
        swaps = [
            [*chosen[:place], row, *chosen[place + 1 :]]
            for place in range(count)
            for row in range(total)
            if row not in chosen
        ]
        best = min(swaps, key=lambda rows: _far(distances, rows))
        if _far(distances, best) >= _far(distances, chosen) - 1e-12:
            break
        chosen = best
    return chosen


def _far(distances: np.ndarray, rows: Sequence[int]) -> float:
    return float(distances[:, list(rows)].min(axis=1).sum())
