# SPDX-License-Identifier: Apache-2.0
"""How sure a model is of an image, in one number for the case."""

from __future__ import annotations

import numpy as np

from ..estimates import LEVELS
from ..landmarks import LandmarkSet

__all__ = ["confidence_of", "disagreement_of", "expected_gain"]

ABSENCE_MM = 10.0  # what finding that a landmark is there, or not, is worth


def confidence_of(landmarks: LandmarkSet) -> float | None:
    """
    The score of the least certain landmark, in [0, 1]; None where there are no scores, as of registration.
    """
    known = landmarks.scores[np.isfinite(landmarks.scores)]
    return float(known.min()) if len(known) else None


def expected_gain(landmarks: LandmarkSet) -> float | None:
    """
    What a review of the case is expected to mend, in millimetres summed over its landmarks: the errors to
    expect, and something for each landmark that may be there though predicted absent, or the reverse.

    Returns:
        None when the prediction does not say how far off it may be.
    """
    known = landmarks.estimates
    if known is None or not np.isfinite(known.radii_mm[landmarks.present]).all():
        return None
    wrong = np.where(landmarks.present, 1 - known.probability, known.probability)
    errors = np.nan_to_num(known.radii_mm[:, LEVELS.index(50)])
    return float(errors.sum() + ABSENCE_MM * np.nansum(wrong))


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
