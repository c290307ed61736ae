# SPDX-License-Identifier: Apache-2.0
"""Learn from images that nobody annotated.

Teachers, which are registration of the annotated images and the network trained on them, lay landmarks onto
the others; a student learns from both, and teaches the next. Each fold has teachers of its own, which never
see what it holds out, so held-out cases say whether a student is any better. All of it lies in
``WORK/unlabelled``, step by step, and goes on where it was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..bundles.algo_object import write_algo_object
from ..bundles.fill import continue_bundle
from ..data.datalist import Case, read_datalist, write_taught
from ..data.folder import prediction_path
from ..data.images import case_id
from ..errors import LandmarkError
from ..files import digest, files_digest, read_json
from ..formats import read_landmarks, write_landmarks
from ..inference.batch import predict_batch
from ..inference.parallel import BundleMaker, Maker
from ..inference.transferring import TransferMaker
from ..landmarks import LandmarkSet, some_names
from ..registration.elastix import elastix_is_there
from ..training.workers import cores
from ..workflow.side_by_side import shared_store, work_folder_below
from ..workflow.work_folder import WorkFolder, visible_devices
from .by_registration import EVALUATION, MOST_CASES
from .teachers import Opinion, of_templates, weighed

__all__ = ["better_of", "learn_from_unlabelled", "shares_of", "unlabelled_images"]

SHARES = {"supervised": 0.2, "registration": 0.2, "first": 0.4, "second": 0.2}  # of the minutes
# A network that learnt from a single case teaches nobody, and nothing says how good it is.
SHARES_OF_ONE = {"supervised": 0.05, "registration": 0.25, "first": 0.45, "second": 0.25}
SPARE_TO_FIRST = 2 / 3  # of what registration leaves of its minutes; the rest is for the second student
GROUP = "unlabelled"
TAUGHT_SHARE = 0.75  # of what a student is shown
GENTLER = 0.3  # the learning rate of the second student, which goes on from the first
HARDLY = 1e-6  # the weight of an opinion that says only where not to believe another
FIRST_IMAGES = 2  # for each core, to see how long registration takes
ENOUGH = 1.5  # a teacher that errs by so much more than another one is not heard
EACH, TOOK = "seconds of registering an image", "minutes of registering"
SAMPLER = {
    "_target_": "torch.utils.data.WeightedRandomSampler",
    "weights": f"$item_weights(@train#dataset.data, {TAUGHT_SHARE})",
    "num_samples": "$@epoch_length * @batch_size",
    "replacement": True,
}
SPREAD = {"_target_": "auto3dlandmark.transforms.RandSpreadd", "keys": "landmarks"}


def unlabelled_images(images: Sequence[Path], annotated: Sequence[Case]) -> list[Path]:
    """
    Those that are not annotated, in an order that has nothing to do with their names.

    Raises:
        LandmarkError: when two are of the same name, or none is left.
    """
    known = {case.image.resolve() for case in annotated}
    left = [image for image in images if image.resolve() not in known]
    names = [_name(image) for image in left]
    taken = Counter([*names, *(case.id for case in annotated)])
    if doubled := sorted({name for name in names if taken[name] > 1}):
        raise LandmarkError(
            f"several images are called {some_names(doubled)}. Rename those without landmarks."
        )
    if not left:
        raise LandmarkError("unlabelled: all of these images are annotated. Name a folder with further ones.")
    order = np.random.RandomState(0).permutation(len(left))
    return [sorted(left)[place] for place in order]


def shares_of(annotated: int) -> dict[str, float]:
    """
    What share of the minutes each step gets: ``supervised``, ``registration``, the ``first`` student and the
    ``second``.

    Args:
        annotated: cases.
    """
    return dict(SHARES_OF_ONE if annotated == 1 else SHARES)


def learn_from_unlabelled(
    work: WorkFolder,
    images: Sequence[Path],
    folds: Sequence[int | None],
    recipe: str | None,
    minutes: float | None,
    make_plan: Callable[[WorkFolder, Path], None],
    thresholds_mm: Sequence[float] = (2, 3, 4),
    **options: Any,
) -> WorkFolder | None:
    """
    Train students, fold by fold.

    Args:
        work: trained, predicted and, where something is held out, evaluated.
        images: without landmarks, of :func:`unlabelled_images`.
        minutes: of everything, that training of ``work`` included; None: registration takes as long as it
            takes, and the recipe ends the training.
        make_plan: writes the plan of the first student's work folder, from what is annotated and this list of
            what it is taught: a few annotated images say too little of how images lie, and of how many there
            are.
        options: further values of train.json.

    Returns:
        the work folder of the last students; None where no teacher could say anything of the images.
    """
    rounds = -(-len(folds) // max(1, len(visible_devices()))) if work.place is None else 1
    shares = shares_of(len(read_datalist(work.datalist).training))
    to_register = None if minutes is None else minutes * shares["registration"]
    registered = _registered(work, images, to_register)
    took = float(work.record.record.get(TOOK, 0.0)) if registered else 0.0

    def each(name: str, of_spare: float) -> dict[str, Any]:
        if minutes is None or to_register is None:
            return {}
        spare = max(0.0, to_register - took)
        return {"minutes": round((minutes * shares[name] + of_spare * spare) / rounds, 4)}

    first = work_folder_below(work, "first_student", GROUP, [work.datalist])
    lists: dict[int | None, Path] = {}
    for fold in folds:
        taught = _teach(first, fold, _teachers(work, registered, fold, images), images)
        if taught is None:
            return None
        lists[fold] = taught
    make_plan(first, lists[folds[0]])
    for fold, taught in lists.items():
        values = {"taught": str(taught), "train#sampler": SAMPLER, "augmentation": _augmentation(work, fold)}
        first.build(
            fold,
            recipe,
            **{**shared_store(work, first), **values, **options, **each("first", SPARE_TO_FIRST)},
        )
    _train(first, folds, thresholds_mm)
    second = work_folder_below(work, "second_student", GROUP, [first.datalist, first.fingerprint, first.plan])
    for fold in folds:
        earlier = _read(_place(first, fold), images)
        newer = _predicted(first, fold, images)
        taught = _teach(second, fold, [(newer, 1.0), (earlier, HARDLY)], images)
        if taught is None:
            return first
        _continue(first, second, fold, taught, each("second", 1 - SPARE_TO_FIRST))
    _train(second, folds, thresholds_mm)
    return second


def better_of(work: WorkFolder, student: WorkFolder | None, images: int) -> tuple[WorkFolder, str]:
    """
    Which of the two is to be used: the student, if on held-out cases it errs no more and misses no more.

    Args:
        work: trained on what is annotated alone.
        student: None when it could not be taught.
        images: how many without landmarks the student learnt from.

    Returns:
        it, and why, in a sentence.
    """
    if student is None:
        return work, (
            "note: the images without landmarks are not used: neither registration nor the network knows "
            "where their landmarks lie. Annotate a few more"
        )
    paths = [one.folder / "evaluation" / "metrics.json" for one in (work, student)]
    told = f"learning from {images} images without landmarks, too"
    if not all(path.is_file() for path in paths):
        return student, (
            f"note: {told}; nothing is held out, so nobody knows whether that is better, or better than "
            "registration ('auto3dlandmark transfer'). Annotate a second case, and it is measured"
        )
    before, after = (read_json(path) for path in paths)
    missed = [one["presence"]["present_missed"] for one in (before, after)]
    errors = [np.inf if one["mre_mm"] is None else one["mre_mm"] for one in (before, after)]
    figures = f"{errors[1]:.2f} mm on held-out cases, {missed[1]} missed, "
    figures += f"instead of {errors[0]:.2f} mm, {missed[0]} missed"
    if errors[1] <= errors[0] and missed[1] <= missed[0]:
        return student, f"{told}: {figures}"
    return work, f"note: {told}, is worse, and is not used: {figures}"


def _name(image: Path) -> str:
    return case_id(image) or image.name


def _train(student: WorkFolder, folds: Sequence[int | None], thresholds_mm: Sequence[float]) -> None:
    student.train_folds(folds, visible_devices())
    student.predict_held_out(folds)
    if folds[0] is not None:
        student.cross_validate(folds, thresholds_mm)


def _augmentation(work: WorkFolder, fold: int | None) -> list[Any]:
    """That of the supervised training, and points that move within their spread."""
    return [*work.bundle(fold).read_config("train")["augmentation"], SPREAD]


def _continue(
    source: WorkFolder, student: WorkFolder, fold: int | None, taught: Path, end: Mapping[str, Any]
) -> None:
    """Write the bundle that goes on from the first student's."""
    bundle, before = student.bundle(fold), source.bundle(fold)
    train = before.read_config("train")
    values = {
        "dataset_dir": train["dataset_dir"],
        "datalist": train["datalist"],
        "fold": fold,
        "taught": str(taught),
        "progress_part": [0.0, 1.0],
        **end,
    }

    def action() -> None:
        continue_bundle(before.path, bundle.path, GENTLER, **values)
        write_algo_object(bundle, **read_json(before.algo_object)["_state_"]["options"])

    made_from = [files_digest([before.models.weights]), values]
    outputs = [*(bundle.config_path(name) for name in ("train", "inference")), bundle.algo_object]
    student.record.once(f"build fold {bundle.path.name}", made_from, outputs, action)


