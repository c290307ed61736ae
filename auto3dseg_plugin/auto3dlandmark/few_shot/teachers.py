# SPDX-License-Identifier: Apache-2.0
"""Landmarks of images that nobody annotated, out of several opinions: how far these lie apart says where not
to believe them.

An opinion is the landmarks that one teacher gives to each image, by case.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from ..estimates import Estimates
from ..landmarks import PRESENT, UNKNOWN, LandmarkSet

__all__ = ["Opinion", "of_templates", "weighed"]

Opinion = Mapping[str, LandmarkSet]

FAR = 3.0  # times what is usual for a landmark: opinions so far apart are not believed
LEAST_SCORE = 0.5


def of_templates(said: Sequence[LandmarkSet]) -> LandmarkSet | None:
    """
    One opinion out of those of single templates: medians, and how far the templates lie from them.

    Args:
        said: of the same image, each by one template; those that call themselves unusual do not count.

    Returns:
        None where no template can be believed.
    """
    usual = [one for one in said if one.estimates is None or not one.estimates.unusual > 1]
    if not usual:
        return None
    points = np.array([one.points for one in usual])
    known = np.isfinite(points).all(axis=2)
    there = known.sum(axis=0) * 2 > len(usual)  # most templates say so
    middle = np.full(points.shape[1:], np.nan)
    middle[there] = np.nanmedian(points[:, there], axis=0)
    off = np.where(known & there, np.linalg.norm(points - middle, axis=2), np.nan)
    spread = np.zeros(len(there))
    if len(usual) > 1:
        spread[there] = np.sqrt(np.nanmean(off[:, there] ** 2, axis=0))
    return _landmarks(usual[0].names, middle, spread)


def weighed(opinions: Sequence[tuple[Opinion, float]]) -> dict[str, LandmarkSet]:
    """
    What several teachers say together.

    A point is their mean, weighed. Where two lie apart by more than three times what is usual of the landmark
    it is unknown, and so is one with a low score, or whose templates lie so far apart.

    Args:
        opinions: each with its weight, such as one over its squared error; not all need have all cases. One
            of hardly any weight says only where not to believe the others.

    Returns:
        by case, with the distance of the opinions from the mean as covariance.
    """
    cases = list(dict.fromkeys(case for opinion, _ in opinions for case in opinion))
    merged = {case: _mean([(one[case], weight) for one, weight in opinions if case in one]) for case in cases}
    apart = np.array([apart for *_, apart in merged.values()]).reshape(len(cases), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of landmarks that everybody agrees on
        usual = np.nan_to_num(np.nanmedian(np.where(apart > 0, apart, np.nan), axis=0), nan=np.inf)
    result = {}
    for case, (points, spread, apart_here) in merged.items():
        names = next(one[case].names for one, _ in opinions if case in one)
        far = apart_here > FAR * usual
        result[case] = _landmarks(names, np.where(far[:, None], np.nan, points), spread)
    return result


def _mean(said: Sequence[tuple[LandmarkSet, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, NaN where nobody knows; how far those that know lie from them, mm, weighed and each alike."""
    points = np.array([_believed(one) for one, _ in said])
    known = np.isfinite(points).all(axis=2)
    weights = np.array([weight for _, weight in said])[:, None] * known
    total = weights.sum(axis=0)
    middle = np.full(points.shape[1:], np.nan)
    some = total > 0
    filled = np.where(known[..., None], points, 0.0)
    middle[some] = ((weights[..., None] * filled).sum(axis=0) / np.maximum(total, 1e-12)[:, None])[some]
    off = np.where(known, np.linalg.norm(filled - np.nan_to_num(middle), axis=2), 0.0)
    between = np.sqrt((weights * off**2).sum(axis=0) / np.maximum(total, 1e-12))
    own = np.array([_own_spread(one) for one, _ in said])
    within = np.sqrt((weights * own**2).sum(axis=0) / np.maximum(total, 1e-12))
    alike = np.sqrt((known * (off**2 + own**2)).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
    return middle, np.hypot(between, within), alike


def _believed(landmarks: LandmarkSet) -> np.ndarray:
    """Points, shape (N, 3), NaN for those with a low score."""
    low = landmarks.scores < LEAST_SCORE  # not of those without a score
    return np.where(low[:, None], np.nan, landmarks.points)


def _own_spread(landmarks: LandmarkSet) -> np.ndarray:
    """How far templates lie apart; zero of what a network says."""
    if landmarks.estimates is None or np.isfinite(landmarks.scores).any():
        return np.zeros(len(landmarks))
    return np.asarray(np.sqrt(np.nan_to_num(np.trace(landmarks.estimates.covariance, axis1=1, axis2=2))))


def _landmarks(names: Sequence[str], points: np.ndarray, spread: np.ndarray) -> LandmarkSet:
    """Points, unknown where there is none, with a spread in mm as covariance."""
    present = np.isfinite(points).all(axis=1)
    known = Estimates.unknown(len(names))
    covariance = np.where(present, spread**2 / 3, np.nan)[:, None, None] * np.eye(3)
    estimates = Estimates(known.probability, known.radii_mm, covariance, known.peaks, known.notes)
    return LandmarkSet(tuple(names), points, np.where(present, PRESENT, UNKNOWN), estimates=estimates)
