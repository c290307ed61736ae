# SPDX-License-Identifier: Apache-2.0
"""From peaks to landmarks: which point each one gets, how far off it may be, and whether it is there.

All of it is kept in one readable file of a bundle, ``models/shape.json``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtr

from ..conventions.same_slice import SameSlice
from ..errors import LandmarkError
from ..estimates import LEVELS, Estimates
from ..files import read_json, write_json
from ..geometry import NORMAL_MEDIAN
from ..landmarks import ABSENT, PRESENT, LandmarkSet
from .absence import groups_of_absence
from .calibration import Calibration, Evidence, HeldOut, calibrate, evidence_of, in_slices, usual_slices
from .hypotheses import AS_FOUND, hypotheses_for
from .model import ShapeModel, fit_shape
from .oddness import DOUBT, Oddness
from .peaks import Peaks
from .posterior import ShapePosterior

__all__ = ["ShapeEstimator", "fit_estimator", "honest_landmarks"]

VERSION = 2
MOST_FOLDS = 10
EDGE_MM_PER_SIZE = 0.15  # a landmark that was never absent may lie so far outside its image
LEAST_SCORE = 0.5  # where nothing was calibrated, one that may be absent and has a lower score is absent
MOVED_RADII = 2.0  # a point that moved so many of its radii is worth a note


@dataclass(frozen=True)
class ShapeEstimator:
    """
    A shape model with what held-out cases say of it.

    Args:
        model: of the training landmarks.
        groups: landmarks that were absent together, shape (N,); -1 for those that never were.
        noise_mm: standard deviation of a right peak along an axis, to go by until held-out cases say it.
        pairs: indices of landmarks that mirror each other.
        calibration: None where there was no held-out case.
        same_slice: landmarks that are annotated in one slice; None where no two are.
    """

    model: ShapeModel
    groups: np.ndarray
    noise_mm: float
    pairs: tuple[tuple[int, int], ...] = ()
    calibration: Calibration | None = None
    same_slice: SameSlice | None = None

    def calibrated(self, held_out: Sequence[HeldOut]) -> ShapeEstimator:
        """
        The same shape with what these held-out cases say; nothing is learnt from none.

        Points are laid into one slice only where that brings those of held-out cases nearer to the truth.
        """
        if not held_out:
            return replace(self, calibration=None)
        tried = hypotheses_for(self.model.names, self.pairs)
        known = calibrate(held_out, self.groups, tried)
        if self.same_slice is not None:
            slices = usual_slices(self.same_slice, held_out)
            laid = calibrate(held_out, self.groups, tried, slices)
            if laid.before_mm < known.before_mm:
                return replace(self, calibration=laid, same_slice=slices)
        return replace(self, calibration=known, same_slice=None)

    def used(self, mode: str) -> np.ndarray:
        """
        Which landmarks take their point from the posterior, shape (N,).

        Args:
            mode: ``on``, ``off``, or ``auto``: where held-out cases say that it helps.
        """
        count = len(self.model.names)
        if mode == "on":
            return np.ones(count, dtype=bool)
        if mode == "off" or self.calibration is None or not self.calibration.helps:
            return np.zeros(count, dtype=bool)
        return self.calibration.use

    def landmarks(self, peaks: Peaks, mode: str = "auto") -> LandmarkSet:
        """
        The landmarks of a case.

        Args:
            peaks: what a network found, in the order of the model's names.
            mode: as for :meth:`used`.
        """
        known, count = self.calibration, len(self.model.names)
        noise = np.full(count, self.noise_mm) if known is None else known.noise_mm
        tried = hypotheses_for(self.model.names, self.pairs)
        # Exchanges are only tried where it is known how good a peak may be expected to be.
        tried, factor = (tried[:1], 1.0) if known is None else (tried, known.factor)
        evidence = evidence_of(self.model, peaks, noise, self.groups, tried, factor)
        used = self.used(mode)
        points = np.where(used[:, None], evidence.posterior.points, peaks.first)
        if mode != "off":
            points = in_slices(self.same_slice, points, peaks)
        radii = np.full((count, len(LEVELS)), np.nan)
        if known is not None:
            radii = np.where(
                used[:, None],
                known.radius.radii_mm(evidence.radius),
                known.radius_as_found.radii_mm(evidence.radius),
            )
            if peaks.elsewhere_mm is not None:  # all but the radius of half of the cases reach there
                radii[:, 1:] += peaks.elsewhere_mm[:, None]
        inside = peaks.inside_mm(evidence.posterior.points)
        chance, absent = self._presence(peaks, evidence, inside)
        unusual = (Oddness({}) if known is None else known.oddness).value(evidence.signs)
        notes = self._notes(points, peaks, evidence, radii, inside, absent)
        if unusual > 1:
            odd = f"the case does not look like the training images ({unusual:.1f}; usual is below 1)"
            if evidence.signs.get(DOUBT, 0.0) > 1:
                odd += ": looked at otherwise, landmarks are found elsewhere"
            notes = tuple(f"{note}; {odd}" if note else odd for note in notes)
        nowhere = absent[:, None]
        estimates = Estimates(
            chance,
            np.where(nowhere, np.nan, radii),
            np.where(nowhere[..., None], np.nan, _scaled(evidence.posterior, radii)),
            peaks.first,
            notes,
            unusual,
        )
        status = np.where(absent, ABSENT, PRESENT)
        return LandmarkSet(
            self.model.names, np.where(nowhere, np.nan, points), status, peaks.masses[:, 0], estimates
        )

    def _presence(
        self, peaks: Peaks, evidence: Evidence, inside: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The chance of each landmark to be there, and which are absent."""
        learnt = None if self.calibration is None else self.calibration.presence
        edge = EDGE_MM_PER_SIZE * self.model.size_mm
        # One that no training case lacked is there, unless it would have to lie outside the image.
        room = ndtr((inside + edge) / np.maximum(evidence.posterior.deviation_mm, 1e-6))
        chance = room * (self.model.seen + 1) / (self.model.seen + 2)
        absent = room < 0.5
        rows = self.groups >= 0
        if learnt is None:
            chance[rows] = np.minimum(peaks.masses[:, 0], room)[rows]
            absent |= rows & (peaks.masses[:, 0] < LEAST_SCORE)
        else:
            chance[rows] = learnt.chance(evidence.presence[rows])
            absent[rows] = chance[rows] < learnt.threshold
        return chance, absent

    def _notes(
        self,
        points: np.ndarray,
        peaks: Peaks,
        evidence: Evidence,
        radii: np.ndarray,
        inside: np.ndarray,
        absent: np.ndarray,
    ) -> tuple[str, ...]:
        notes = []
        moved = np.linalg.norm(points - peaks.first, axis=1)
        for row, group in enumerate(self.groups):
            together = self.groups == group if group >= 0 else np.arange(len(inside)) == row
            if absent[row] and inside[row] < 0:
                notes.append("outside the image")
            elif absent[row] and inside[together].min() < 0:
                notes.append("partly outside the image, as are those that are absent with it")
            elif absent[row]:
                notes.append("not found")
            elif moved[row] > MOVED_RADII * np.nan_to_num(radii[row, -1], nan=np.inf):
                why = evidence.posterior.hypothesis
                other = why if why != AS_FOUND else "its own peak does not fit the other landmarks"
                notes.append(f"moved {moved[row]:.1f} mm: {other}")
            else:
                notes.append("")
        return tuple(notes)

    def write(self, path: str | os.PathLike) -> None:
        """
        Write the file, whole or not at all.
        """
        names = self.model.names
        content: dict[str, Any] = {
            "version": VERSION,
            "absent_together": [
                [name for name, one in zip(names, self.groups) if one == group]
                for group in np.unique(self.groups[self.groups >= 0])
            ],
            "left_right_pairs": [[names[first], names[second]] for first, second in self.pairs],
            "same_slice": None if self.same_slice is None else self.same_slice.to_json(names),
            "noise_mm": self.noise_mm,
            "calibration": None if self.calibration is None else self.calibration.to_json(names),
            "shape": self.model.to_json(),
        }
        write_json(path, content)

    @classmethod
    def read(cls, path: str | os.PathLike, names: Sequence[str] | None = None) -> ShapeEstimator:
        """
        Args:
            names: the landmarks it must be of, in this order.

        Raises:
            LandmarkError: when the file is missing, of another version, or of other landmarks.
        """
        content = read_json(path)
        if not isinstance(content, Mapping) or content.get("version") != VERSION:
            raise LandmarkError(
                f"{path}: is not a shape model of version {VERSION}. Calibrate the bundle again."
            )
        model = ShapeModel.from_json(content.get("shape", {}), str(path))
        if names is not None and tuple(names) != model.names:
            raise LandmarkError(f"{path}: is of other landmarks than the bundle. Calibrate the bundle again.")
        index = {name: row for row, name in enumerate(model.names)}
        groups = np.full(len(model.names), -1)
        try:
            for together in content["absent_together"]:
                groups[[index[name] for name in together]] = index[together[0]]
            pairs = tuple((index[first], index[second]) for first, second in content["left_right_pairs"])
            noise_mm = float(content["noise_mm"])
        except (KeyError, TypeError, ValueError) as error:
            raise LandmarkError(f"{path}: is damaged ({error}). Calibrate the bundle again.") from error
        told = content.get("calibration")
        known = None if told is None else Calibration.from_json(told, model.names, str(path))
        one = content.get("same_slice")
        same_slice = None if one is None else SameSlice.from_json(one, model.names, str(path))
        return cls(model, groups, noise_mm, pairs, known, same_slice)


