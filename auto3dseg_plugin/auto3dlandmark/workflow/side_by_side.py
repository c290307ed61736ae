# SPDX-License-Identifier: Apache-2.0
"""Train several systems on the same folds of the same data, each in a work folder of its own.

A run that was stopped goes on system by system and fold by fold, and every bundle and prediction stays to be
looked at.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..bundles.fill import kept_on_disk
from ..data.datalist import Case, read_datalist
from ..data.folder import prediction_path
from ..data.measurements import dataset_measurements
from ..evaluation.baseline import mean_positions
from ..evaluation.compare import evaluate
from ..evaluation.comparison import comparison_rows
from ..files import files_digest, read_json, write_rows
from ..formats import write_landmarks
from ..planning import plan
from ..planning.fingerprint import read_fingerprint
from ..planning.plan import read_plan, write_plan
from ..planning.presets import default_network
from ..planning.systems import System, plan_system
from ..reports.comparison_report import write_comparison_report
from .cost import MOST_IMAGES, write_cost
from .place import at_once, call
from .work_folder import WorkFolder, dataset_state, visible_devices

__all__ = [
    "compare",
    "cost_of",
    "described",
    "folder_name",
    "guess_by_mean",
    "held_out",
    "learn_together",
    "plan_as",
    "shared_store",
    "trained",
    "work_folder_below",
]


def folder_name(name: str) -> str:
    """A name as that of a folder; several names may give the same."""
    return re.sub(r"[^\w.]+", "_", name.casefold()).strip("_.") or "_"


def work_folder_below(work: WorkFolder, name: str, group: str, files: Sequence[Path]) -> WorkFolder:
    """
    The work folder of one of several, below that of them all.

    Args:
        group: the folder between the two.
        files: of ``work`` that both have, such as its datalist; they are copied.
    """
    say = partial(_say, work.say, name)
    below = WorkFolder(work.folder / group / folder_name(name), say, work.place)
    below.folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copy2(path, below.folder / path.name)
    return below


def _say(say: Callable[[str], None], name: str, line: str) -> None:
    say(f"{name}: {line}")


def plan_as(work: WorkFolder, system: System, resize: int | None = None) -> None:
    """
    Write ``plan.json`` as a system wants it.

    Args:
        resize: voxels a side of the cube, for systems that see images whole; left out, their own.
    """
    network = system.network or default_network()
    if system.resize is not None and resize is not None:
        system = dataclasses.replace(system, resize=resize)

    def action() -> None:
        made = plan_system(read_fingerprint(work.fingerprint), system, network)
        write_plan(work.plan, made)
        for note in made.notes:
            work.say(f"note: {note}")

    wishes = [network, system.network_def, system.stages, system.resize]
    work.record.once("plan", [plan.VERSION, wishes, read_json(work.fingerprint)], [work.plan], action)


def trained(
    work: WorkFolder,
    folds: Sequence[int],
    recipe: str | None,
    thresholds_mm: Sequence[float] = (2, 3, 4),
    **options: Any,
) -> dict[str, Any]:
    """
    Build, train and cross-validate a work folder that has a plan.

    Args:
        options: values of train.json, such as ``minutes``.

    Returns:
        the numbers of its ``metrics.json``, and of its training: ``steps`` and ``train_seconds`` of a fold.
    """
    for fold in folds:
        work.build(fold, recipe, **options)
    work.train_folds(folds, visible_devices())
    work.predict_held_out(folds)
    metrics = read_json(work.cross_validate(folds, thresholds_mm))
    outcomes = [read_json(work.bundle(fold).models.outcome) for fold in folds]
    steps = sum(one["steps"] for one in outcomes) // len(outcomes)
    seconds = round(sum(one["seconds"] for one in outcomes) / len(outcomes), 1)
    return {"steps": steps, "train_seconds": seconds, **metrics}


def learn_together(
    parts: Mapping[str, WorkFolder],
    folds: Sequence[int],
    recipes: Mapping[str, Any],
    options: Mapping[str, Any],
) -> dict[str, Exception]:
    """
    Where networks learn elsewhere, let all of these do so at the same time; :func:`trained` then finds them.

    Args:
        parts: work folders with a plan, by name.
        recipes, options: of each, as for :func:`trained`.

    Returns:
        why some failed.
    """
    failed: dict[str, Exception] = {}

    def learn(name: str, fold: int) -> None:
        try:
            parts[name].learn(fold)
        except Exception as error:  # whatever anybody's network or loss says
            failed[name] = error

    tasks = []
    for name, part in parts.items():
        if part.place is not None:
            for fold in folds:
                part.build(fold, recipes[name], **options[name])
                tasks.append(partial(learn, name, fold))
    at_once(tasks)
    return failed


def shared_store(work: WorkFolder, below: WorkFolder) -> dict[str, Any]:
    """The option by which trainings below a work folder share its store, where one needs a store."""
    return {"store": str(work.store)} if kept_on_disk(read_plan(below.plan)) else {}


def held_out(work: WorkFolder, folds: Sequence[int]) -> list[Case]:
    """The cases that these folds hold out."""
    listed = read_datalist(work.datalist)
    return [case for fold in folds for case in listed.held_out(fold)]


def cost_of(work: WorkFolder, fold: int) -> dict[str, Any]:
    """What a prediction costs: ``parameters``, ``seconds_per_image``, ``peak_gb``; measured once."""
    bundle, path = work.bundle(fold), work.folder / "cost.json"
    images = [case.image for case in read_datalist(work.datalist).held_out(fold)][:MOST_IMAGES]
    made_from = [files_digest([bundle.models.weights]), bundle.read_config("inference")]
    place = work.place or call
    work.record.once("cost", made_from, [path], partial(place, write_cost, path, bundle.path, images))
    return dict(read_json(path))


def guess_by_mean(
    work: WorkFolder,
    folds: Sequence[int],
    tested: Sequence[Case] = (),
    thresholds_mm: Sequence[float] = (2, 3, 4),
) -> None:
    """Predict held-out cases by the others' mean positions, test cases by those of all, and evaluate."""
    listed = read_datalist(work.datalist)
    parts = {f"fold {fold}": (listed.held_out(fold), "predictions") for fold in folds}
    if tested:
        parts["test"] = (list(tested), "test_predictions")
    for name, (cases, folder) in parts.items():
        known = [case for case in listed.training if case not in cases]
        paths = [prediction_path(work.folder / folder, case.image) for case in cases]

        def action(known: Any = known, cases: Any = cases, paths: Any = paths) -> None:
            for path, found in zip(paths, mean_positions(known, cases, listed.landmark_names)):
                write_landmarks(path, found)

        made_from = [
            dataset_state(listed),
            [case.id for case in known],
            files_digest(case.image for case in cases),
        ]
        work.record.once(f"predict {name}", made_from, paths, action)
    work.evaluate(held_out(work, folds), thresholds_mm=thresholds_mm)


