# SPDX-License-Identifier: Apache-2.0
"""Learn from reviewed labels, and serve the result only when it is at least as good on reviewed cases it has
not seen.

A retraining works in a folder of its own, so it may be killed at any moment; the served model is touched by
one atomic write at the very end, or not at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import psutil

from ..bundles.fill import continue_bundle
from ..bundles.folder import BundleFolder
from ..data.datalist import Datalist, write_datalist
from ..data.folder import prediction_path
from ..data.folds import Case, assign_folds
from ..errors import LandmarkError
from ..evaluation.compare import evaluate
from ..files import read_json, write_json
from ..formats import write_landmarks
from ..journal import time_stamp
from ..landmarks import ABSENT, PRESENT
from ..training.run import train_bundle
from ..workflow.place import PATIENCE, Place
from ..workflow.work_folder import WorkFolder
from .answering import Answering, ByNetworks, ByRegistration
from .store import FINAL, ReviewStore
from .submission import ReviewError
from .versions import MOST_TEMPLATES, Served, ServedModel

__all__ = [
    "RUNNING",
    "Agreement",
    "announce",
    "learnt_from",
    "retrain",
    "retraining_status",
    "worth_training",
]

RUNNING = ("starting", "preparing", "training", "comparing")
FEWEST_CASES = 3
FIRST_CASES, GROWTH = 6, 1.5  # reviewed, when a server begins to train by itself, and how many more each time
HELD_OUT = 0  # this fold of five is never trained on
GENTLER = 0.3  # of the learning rate the bundle was first trained with
KEPT_CANDIDATES = 3
SECONDS_OF_A_LOOK = 2.0  # whoever asks for the status holds the lock for a moment, too
SECONDS_TO_BEGIN = 120.0  # an announced retraining that has not begun by then is forgotten
BUSY = "a retraining of this model is running already. Wait for it, or stop it."


@dataclass(frozen=True)
class Agreement:
    """
    How a model agrees with the reviewers on held-out cases.

    Args:
        mre_mm: mean radial error; None without a point to compare.
        beyond_tolerance_mm: mean of what each error exceeds the tolerance by. A reviewer leaves a point where
            it is when it is good enough, and so an error this small says nothing about which model is better.
        presence_errors: landmarks predicted although absent, or the reverse.
    """

    mre_mm: float | None
    beyond_tolerance_mm: float
    presence_errors: int

    def at_least_as_good_as(self, other: Agreement) -> bool:
        """Neither worse in place nor in presence."""
        return (
            self.beyond_tolerance_mm <= other.beyond_tolerance_mm + 1e-6
            and self.presence_errors <= other.presence_errors
        )


def retrain(
    model: ServedModel,
    store: ReviewStore,
    minutes: float = 15.0,
    tolerance_mm: float | None = None,
    say: Callable[[str], None] = print,
    place: Place | None = None,
) -> dict[str, Any]:
    """
    Train the served bundles on with all reviewed cases but the held-out fifth, compare, and promote or
    refuse. Where there is no bundle yet, the first network is trained, and has to be as good as registration.

    Args:
        minutes: of training, shared by the bundles.
        tolerance_mm: errors up to this count as none; left out, the spacing the network works at.
        say: gets a line for each thing done.
        place: where networks learn; left out, here.

    Returns:
        what was decided: ``state`` (``promoted`` or ``refused``), ``reason``, ``old`` and ``new`` agreement,
            the cases.

    Raises:
        LandmarkError: when too few cases are reviewed, another retraining runs, or the training fails.
    """
    with _alone(model):
        try:
            _clear_away(model)
            return _retrain(model, store, minutes, tolerance_mm, say, place)
        except Exception as error:
            _set_status(model, state="failed", reason=str(error))
            raise


def announce(model: ServedModel, store: ReviewStore, minutes: float) -> None:
    """
    Say that a retraining is about to start, after looking whether it can.

    Raises:
        LandmarkError: when too few cases are reviewed, the minutes are none, or another retraining runs or
            was announced by another process; what is known of that one stays.
    """
    _check_minutes(minutes)
    _check_enough(store.labelled(FINAL))
    with _alone(model):
        said, now = _read_status(model), time.time()
        announced = said.get("state") == "starting" and now - said.get("began", 0) < SECONDS_TO_BEGIN
        if announced and said.get("by") != os.getpid() and psutil.pid_exists(said.get("by", 0)):
            raise ReviewError(BUSY, 429)
        _set_status(model, state="starting", began=now, minutes=minutes, by=os.getpid())


def learnt_from(status: Mapping[str, Any]) -> int:
    """How many reviewed cases the last retraining that ended had, by its status; 0 before the first."""
    return len(status.get("training", ())) + len(status.get("held_out", ()))


def worth_training(reviewed: int, learnt: int) -> bool:
    """
    Whether a server that was begun without a bundle is to train now.

    Args:
        reviewed: cases now.
        learnt: cases of the training before; 0 before the first.
    """
    return reviewed >= max(FIRST_CASES, GROWTH * learnt)


@contextlib.contextmanager
def _alone(model: ServedModel) -> Iterator[None]:
    """No other retraining of the model runs, or is announced, meanwhile."""
    model.folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(model)
    try:
        lock.acquire(timeout=SECONDS_OF_A_LOOK)
    except filelock.Timeout:
        raise ReviewError(BUSY, 429) from None
    try:
        yield
    finally:
        lock.release()


def _check_minutes(minutes: float) -> None:
    if not 0 < minutes < 7 * 24 * 60:
        raise LandmarkError(f"minutes={minutes:.6g} must be more than 0 and less than a week.")


def _check_enough(reviewed: Sequence[str]) -> None:
    if len(reviewed) < FEWEST_CASES:
        raise LandmarkError(
            f"{len(reviewed)} cases are reviewed; at least {FEWEST_CASES} are needed, one of which is held "
            "out to "
            "compare the new model with the old one."
        )


def retraining_status(model: ServedModel) -> dict[str, Any]:
    """
    How the running or last retraining stands; ``state`` is ``stopped`` when it was killed, empty before the
    first.
    """
    status = _read_status(model)
    if status.get("state") not in RUNNING:
        return status
    lock = _lock(model)
    try:
        lock.acquire(timeout=0)
        lock.release()
        if status.get("version", version := model.current().version) != version:
            return {**status, "state": "promoted", "version": version, "reason": "the new model is served"}
        return {**status, "state": "stopped", "reason": "it was stopped; the served model is as it was"}
    except filelock.Timeout:
        share = (time.time() - status.get("began", 0)) / (60 * status.get("minutes", 1))
        course = _course(model.folder / "candidates" / str(status.get("candidate", "")))
        return {**status, "progress": round(min(1.0, share), 3), "course": course}


def _course(candidate: Path) -> list[list[dict[str, float]]]:
    """How the error on held-out cases fell so far, for each bundle that is trained."""
    bundles = sorted({path.parent for place in ("*", "work/*") for path in candidate.glob(f"{place}/models")})
    with contextlib.suppress(LandmarkError):  # a file that is being written anew
        return [course for bundle in bundles if (course := BundleFolder(bundle).models.course())]
    return []


def _lock(model: ServedModel) -> filelock.FileLock:
    return filelock.FileLock(model.folder / "retraining.lock", thread_local=False)


def _read_status(model: ServedModel) -> dict[str, Any]:
    """What was last said; nothing before the first, or when the file was damaged by hand."""
    with contextlib.suppress(LandmarkError, AttributeError):  # which is no object
        status = read_json(model.folder / "status.json")
        numbers = [status.get(key, 1) for key in ("began", "minutes", "by")]
        if all(isinstance(number, (int, float)) for number in numbers) and status.get("minutes", 1) > 0:
            return dict(status)
    return {}


def _set_status(model: ServedModel, **values: Any) -> dict[str, Any]:
    write_json(model.folder / "status.json", values)
    return values


def _clear_away(model: ServedModel) -> None:
    """What killed retrainings left, and all but the last few refused candidates."""
    candidates = sorted(path for path in (model.folder / "candidates").glob("*") if path.is_dir())
    refused = [path for path in candidates if (path / "outcome.json").is_file()]
    for path in candidates:
        if path not in refused[-KEPT_CANDIDATES:]:
            shutil.rmtree(path)


def _retrain(
    model: ServedModel,
    store: ReviewStore,
    minutes: float,
    tolerance_mm: float | None,
    say: Callable[[str], None],
    place: Place | None,
) -> dict[str, Any]:
    _check_minutes(minutes)
    began = time.time()
    _set_status(model, state="preparing", began=began, minutes=minutes)
    served = model.current()
    candidate = model.folder / "candidates" / time_stamp()
    training, held_out = _take_cases(model, store, candidate)
    say(
        f"version {served.version} is served; {len(training)} reviewed cases to learn from, {len(held_out)} "
        "held out"
    )
    counts = {"cases": len(training), "held_out": len(held_out), "candidate": candidate.name}
    _set_status(model, state="training", began=began, minutes=minutes, **counts)
    if served.bundles:
        names = _train_on(served, candidate, store, minutes, say, place)
        before: Answering = ByNetworks(served.bundles)
    else:
        names = [_train_first(model, candidate, minutes, say, place)]
        before = ByRegistration(training[:MOST_TEMPLATES], model.names, candidate / "templates.json")
    _set_status(model, state="comparing", began=began, minutes=minutes, version=served.version)
    bundles = [candidate / name for name in names]
    if tolerance_mm is None:
        tolerance_mm = float(np.mean(BundleFolder(bundles[0]).read_plan().spacing))
    old = _agreement(before, model.names, held_out, candidate / "old", tolerance_mm)
    new = _agreement(ByNetworks(bundles), model.names, held_out, candidate / "new", tolerance_mm)
    better = new.at_least_as_good_as(old)
    outcome = {
        "state": "promoted" if better else "refused",
        "reason": _reason(old, new, len(held_out), tolerance_mm),
        "old": asdict(old),
        "new": asdict(new),
        "tolerance_mm": tolerance_mm,
        "training": [case.id for case in training],
        "held_out": [case.id for case in held_out],
        "course": _course(candidate),
        "began": began,
        "ended": time.time(),
    }
    write_json(candidate / "outcome.json", outcome)
    outcome["version"] = model.promote(candidate, names, outcome) if better else served.version
    say(f"{outcome['state']}: {outcome['reason']}")
    return _set_status(model, **outcome)


def _train_first(
    model: ServedModel, candidate: Path, minutes: float, say: Callable[[str], None], place: Place | None
) -> str:
    """Train a network where there is none yet; returns the bundle's path inside the candidate's folder."""
    work = WorkFolder(candidate / "work", say, place)
    work.check(candidate / "datalist.json")
    work.analyze(model.templates.modality if model.templates is not None else "MRI")
    work.make_plan()
    work.build(HELD_OUT, minutes=minutes)
    work.train(HELD_OUT)
    work.predict_held_out([HELD_OUT])
    work.drop_store()
    return str(work.bundle(HELD_OUT).path.relative_to(candidate.resolve()))


def _train_on(
    served: Served,
    candidate: Path,
    store: ReviewStore,
    minutes: float,
    say: Callable[[str], None],
    place: Place | None,
) -> list[str]:
    """Train each served bundle on; returns the names of the new ones inside the candidate's folder."""
    names = [str(number) for number in range(len(served.bundles))]
    for name, source in zip(names, served.bundles):
        continue_bundle(
            source,
            candidate / name,
            gentler=GENTLER,
            dataset_dir=str(store.studies),
            datalist=str(candidate / "datalist.json"),
            fold=HELD_OUT,
            minutes=minutes / len(names),
        )
        say(f"training bundle {name} of {len(names)}")
        if place is None:
            train_bundle(candidate / name, say=say)
        else:
            place(train_bundle, candidate / name, patience=PATIENCE)
        shutil.rmtree(candidate / name / "eval", ignore_errors=True)
        # A few reviewed cases say less of shapes and errors than what the bundle was first calibrated with.
        known = BundleFolder(source).models.shape
        if known.is_file():
            shutil.copyfile(known, BundleFolder(candidate / name).models.shape)
    return names