def _scaled(posterior: ShapePosterior, radii: np.ndarray) -> np.ndarray:
    """Covariances of the same form whose 50 % ball has the calibrated radius, where that is known."""
    half = NORMAL_MEDIAN * posterior.deviation_mm
    factor = np.where(np.isfinite(radii[:, 0]), (radii[:, 0] / np.maximum(half, 1e-9)) ** 2, 1.0)
    return np.asarray(posterior.covariance * factor[:, None, None])


def fit_estimator(
    training: Sequence[LandmarkSet],
    names: Sequence[str],
    noise_mm: float,
    pairs: Sequence[tuple[int, int]] = (),
    same_slice: SameSlice | None = None,
) -> ShapeEstimator:
    """
    Learn the shape of the training cases; nothing is calibrated yet.

    Args:
        training: their annotated landmarks.
        names: in the order of the network's channels.
        noise_mm: as for :class:`ShapeEstimator`.
        pairs: indices of landmarks that mirror each other.
        same_slice: as for :class:`ShapeEstimator`.

    Raises:
        LandmarkError: when no case has a landmark.
    """
    chosen = [landmarks.select(names) for landmarks in training]
    absent = np.array([landmarks.status == ABSENT for landmarks in chosen]).reshape(-1, len(names))
    model = fit_shape(np.array([landmarks.points for landmarks in chosen]), names)
    return ShapeEstimator(model, groups_of_absence(absent), noise_mm, tuple(pairs), same_slice=same_slice)


