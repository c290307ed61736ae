# SPDX-License-Identifier: Apache-2.0
"""The commands most people need: everything at once, how good predictions are, and a try."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from ..data.annotations import has_landmarks
from ..data.folder import find_images, prediction_path
from ..errors import LandmarkError
from ..estimates import POSTERIOR_MODES
from .arguments import first_folds, given, one_of, positive, positives

__all__ = ["demo", "evaluate", "run"]

FOLDS = 5


def run(
    dataset: str,
    work: str,
    folds: int = 5,
    network: str | None = None,
    recipe: str | None = None,
    minutes: float | None = None,
    gpu_memory_gb: float | None = None,
    network_def: str | None = None,
    fit_memory: bool = False,
    modality: str = "MRI",
    test: str | None = None,
    thresholds_mm: Sequence[float] = (2, 3, 4),
    landmarks: str | None = None,
    posterior: str | None = None,
    stages: int | None = None,
    store: str | None = None,
    keep_store: bool = False,
    unlabelled: str | None = None,
    cluster: str | bool | None = None,
    gpus_per_training: float = 0,
    cpus_per_training: float = 1,
) -> None:
    """
    Do everything: check, analyze, plan, build, train, predict, evaluate.

    Interrupt it whenever you like: the same command goes on where it was.

    Args:
        dataset: a folder of images with landmarks.
        work: where all results go.
        folds: train the first so many of the five folds.
        network: small, plain, resenc_m, resenc_l or folded; left out, what suits this machine.
        recipe: quick, nnlandmark_2026, nnlandmark_2025, or a JSON file; left out, what suits the network.
        minutes: end all training after so many minutes; left out on a CPU, what suits the data.
        gpu_memory_gb: plan for a GPU of this size.
        network_def: a JSON file with another network to train.
        fit_memory: count heatmaps and loss in the memory, and plan for the GPU at hand.
        modality: CT, MRI or another name, one for all channels or one for each: T1,CT. CT is clipped and
            scaled by the dataset's intensities.
        test: a folder of images to predict with all trained folds, and to evaluate if it has landmarks.
        thresholds_mm: for the success detection rate.
        landmarks: which landmark files, where there are several for an image: a folder, a table, or a pattern
            such as "*-1.mrk.json".
        posterior: whether the landmarks decide together: auto (where held-out cases say that it helps), on
            or off; left out, auto for our recipe and off for nnLandmark's.
        stages: 1 network for the whole image, or 2: one for the pose, one for the details; left out, what the
            data asks for.
        store: a folder for prepared images, which may be shared and stays; left out, they are in memory, or
            in WORK/store while it trains when they are more than 8 GB.
        keep_store: leave WORK/store there for further trainings.
        unlabelled: a folder of images without landmarks to learn from, too, in most of the minutes; the
            networks of that are used if they err no more on held-out cases.
        cluster: train on a Ray cluster, all folds at the same time: its address, such as head:6379; alone or
            auto, on one that is started on this machine. WORK and DATASET are folders that all its machines
            see. The minutes are those of each training.
        gpus_per_training: with --cluster, GPUs of each training; a part of one is allowed.
        cpus_per_training: with --cluster, cores of each training.
    """
    thresholds = positives("thresholds_mm", thresholds_mm)
    one_of("posterior", posterior, POSTERIOR_MODES)
    one_of("stages", stages, (1, 2))
    if not 1 <= folds <= FOLDS:
        raise LandmarkError(f"folds={folds} must be a whole number from 1 to {FOLDS}.")
    together = None if minutes is None else positive("minutes", minutes)
    further = None if unlabelled is None else find_images(unlabelled)
    tested = test is not None and bool(find_images(test)) and has_landmarks(test, landmarks)
    check_wishes(network, recipe, network_def, gpu_memory_gb)
    from ..cluster.cluster_place import cluster_place
    from ..data.datalist import read_datalist, scan_folder
    from ..evaluation.tables import summary_text
    from ..planning.presets import default_network
    from ..workflow.work_folder import WorkFolder, visible_devices

    place = cluster_place(work, cluster, cpus_per_training, gpus_per_training)
    if gpus_per_training and network is None and network_def is None:
        network = default_network(gpu=True)
    folder = WorkFolder(work, place=place)
    folder.check(dataset, landmarks=landmarks)
    listed = read_datalist(folder.datalist)
    alone = len(listed.folds) == 1
    held_out = [] if alone else first_folds(listed.folds, folds)
    chosen: list[int | None] = [*held_out] or [None]  # of a single case nothing can be held out
    if further is not None:
        from ..few_shot.unlabelled import shares_of, unlabelled_images

        further = unlabelled_images(further, listed.training)
    annotated = (
        scan_folder(test, listed.landmark_names, landmarks=landmarks) if tested and test is not None else None
    )
    folder.analyze(channels(modality))
    folder.make_plan(network, gpu_memory_gb, network_def, fit_memory, stages, recipe)
    devices = visible_devices() if place is None else []
    rounds = math.ceil(len(chosen) / max(1, len(devices))) if place is None else 1
    if together is None and not devices and not gpus_per_training and recipe is None:
        each = folder.minutes_by_default(chosen)
        together = None if each is None else each * rounds
        if each is not None:
            end = datetime.now() + timedelta(minutes=each * rounds)
            print(
                f"training: {each:g} minutes for each of {len(chosen)} folds, until about "
                f"{end:%H:%M on %d %B}; --minutes N for all of them together sets another end"
            )
    options = dict(given(posterior=posterior))
    if store is not None:
        options["store"] = str(Path(store).resolve())
    share = 1.0 if further is None else shares_of(len(listed.training))["supervised"]
    end_of_each = given(minutes=None if together is None else together * share / rounds)
    for fold in chosen:
        folder.build(fold, recipe, **options, **end_of_each)
    folder.train_folds(chosen, devices)
    folder.predict_held_out(chosen)
    metrics = folder.cross_validate(held_out, thresholds) if held_out else None
    if metrics is not None:
        title = "held-out cases" if len(chosen) == 1 else f"cross-validation over {len(chosen)} folds"
        print(summary_text(metrics.parent, title))
    for line in (*folder.choices(chosen), *folder.doubts(chosen)):
        print(line)
    if metrics is not None:
        from ..few_shot.by_registration import compare_with_registration

        for line in compare_with_registration(folder, held_out, metrics, thresholds):
            print(line)
    best = folder
    if further is not None:
        from ..few_shot.unlabelled import better_of, learn_from_unlabelled

        def plan_student(student: WorkFolder, taught: Path) -> None:
            student.analyze(channels(modality), taught)
            student.make_plan(network, gpu_memory_gb, network_def, fit_memory, stages, recipe)

        student = learn_from_unlabelled(
            folder, further, chosen, recipe, together, plan_student, thresholds, **options
        )
        best, sentence = better_of(folder, student, len(further))
        print(sentence)
        metrics = metrics and best.folder / "evaluation" / "metrics.json"
    if test is not None:
        best.predict_test(chosen, find_images(test))
    if annotated is not None:
        cases = (*annotated.training, *annotated.testing)
        metrics_of_test = best.evaluate(cases, "test_predictions", "test_evaluation", thresholds)
        print(summary_text(metrics_of_test.parent, "test cases"))
    elif test is not None:
        print(
            f"test cases: predicted to {best.folder / 'test_predictions'}; {test} has no landmarks to compare"
        )
    if not keep_store:
        folder.drop_store()
    bundles = " ".join(str(best.bundle(fold).path) for fold in chosen)
    if metrics is not None:
        print(f"report:      {metrics.parent / 'report.html'}\ntables:      {metrics.parent}")
        print(f"predictions: {best.folder / 'predictions'}")
        case = listed.held_out(held_out[0])[0]
        found = prediction_path(best.folder / "predictions", case.image)
        words = ["auto3dlandmark", "view", str(case.image), str(found), str(case.label)]
        print(f"look at one: {shlex.join(words)}")
    print(f"bundles:     {bundles}")
    print(f"new images:  auto3dlandmark predict {bundles} IMAGES OUT")


def check_wishes(
    network: str | None, recipe: str | None, network_def: str | None, gpu_memory_gb: float | None
) -> None:
    """Stop at a choice that cannot be met, before any work."""
    from ..files import read_json
    from ..planning.presets import PRESETS
    from ..planning.recipes import read_recipe

    if network is not None and network not in PRESETS:
        raise LandmarkError(f"network={network!r} is unknown. Choose one of {', '.join(PRESETS)}.")
    if gpu_memory_gb is not None:
        positive("gpu_memory_gb", gpu_memory_gb)
    if recipe is not None:
        read_recipe(recipe)
    if network_def is not None:
        read_json(network_def)


def channels(modality: str) -> str | list[str]:
    """
    What the channels are called: one name for all, or several.
    """
    names = [name.strip() for name in modality.split(",")]
    return names if len(names) > 1 else modality


def evaluate(
    dataset: str,
    predictions: str,
    out: str,
    thresholds_mm: Sequence[float] = (2, 3, 4),
    landmarks: str | None = None,
) -> None:
    """
    Compare predictions with annotated landmarks, and write tables.

    Args:
        dataset: a folder of images with landmarks.
        predictions: a folder of files named after the cases.
        out: gets metrics.json, per_landmark.csv, per_case.csv and report.html, a page to look at.
        thresholds_mm: for the success detection rate.
        landmarks: which landmark files, where there are several for an image: a folder, a table, or a pattern
            such as "*-1.mrk.json".
    """
    thresholds = positives("thresholds_mm", thresholds_mm)
    from ..data.datalist import scan_folder
    from ..data.measurements import dataset_measurements
    from ..evaluation.compare import evaluate as compare
    from ..evaluation.tables import summary_text, write_evaluation
    from ..reports.report import write_report

    listed = scan_folder(dataset, landmarks=landmarks)
    cases = (*listed.training, *listed.testing)
    measurements = dataset_measurements(dataset, listed.landmark_names)
    annotated = [case for case in cases if case.label is not None]
    result = compare(cases, listed.landmark_names, predictions, thresholds, measurements, annotated)
    write_evaluation(out, result)
    report = Path(out) / "report.html"
    write_report(report, f"{Path(dataset).resolve().name}: {predictions}", result, cases, predictions)
    print(summary_text(out, f"{len(result.cases)} cases"))
    print(f"tables: {out}\nreport: {report}")


def demo(work: str = "demo_work", minutes: float = 4.0) -> None:
    """
    Make a small dataset and run everything on it.

    Args:
        work: gets the dataset and all results.
        minutes: of training.
    """
    minutes = positive("minutes", minutes)
    from ..data.demo import make_demo_dataset

    dataset = Path(work) / "dataset"
    make_demo_dataset(dataset)
    run(str(dataset), str(Path(work) / "work"), folds=1, minutes=minutes, network="small")
