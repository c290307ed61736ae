# SPDX-License-Identifier: Apache-2.0
"""Turn shapes onto each other, with missing points: rotation and translation; size and handedness stay."""

from __future__ import annotations

import numpy as np

from ..geometry import fit_rotation

__all__ = ["aligned", "mean_shape", "misfit_mm", "size_mm"]

ROUNDS = 4


def aligned(shape: np.ndarray, mean: np.ndarray, use: np.ndarray | None = None) -> np.ndarray:
    """
    A case turned and moved onto the mean shape.

    Args:
        shape: millimetres, shape (N, 3), NaN where there is no point.
        mean: of the same landmarks, without NaN where they are used.
        use: which landmarks may say how, shape (N,); left out, all the case has.

    Returns:
        the case's points in the frame of the mean shape; as they are when it has none to go by.
    """
    shared = np.isfinite(shape).all(axis=1) & np.isfinite(mean).all(axis=1)
    shared = shared if use is None else shared & use
    if not shared.any():
        return shape
    rotation = fit_rotation(shape[shared], mean[shared])
    return np.asarray((shape - shape[shared].mean(axis=0)) @ rotation.T + mean[shared].mean(axis=0))


def mean_shape(shapes: np.ndarray) -> np.ndarray:
    """
    The usual shape of several cases, in the frame of the most complete one.

    Args:
        shapes: millimetres, shape (cases, N, 3), NaN where there is no point.

    Returns:
        shape (N, 3); NaN for a landmark that no case has.

    Source: generalised Procrustes analysis without scaling; medians, so that a faulty case says little.
    """
    mean = shapes[int(np.argmax(np.isfinite(shapes).all(axis=2).sum(axis=1)))]
    for _ in range(ROUNDS):
        turned = np.array([aligned(shape, mean) for shape in shapes])
        known = np.isfinite(turned).any(axis=0)
        mean = np.where(known, np.nanmedian(np.where(known, turned, 0.0), axis=0), np.nan)
    return np.asarray(mean)


def misfit_mm(shape: np.ndarray, mean: np.ndarray) -> float:
    """
    Root mean square distance of a case to the mean shape it is turned onto, in millimetres.
    """
    offset = aligned(shape, mean) - mean
    return float(np.sqrt(np.nanmean((offset**2).sum(axis=1))))


def size_mm(shape: np.ndarray) -> float:
    """
    Root mean square distance of landmarks from their middle, in millimetres.
    """
    offsets = shape - shape.mean(axis=0)
    return float(np.sqrt((offsets**2).sum(axis=1).mean()))
