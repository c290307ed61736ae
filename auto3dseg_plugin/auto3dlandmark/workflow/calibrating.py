# SPDX-License-Identifier: Apache-2.0
"""What held-out cases say of a bundle: from the places found in them to ``models/shape.json``, and to their
points."""

from __future__ import annotations

import contextlib
import filecmp
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..bundles.folder import BundleFolder
from ..conventions.same_slice import find_same_slice
from ..data.datalist import Case, Datalist, read_datalist
from ..data.folder import prediction_path
from ..data.images import read_geometry
from ..errors import LandmarkError
from ..files import read_json
from ..formats import read_landmarks, write_landmarks
from ..planning.plan import Plan
from ..shapes.calibration import FEWEST_CASES, HeldOut
from ..shapes.estimator import ShapeEstimator, fit_estimator, honest_landmarks
from ..shapes.peaks import Peaks

__all__ = [
    "calibrate_bundle",
    "calibrate_on_dataset",
    "held_out_evidence",
    "held_out_rounds",
    "peaks_path",
    "posterior_mode",
    "shape_of",
    "usual_noise_mm",
    "verdict",
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
    names = listed.landmark_names
    training = [(case.image, read_landmarks(case.label)) for case in cases if case.label is not None]
    same_slice = find_same_slice(
        (landmarks.select(names).points, read_geometry(image)[1]) for image, landmarks in training
    )
    return fit_estimator([landmarks for _, landmarks in training], names, noise_mm, pairs, same_slice)


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


def verdict(bundle: BundleFolder) -> str:
    """
    Whether the landmarks of a calibrated bundle decide together, and why, in a sentence.
    """
    estimator = ShapeEstimator.read(bundle.models.shape)
    known, slices = estimator.calibration, estimator.same_slice
    if known is None:
        return "no held-out case with landmarks, so nothing is calibrated"
    mode = posterior_mode(bundle)
    used = mode == "on" or (mode == "auto" and known.helps)
    why = ", as asked" if mode != "auto" else ""
    if mode == "auto" and not used:
        few = known.cases < FEWEST_CASES
        why = ": too few held-out cases to tell" if few else ": together is not clearly better"
    gain = f"{known.before_mm:.2f} mm alone, {known.after_mm:.2f} mm together"
    laid = "" if slices is None else f"; {slices.count} are laid into slices that they share, as annotated"
    return f"landmarks decide {'together' if used else 'alone'}{why} ({gain}){laid}"


def calibrate_on_dataset(
    bundle: BundleFolder,
    dataset: Datalist,
    unseen: Datalist | None = None,
    trust: bool = False,
    say: Callable[[str], None] = print,
) -> ShapeEstimator:
    """
    Write ``models/shape.json`` of a bundle that has none, or anew: one that was published or imported.

    Cases that the bundle's datalist holds out are predicted by the network that has not seen them: of a
    published bundle each fold's own.

    Args:
        dataset: annotated cases that say how shapes are; those of the training, where they are known.
        unseen: annotated cases that the bundle was not trained on; left out, those its datalist holds out.
        trust: as for :class:`LandmarkPredictor`.
        say: told where the held-out cases are from.

    Raises:
        LandmarkError: when landmarks differ from the bundle's, or an image cannot be used.
    """
    names = bundle.landmark_names()
    missing = [name for name in names if name not in dataset.landmark_names]
    if missing:
        raise LandmarkError(
            f"{dataset.root}: has no landmark {missing[0]!r}, which {bundle.path} finds. Give the dataset of "
            "its training."
        )
    if unseen is not None:
        _refuse_seen(dataset, unseen)
    dataset = replace(dataset, landmark_names=names)
    noise = usual_noise_mm(bundle.read_plan())
    shape = shape_of(dataset.training, dataset, noise)
    rounds = held_out_rounds(bundle, dataset) if unseen is None else [(None, list(unseen.training))]
    if not any(cases for _, cases in rounds) and bundle.models.shape.is_file():
        raise LandmarkError(
            f"{bundle.models.shape}: is there, and no held-out case is known to make a better one. Name "
            "annotated images that the bundle was not trained on by --unseen, or remove the file."
        )
    with tempfile.TemporaryDirectory() as temporary, _set_aside(bundle.models.shape, say):
        held_out: list[HeldOut] = []
        for fold, cases in rounds:
            say(f"held-out cases: {len(cases)}" + ("" if fold is None else f" of fold {fold}"))
            from ..inference.find_peaks import find_peaks  # torch: seconds

            seen = (
                dataset.training if fold is None else [case for case in dataset.training if case not in cases]
            )
            own = shape_of(seen, dataset, noise)
            alone = fold if len(rounds) > 1 else None
            find_peaks([bundle.path], [case.image for case in cases], temporary, alone, trust)
            held_out += held_out_evidence(cases, Path(temporary), own).values()
        if not held_out:
            say("no held-out case: points can be moved, and nothing says how far off they are")
        calibrate_bundle(bundle, shape, held_out)
    return ShapeEstimator.read(bundle.models.shape, names)


@contextlib.contextmanager
def _set_aside(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Put a file under another name until there is a new one; of an earlier version, nobody could read it."""
    earlier = path.with_name("shape_earlier.json")
    there = path.is_file()
    if there:
        path.replace(earlier)
    try:
        yield
    except BaseException:
        if there and not path.is_file():
            earlier.replace(path)
        raise
    if there:
        say(f"the earlier shape model is now {earlier}")


def _refuse_seen(dataset: Datalist, unseen: Datalist) -> None:
    """Stop when an image that is to be unseen is one of the training dataset."""
    trained = {case.id: case.image for case in dataset.training}
    for case in unseen.training:
        other = trained.get(case.id, Path())
        if case.image.is_file() and other.is_file() and filecmp.cmp(case.image, other, shallow=False):
            raise LandmarkError(
                f"{case.image}: is in {dataset.root}, too, so the bundle may have learnt from it. Name "
                "images by --unseen that it was not trained on, and leave them out of the dataset."
            )


def held_out_rounds(bundle: BundleFolder, dataset: Datalist) -> list[tuple[int | None, list[Case]]]:
    """
    The cases that each network of a bundle has not seen, by what the bundle says of its training.

    Returns:
        the fold and its cases: of a published bundle one pair for each network, else one; none where no case
        is known to be held out.
    """
    path = bundle.config_path("datalist")
    if not path.is_file() and bundle.config_path("train").is_file():
        path = Path(str(bundle.read_config("train").get("datalist")))  # of a work folder
    if not path.is_file():
        return []
    folds = {case.id: case.fold for case in read_datalist(path, dataset.root).training}
    config = bundle.read_config("inference")["network_def"]
    count = int(config.get("count", 1)) if isinstance(config, Mapping) else 1
    wanted = range(count) if count > 1 else [int(bundle.read_config("train")["fold"])]
    known = [(fold, [case for case in dataset.training if folds.get(case.id) == fold]) for fold in wanted]
    return [(fold, cases) for fold, cases in known if cases]