def _registered(work: WorkFolder, images: Sequence[Path], minutes: float | None) -> dict[str, Opinion]:
    """
    What each annotated image says of others by registration, as far as the minutes go: by case of the
    template; nothing without elastix, or where so much is annotated that a network does better.
    """
    listed = read_datalist(work.datalist)
    if not elastix_is_there() or len(listed.training) > MOST_CASES:
        return {}
    folder = work.folder / GROUP / "registered"
    makers = {
        case.id: TransferMaker([case], listed.landmark_names, folder / f"{case.id}.json")
        for case in listed.training
    }

    def lay(some: Sequence[Path]) -> None:
        for case, maker in makers.items():
            _laid(maker, some, folder / case, work.say)

    def action() -> None:
        began, first = time.time(), images[: FIRST_IMAGES * cores()]
        lay(first)
        if not work.record.knows(EACH):  # else it was interrupted, and these were there
            work.record.remember(EACH, (time.time() - began) / len(first))
        many = len(images) if minutes is None else int(60 * minutes / work.record.record[EACH])
        done = images[: max(len(first), many)]
        lay(done[len(first) :])
        work.record.remember(TOOK, (time.time() - began) / 60)
        work.record.remember("registered images", [str(image) for image in done])

    made_from = [[maker.identity for maker in makers.values()], files_digest(images), minutes]
    work.record.once("register images without landmarks", made_from, [folder], action)
    chosen = [Path(image) for image in work.record.record["registered images"]]
    return {case: _read(folder / case, chosen) for case in makers}