def compare(
    work: WorkFolder,
    cases: Sequence[Case],
    predictions: Mapping[str, Path],
    known: Mapping[str, Any],
    folder: Path,
    prefix: str = "",
) -> list[dict[str, Any]]:
    """
    Compare what systems predicted of the same cases: ``results.csv`` and ``report.html`` of a folder.

    Args:
        work: whose datalist says which landmarks are compared.
        predictions: by system, a folder of files named after the cases.
        known: as for :func:`auto3dlandmark.reports.comparison_report.write_comparison_report`; each system's
            ``figures`` stand in the table.
        prefix: of the names of the files.

    Returns:
        as :func:`auto3dlandmark.evaluation.comparison.comparison_rows`.
    """
    listed = read_datalist(work.datalist)
    names, measurements = listed.landmark_names, dataset_measurements(listed.root, listed.landmark_names)
    thresholds = known.get("thresholds_mm", (2, 3, 4))
    evaluations = {
        system: evaluate(cases, names, place, thresholds, measurements)
        for system, place in predictions.items()
    }
    figures = {system: one.get("figures", {}) for system, one in known["systems"].items()}
    groups = {case.id: case.group for case in cases if case.group}
    rows = comparison_rows(evaluations, figures, groups)
    write_rows(folder / f"{prefix}results.csv", rows)
    page, dataset = folder / f"{prefix}report.html", listed.root.name
    write_comparison_report(page, dataset, rows, evaluations, known, cases, predictions)
    return rows


def described(system: System) -> dict[str, Any]:
    """A system as it stands in results."""
    return {key: value for key, value in dataclasses.asdict(system).items() if value not in (None, (), {})}
