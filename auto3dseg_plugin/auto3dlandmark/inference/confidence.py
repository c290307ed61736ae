# SPDX-License-Identifier: Apache-2.0
"""How sure a model is of an image, in one number for the case."""

from __future__ import annotations

import numpy as np

from ..landmarks import LandmarkSet

__all__ = ["confidence_of", "disagreement_of"]


def confidence_of(landmarks: LandmarkSet) -> float:
    """
    The score of the least certain landmark, in [0, 1].
    """
    return float(np.nanmin(landmarks.scores))


def disagreement_of(points: np.ndarray) -> float | None:
    """
    Root mean square distance of the networks' points from their middle, in millimetres; None for a single
    network or no landmark.

    Args:
        points: RAS millimetres, shape (networks, N, 3).
    """
    if len(points) < 2 or points.shape[1] == 0:
        return None
    offsets = points - points.mean(axis=0)
    return float(np.sqrt((offsets**2).sum(axis=-1).mean()))
