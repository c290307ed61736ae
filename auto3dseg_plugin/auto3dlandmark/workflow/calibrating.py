# SPDX-License-Identifier: Apache-2.0
"""What held-out cases say of a bundle: from the places found in them to ``models/shape.json``, and to their
points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..bundles.folder import BundleFolder
from ..data.datalist import Case, Datalist
from ..data.folder import prediction_path
from ..files import read_json
from ..formats import read_landmarks, write_landmarks
from ..planning.plan import Plan
from ..shapes.calibration import HeldOut
from ..shapes.estimator import ShapeEstimator, fit_estimator, honest_landmarks
from ..shapes.peaks import Peaks

__all__ = [
    "calibrate_bundle",
    "held_out_evidence",
    "peaks_path",
    "posterior_mode",
    "shape_of",
    "usual_noise_mm",
    "write_held_out",
]


def peaks_path(folder: Path, image: Path) -> Path:
    """
    Where the places found in an image are kept.
    """
    return prediction_path(folder, image, ".json")


def posterior_mode(bundle: BundleFolder) -> str:
    """
    Whether the landmarks of this bundle decide together: ``auto``, ``on`` or ``off``.
    """
    return str(bundle.read_config("inference").get("posterior", "auto"))


def usual_noise_mm(plan: Plan) -> float:
    """
    How far off a right peak is along an axis before anything is measured: half a voxel of the network's.
    """
    return float(np.prod(plan.spacing) ** (1 / 3) / 2)


def shape_of(cases: Sequence[Case], listed: Datalist, noise_mm: float) -> ShapeEstimator:
    """
    The shape of annotated cases.

    Args:
        noise_mm: as for :class:`ShapeEstimator`.
    """
    index = {name: row for row, name in enumerate(listed.landmark_names)}
    pairs = [(index[first], index[second]) for first, second in listed.left_right_pairs]
    labels = [case.label for case in cases if case.label is not None]
    return fit_estimator([read_landmarks(label) for label in labels], listed.landmark_names, noise_mm, pairs)


def held_out_evidence(cases: Sequence[Case], peaks: Path, estimator: ShapeEstimator) -> dict[Case, HeldOut]:
    """
    What was found in held-out cases, and the truth.

    Args:
        peaks: the folder of :func:`peaks_path`.
        estimator: of the cases that the network was trained on.
    """
    names = estimator.model.names
    found = {}
    for case in cases:
        if case.label is not None:
            path = peaks_path(peaks, case.image)
            truth = read_landmarks(case.label).select(names)
            places = Peaks.from_json(read_json(path), names, str(path))
            found[case] = HeldOut(case.id, places, truth.points, truth.status, estimator.model)
    return found


def calibrate_bundle(bundle: BundleFolder, estimator: ShapeEstimator, held_out: Sequence[HeldOut]) -> None:
    """
    Write the bundle's shape model, with what held-out cases say.
    """
    estimator.calibrated(held_out).write(bundle.models.shape)


def write_held_out(
    held_out: Mapping[Case, HeldOut], estimator: ShapeEstimator, mode: str, folder: Path
) -> None:
    """
    Write the landmarks of held-out cases, each by what the other cases say.
    """
    for case, landmarks in zip(held_out, honest_landmarks(estimator, list(held_out.values()), mode)):
        write_landmarks(prediction_path(folder, case.image), landmarks)
