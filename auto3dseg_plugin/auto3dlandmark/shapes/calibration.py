# SPDX-License-Identifier: Apache-2.0
"""What held-out cases say of a network and a shape model: how noisy peaks are, whether the shape helps, how
far off points are, which are absent, and how odd a case may be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..conventions.same_slice import SameSlice
from ..errors import LandmarkError
from ..geometry import NORMAL_MEDIAN, radial_error
from ..landmarks import PRESENT, UNKNOWN
from .absence import FEATURES, Presence, fit_presence, presence_features
from .hypotheses import Hypothesis
from .model import ShapeModel
from .oddness import Oddness, fit_oddness
from .peaks import Peaks
from .posterior import ShapePosterior, shape_posterior
from .radius import Radius, fit_radius, radius_features

__all__ = ["Calibration", "HeldOut", "calibrate", "evidence_of", "in_slices", "usual_slices"]

VERSION = 4  # changes when held-out cases are to be looked at again
FACTORS = (0.15, 0.3, 0.6, 1.0)  # of the peaks' own error, which is partly the shape's
FEWEST_CASES = 3  # held-out cases that may say that the shape helps
POOLED_CASES = 10.0  # what all landmarks say together counts as so many cases of each
WORTH = 0.02  # the share of the error that the posterior must save, to be used by itself
LEAST_MM = 0.01
HURTS = 2.0  # standard errors by which a landmark is worse, to be left as it was found


@dataclass(frozen=True)
class HeldOut:
    """
    A case that the network has not seen.

    Args:
        id: of the case.
        peaks: what was found in it.
        points: the truth, RAS millimetres, shape (N, 3).
        status: of the truth, codes of landmarks.py, shape (N,).
        model: of the shapes the network was trained on.
    """

    id: str
    peaks: Peaks
    points: np.ndarray
    status: np.ndarray
    model: ShapeModel


@dataclass(frozen=True)
class Calibration:
    """
    What was learnt from held-out cases.

    Args:
        noise_mm: standard deviation of a right peak along each axis, shape (N,).
        factor: how many times nearer to the peaks than this says their points are drawn; what is likely of a
            case, who is there, and which peaks are astray, is judged by the noise itself.
        use: which landmarks take their point from the posterior when it is chosen, shape (N,).
        helps: whether the posterior is used unless somebody says otherwise.
        before_mm, after_mm: mean error of the peaks and of the posterior's points, in these very cases.
        radius: how far off the posterior's points are.
        radius_as_found: how far off the first peaks are.
        presence: which are there; None when held-out cases do not tell.
        oddness: what signs of a case are usual.
        cases: how many held-out cases there were.
    """

    noise_mm: np.ndarray
    factor: float
    use: np.ndarray
    helps: bool
    before_mm: float
    after_mm: float
    radius: Radius
    radius_as_found: Radius
    presence: Presence | None
    oddness: Oddness
    cases: int

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Plain numbers."""
        presence = None
        if self.presence is not None:
            present, absent = self.presence.points
            presence = {
                "weights": np.round(self.presence.weights, 6).tolist(),
                "bias": round(self.presence.bias, 6),
                "threshold": round(self.presence.threshold, 6),
                "present": present,
                "absent": absent,
            }
        return {
            "held_out_cases": self.cases,
            "helps": self.helps,
            "before_mm": _number(self.before_mm),
            "after_mm": _number(self.after_mm),
            "noise_mm": dict(zip(names, np.round(self.noise_mm, 5).tolist())),
            "noise_factor": self.factor,
            "left_as_found": [name for name, use in zip(names, self.use) if not use],
            "usual_signs": self.oddness.to_json(),
            "radius": self.radius.to_json(names),
            "radius_as_found": self.radius_as_found.to_json(names),
            "presence": presence,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], names: Sequence[str], where: str) -> Calibration:
        """
        Raises:
            LandmarkError: when it is not what :meth:`to_json` gives.
        """
        try:
            told = content["presence"]
            presence = None
            if told is not None:
                weights = np.array(told["weights"], dtype=float).reshape(FEATURES)
                points = (int(told["present"]), int(told["absent"]))
                presence = Presence(weights, float(told["bias"]), float(told["threshold"]), points)
            before, after = (
                np.nan if content[key] is None else float(content[key]) for key in ("before_mm", "after_mm")
            )
            return cls(
                np.array([float(content["noise_mm"][name]) for name in names]),
                float(content.get("noise_factor", 1.0)),
                np.array([name not in content["left_as_found"] for name in names]),
                bool(content["helps"]),
                before,
                after,
                Radius.from_json(content["radius"], names),
                Radius.from_json(content["radius_as_found"], names),
                presence,
                Oddness.from_json(content["usual_signs"]),
                int(content["held_out_cases"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LandmarkError(
                f"{where}: holds no calibration ({error}). Calibrate the bundle again."
            ) from error


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


@dataclass(frozen=True)
class Evidence:
    """
    All that is known of a case once its peaks and the shape have met: one row a landmark; and signs of how
    odd it is.
    """

    posterior: ShapePosterior
    radius: np.ndarray
    presence: np.ndarray
    signs: Mapping[str, float]


def evidence_of(
    model: ShapeModel,
    peaks: Peaks,
    noise_mm: np.ndarray,
    groups: np.ndarray,
    hypotheses: Sequence[Hypothesis],
    factor: float = 1.0,
) -> Evidence:
    """
    The posterior of a case, and what its radii and its presence are told from.

    Args:
        noise_mm: standard deviation of a right peak along each axis, shape (N,).
        groups: landmarks that are absent together, shape (N,).
        hypotheses: what the network may have done.
        factor: as for :class:`Calibration`.
    """
    judged = shape_posterior(model, peaks, noise_mm, hypotheses)
    posterior, drawn_mm = judged, noise_mm
    if factor != 1:
        likeliest = [one for one in hypotheses if one.name == judged.hypothesis]
        drawn_mm = noise_mm * factor ** (judged.near_mass / np.maximum(peaks.masses.sum(axis=1), 1e-9))
        posterior = shape_posterior(model, peaks, drawn_mm, likeliest)
    inside = peaks.inside_mm(judged.points)
    return Evidence(
        posterior,
        radius_features(posterior, peaks, drawn_mm),
        presence_features(
            peaks.masses[:, 0], judged.near_mass, inside, judged.deviation_mm + noise_mm, groups
        ),
        {**peaks.signs, "misfit": judged.misfit, "unfound": _unfound(judged, inside)},
    )


def _unfound(posterior: ShapePosterior, inside: np.ndarray) -> float:
    """The share of what should be in the image that the network has not found where it is."""
    seen = inside > 0
    return float(1 - posterior.near_mass[seen].mean()) if seen.any() else 1.0


def in_slices(same_slice: SameSlice | None, points: np.ndarray, peaks: Peaks) -> np.ndarray:
    """
    Points of a case with those that are annotated in one slice laid into it; a peak counts as its mass.

    They are left alone in an image that lies askew.

    Args:
        points: RAS millimetres, shape (N, 3).
        peaks: what was found in the case.
    """
    mass, affine = peaks.masses[:, 0], peaks.affine
    if same_slice is None or same_slice.askew(peaks.first, mass, affine):
        return points
    return same_slice.laid(points, mass, affine)


def usual_slices(same_slice: SameSlice, held_out: Sequence[HeldOut]) -> SameSlice:
    """Slices, with how far the peaks of held-out cases lie from them."""
    found = (case.peaks for case in held_out)
    return same_slice.seen_in((peaks.first, peaks.masses[:, 0], peaks.affine) for peaks in found)


def calibrate(
    held_out: Sequence[HeldOut],
    groups: np.ndarray,
    hypotheses: Sequence[Hypothesis],
    same_slice: SameSlice | None = None,
) -> Calibration:
    """
    Learn from held-out cases.

    Args:
        held_out: with the same landmarks.
        groups: as for :func:`evidence_of`.
        hypotheses: what a network may have done.
        same_slice: landmarks whose points are laid into one slice.

    Raises:
        LandmarkError: when there is no held-out case.
    """
    if not held_out:
        raise LandmarkError("there is no held-out case to calibrate with.")
    noise = _noise(held_out)
    found = np.array([_error(case, case.peaks.first, same_slice) for case in held_out])  # (cases, N)
    best: tuple[float, float, list[Evidence], np.ndarray] | None = None
    for factor in FACTORS:
        evidence = [
            evidence_of(case.model, case.peaks, noise, groups, hypotheses, factor) for case in held_out
        ]
        errors = np.array(
            [_error(case, one.posterior.points, same_slice) for one, case in zip(evidence, held_out)]
        )
        if best is None or _mean(errors) < best[0]:
            best = _mean(errors), factor, evidence, errors
    assert best is not None
    _, factor, evidence, errors = best
    use = ~_hurt(found, errors)
    after = np.where(use, errors, found)
    helps = len(held_out) >= FEWEST_CASES and _mean(after) < (1 - WORTH) * _mean(found)
    # Those in doubt are told of anyway; they would widen the radii of others, and a chain a level off says
    # nothing true of who is there.
    sure = [row for row, case in enumerate(held_out) if case.peaks.elsewhere_mm is None]
    sure = sure or list(range(len(held_out)))
    features = [evidence[row].radius for row in sure]
    judged = [(row, (groups >= 0) & (held_out[row].status != UNKNOWN)) for row in sure]
    return Calibration(
        noise,
        factor,
        use,
        helps,
        _mean(found),
        _mean(after),
        fit_radius(features, list(after[sure])),
        fit_radius(features, list(found[sure])),
        fit_presence(
            [evidence[row].presence[known] for row, known in judged],
            [held_out[row].status[known] == PRESENT for row, known in judged],
        ),
        fit_oddness([one.signs for one in evidence], [_mean(one) for one in after]),
        len(held_out),
    )


def _error(case: HeldOut, points: np.ndarray, same_slice: SameSlice | None) -> np.ndarray:
    """How far off points of a case are, shape (N,)."""
    return radial_error(in_slices(same_slice, points, case.peaks), case.points)


def _noise(held_out: Sequence[HeldOut]) -> np.ndarray:
    """Robust standard deviation of each landmark's first peaks along an axis, drawn to that of all, shape
    (N,)."""
    errors = np.array([radial_error(case.peaks.first, case.points) for case in held_out])
    pooled = float(np.nanmedian(errors)) if np.isfinite(errors).any() else 1.0
    known = np.isfinite(errors).sum(axis=0)
    own = np.array([np.nanmedian(column) if count else pooled for column, count in zip(errors.T, known)])
    share = known / (known + POOLED_CASES)
    return np.asarray(
        np.maximum(np.maximum(own, LEAST_MM) ** share * pooled ** (1 - share), LEAST_MM) / NORMAL_MEDIAN
    )


def _mean(errors: np.ndarray) -> float:
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if len(known) else float("nan")


def _hurt(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Landmarks whose points are clearly further off after than before, shape (N,)."""
    worse = after - before
    known = np.isfinite(worse)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, worse, 0).sum(axis=0) / count
    variance = np.where(known, (worse - mean) ** 2, 0).sum(axis=0) / np.maximum(count - 1, 1)
    return np.asarray((known.sum(axis=0) >= FEWEST_CASES) & (mean > HURTS * np.sqrt(variance / count)))