def _take_cases(model: ServedModel, store: ReviewStore, candidate: Path) -> tuple[list[Case], list[Case]]:
    """
    The reviewed cases, their labels copied as they are now. A case stays held out for good once it was: later
    versions are compared on what no version has learnt from.
    """
    path = model.folder / "folds.json"
    known: dict[str, int] = read_json(path) if path.is_file() else {}
    images = store.images()
    reviewed = store.labelled(FINAL)
    _check_enough(reviewed)
    cases = []
    for case in reviewed:
        try:  # a label that somebody broke by hand is told before the minutes, not after
            store.landmarks(case)
        except LandmarkError as error:
            raise LandmarkError(
                f"the label of {case!r} cannot be used: {error} Mend or remove it."
            ) from error
        label = candidate / "labels" / f"{case}.mrk.json"
        label.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store.label(case), label)
        cases.append(Case(case, images[case], label, known.get(case)))
    if not any(case.fold == HELD_OUT for case in cases):
        first = min((case for case in cases if case.fold is None), key=lambda case: case.id, default=None)
        if first is None:
            raise LandmarkError("no reviewed case is held out. Review one more case.")
        cases = [Case(c.id, c.image, c.label, HELD_OUT if c is first else c.fold) for c in cases]
    cases = assign_folds(cases)
    write_json(path, {**known, **{case.id: case.fold for case in cases}})
    write_datalist(candidate / "datalist.json", Datalist(store.studies, store.names, tuple(cases)))
    held_out = [case for case in cases if case.fold == HELD_OUT]
    return [case for case in cases if case.fold != HELD_OUT], held_out


