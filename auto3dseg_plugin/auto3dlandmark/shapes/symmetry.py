# SPDX-License-Identifier: Apache-2.0
"""Whether a shape is its own mirror image, and which landmarks then take each other's place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .alignment import aligned, size_mm

__all__ = ["flip_groups", "lie_between_sides", "mirrored_pairs"]

SYMMETRIC = 0.12  # of the shape's size: as far as a landmark may be from its partner's mirror image
ALONE = 0.2  # the share of landmarks that may lack a partner
FLAT = 0.05  # of its longest extent: a shape that is flatter is its own mirror image in any case
SAGITTAL = 0.9  # of the direction across a plane of landmarks: how much of it points left or right, at least
SHARE = 0.9  # of the cases, that have to lie so
ROUNDS = 5


def flip_groups(mean: np.ndarray, pairs: Sequence[Sequence[int]]) -> list[list[int]] | None:
    """
    What becomes of each landmark when an image is flipped.

    Args:
        mean: the usual shape, millimetres, shape (N, 3); NaN where it is not known.
        pairs: indices of landmarks that mirror each other; the others lie between, or have no partner.

    Returns:
        the pairs, which exchange names, and each landmark without a partner alone, which is not known then;
        None when the shape looks otherwise in a mirror.
    """
    partner = np.arange(len(mean))
    for first, second in pairs:
        partner[first], partner[second] = second, first
    known = np.isfinite(mean).all(axis=1) & np.isfinite(mean[partner]).all(axis=1)
    if known.sum() < 3:
        return None
    distance = np.full(len(mean), np.inf)
    distance[known] = _distances((mean * (-1, 1, 1))[known], mean[partner][known])
    far = distance > SYMMETRIC * size_mm(mean[known])
    if far[[row for pair in pairs for row in pair]].any() or far.mean() > ALONE:
        return None
    return [
        *([int(first), int(second)] for first, second in pairs),
        *([int(row)] for row in np.flatnonzero(far)),
    ]


def lie_between_sides(shapes: np.ndarray) -> bool:
    """
    Whether all landmarks lie in the plane between left and right: each is its own partner in a mirror then.

    Args:
        shapes: cases in RAS millimetres, shape (cases, N, 3); NaN where there is no point.
    """
    flat = []
    for points in shapes:
        points = points[np.isfinite(points).all(axis=1)]
        if len(points) >= 4:
            _, extents, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=True)
            flat.append(extents[-1] < FLAT * extents[0] and abs(axes[-1, 0]) > SAGITTAL)
    return bool(flat) and float(np.mean(flat)) >= SHARE


def mirrored_pairs(mean: np.ndarray) -> list[tuple[int, int]] | None:
    """
    Landmarks that mirror each other, by the shape alone.

    Args:
        mean: the usual shape, millimetres, shape (N, 3).

    Returns:
        pairs of indices; None when the shape is not symmetric, or is flat, so that anything would be its
        mirror image.
    """
    centred = mean - mean.mean(axis=0)
    _, extents, axes = np.linalg.svd(centred, full_matrices=True)
    if len(mean) < 4 or extents[-1] < FLAT * extents[0]:
        return None
    best: tuple[float, np.ndarray] = (ALONE, np.arange(len(mean)))
    for axis in axes:
        mirrored = centred - 2 * np.outer(centred @ axis, axis)
        for _ in range(ROUNDS):  # the plane is not exactly a principal one
            partner = np.linalg.norm(mirrored[:, None] - centred, axis=2).argmin(axis=1)
            mirrored = aligned(mirrored, centred[partner])
        near = np.linalg.norm(mirrored - centred[partner], axis=1) < SYMMETRIC * size_mm(mean)
        right = near & (partner[partner] == np.arange(len(mean)))
        if 1 - right.mean() < best[0]:
            best = 1 - right.mean(), np.where(right, partner, np.arange(len(mean)))
    pairs = [(row, int(other)) for row, other in enumerate(best[1]) if row < other]
    return pairs or None


def _distances(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """How far matching points are apart once most of them are laid on each other."""
    use = np.ones(len(points), dtype=bool)
    for _ in range(ROUNDS):
        distance = np.linalg.norm(aligned(points, reference, use) - reference, axis=1)
        use = distance <= max(np.quantile(distance, 1 - ALONE), 1e-9)
    return np.asarray(distance)