def _laid(maker: Maker, images: Sequence[Path], folder: Path, say: Callable[[str], None]) -> None:
    report = predict_batch(maker, images, folder, jobs=cores(), progress=False, say=say)
    for reason in report.failed.values():
        say(f"left out: {reason}")


def _read(folder: Path, images: Sequence[Path]) -> dict[str, Any]:
    """The landmarks that lie in a folder, by case."""
    places = {_name(image): prediction_path(folder, image) for image in images}
    return {name: read_landmarks(path) for name, path in places.items() if path.is_file()}


def _predicted(work: WorkFolder, fold: int | None, images: Sequence[Path]) -> Opinion:
    """What a fold's network says of images."""
    bundle = work.bundle(fold)
    folder = work.folder / "unlabelled_predictions" / bundle.path.name
    maker = BundleMaker([bundle.path], trust=True)

    def action() -> None:
        report = predict_batch(maker, images, folder, say=work.say)
        for reason in report.failed.values():
            work.say(f"left out: {reason}")

    made_from = [maker.identity, files_digest(images)]
    work.record.once(f"teach by {bundle.path.name}", made_from, [folder], action)
    return _read(folder, images)


def _teachers(
    work: WorkFolder,
    registered: Mapping[str, Opinion],
    fold: int | None,
    images: Sequence[Path],
) -> list[tuple[Opinion, float]]:
    """Whom a fold's first student learns from, each with its weight: the better the more, if any good."""
    listed = read_datalist(work.datalist)
    templates = [case.id for case in listed.training if fold is None or case.fold != fold]
    names = dict.fromkeys(name for case in templates for name in registered.get(case, ()))
    laid = {
        name: fused
        for name in names
        if (fused := of_templates([registered[case][name] for case in templates if name in registered[case]]))
    }
    network = _error(work.folder / "evaluation" / "metrics.json")
    registration = _error(work.folder / EVALUATION / "metrics.json")
    if not laid:
        return [(_predicted(work, fold, images), 1.0)]
    if network is None or registration is None or network > ENOUGH * registration:
        return [(laid, 1.0)]
    own = (_predicted(work, fold, images), network**-2)
    return [own] if registration > ENOUGH * network else [own, (laid, registration**-2)]


def _error(metrics: Path) -> float | None:
    value = read_json(metrics)["mre_mm"] if metrics.is_file() else None
    return None if value is None else max(float(value), 1e-3)


def _place(student: WorkFolder, fold: int | None) -> Path:
    return student.folder / "taught" / student.bundle(fold).path.name


def _teach(
    student: WorkFolder,
    fold: int | None,
    teachers: Sequence[tuple[Opinion, float]],
    images: Sequence[Path],
) -> Path | None:
    """
    Write what a student is to learn from.

    Returns:
        the list of it, which is another file for other landmarks; None when nobody knows any.
    """
    merged, folder = weighed(teachers), _place(student, fold)
    given = {image: merged[_name(image)] for image in images if _name(image) in merged}
    given = {image: found for image, found in given.items() if found.present.any()}
    if not given:
        return None
    content = digest([[str(image), _numbers(found)] for image, found in given.items()])
    listed = folder.with_name(f"{folder.name}_{content}.json")
    labels = {image: prediction_path(folder, image) for image in given}
    if not listed.is_file():
        for image, found in given.items():
            write_landmarks(labels[image], found)
        write_taught(listed, labels)
    points = sum(int(found.present.sum()) for found in given.values())
    student.say(f"note: taught {points} points in {len(given)} images")
    return listed


def _numbers(landmarks: LandmarkSet) -> list[float]:
    """All that decides what is learnt from them."""
    assert landmarks.estimates is not None
    values = np.concatenate([landmarks.points.ravel(), landmarks.estimates.covariance.ravel()])
    return [float(value) for value in values.round(6)]