def _agreement(
    answers: Answering, names: Sequence[str], cases: list[Case], folder: Path, tolerance_mm: float
) -> Agreement:
    for case in cases:
        write_landmarks(prediction_path(folder, case.image), answers.predict(case.image))
    found = evaluate(cases, names, folder)
    errors = found.errors_mm[~np.isnan(found.errors_mm)]
    known = np.isin(found.true_status, (PRESENT, ABSENT))
    mistaken = known & ((found.true_status == PRESENT) != (found.predicted_status == PRESENT))
    beyond = np.maximum(errors - tolerance_mm, 0)
    return Agreement(
        mre_mm=round(float(errors.mean()), 4) if len(errors) else None,
        beyond_tolerance_mm=round(float(beyond.mean()), 4) if len(errors) else 0.0,
        presence_errors=int(mistaken.sum()),
    )


def _reason(old: Agreement, new: Agreement, cases: int, tolerance_mm: float) -> str:
    def text(value: float | None) -> str:
        return "no" if value is None else f"{value:.2f} mm"

    verdict = "at least as good" if new.at_least_as_good_as(old) else "worse"
    return (
        f"the new model is {verdict} on {cases} held-out cases: error {text(new.mre_mm)} (the old one's "
        f"{text(old.mre_mm)}), beyond {tolerance_mm:.2g} mm {new.beyond_tolerance_mm:.2f} "
        f"({old.beyond_tolerance_mm:.2f}), wrong presence {new.presence_errors} ({old.presence_errors})"
    )