def honest_landmarks(
    estimator: ShapeEstimator, held_out: Sequence[HeldOut], mode: str = "auto"
) -> list[LandmarkSet]:
    """
    The landmarks of held-out cases, each calibrated by the other ones alone, so that its errors, radii and
    absences are as those of a new case.

    Whether the landmarks decide together, and which lie in one slice, is said by all of them.

    Args:
        estimator: of the training cases.
        mode: as for :meth:`ShapeEstimator.used`.
    """
    folds = np.arange(len(held_out)) % max(1, min(MOST_FOLDS, len(held_out)))
    found: list[LandmarkSet] = []
    others = {fold: [case for case, own in zip(held_out, folds) if own != fold] for fold in np.unique(folds)}
    calibrated = {fold: estimator.calibrated(cases) for fold, cases in others.items()}
    decided = estimator.calibrated(held_out)  # what is used is one decision, for all
    for case, fold in zip(held_out, folds):
        slices = None if decided.same_slice is None else usual_slices(decided.same_slice, others[fold])
        judge, known = replace(calibrated[fold], same_slice=slices), calibrated[fold].calibration
        if known is not None and decided.calibration is not None:
            helps, use = decided.calibration.helps, decided.calibration.use
            judge = replace(judge, calibration=replace(known, helps=helps, use=use))
        found.append(judge.landmarks(case.peaks, mode))
    return found
