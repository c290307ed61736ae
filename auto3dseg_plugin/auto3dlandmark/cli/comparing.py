# SPDX-License-Identifier: Apache-2.0
"""The commands that settle which is better: systems against each other, and variants of one recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import LandmarkError
from .arguments import first_folds, given, positive, positives
from .main_job import channels

__all__ = ["ablate", "benchmark"]

REPORT, TABLES = "report", "tables"


def benchmark(
    *dataset_work: str,
    systems: str | None = None,
    folds: int = 5,
    minutes: float | None = None,
    epochs: int | None = None,
    resize: int | None = None,
    test: str | None = None,
    predictions: str | None = None,
    modality: str = "MRI",
    landmarks: str | None = None,
    thresholds_mm: Sequence[float] | None = None,
    cluster: str | bool | None = None,
    gpus_per_training: float = 0,
    cpus_per_training: float = 1,
) -> None:
    """
    Compare systems on the same folds, cases and budget: DATASET WORK.

    'benchmark report WORK' makes the tables again; 'benchmark tables [WORK]' prints the published figures,
    beside those of WORK. Interrupt it whenever you like: the same command goes on where it was.

    Args:
        dataset_work: a folder of images with landmarks, and where all results go.
        systems: names and JSON files of systems, as in auto3dlandmark,nnlandmark,mine.json; left out, all
            that are built in.
        folds: train the first so many folds.
        minutes: end the training of each system after so many minutes, for all folds together.
        epochs: of each training instead.
        resize: voxels a side of the cube for systems that see images whole; left out, what their authors
            used, which takes a GPU.
        test: a folder of annotated images to predict with all folds of a system; left out, the test cases of
            the dataset, where it has some.
        predictions: of others for the held-out cases, to stand in the table: NAME=FOLDER,NAME=FOLDER, of
            .mrk.json, .fcsv or .csv files, or nnLandmark's JSON.
        modality: as for run.
        landmarks: as for run.
        thresholds_mm: for the success detection rate; left out, 2, 3 and 4.
        cluster: train on a Ray cluster, all at the same time: its address, such as head:6379; alone or
            auto, on one that is started on this machine. WORK and DATASET are folders that all its machines
            see.
        gpus_per_training: with --cluster, GPUs of each training; a part of one is allowed.
        cpus_per_training: with --cluster, cores of each training.
    """
    thresholds = None if thresholds_mm is None else positives("thresholds_mm", thresholds_mm)
    for name, value in given(epochs=epochs, resize=resize).items():
        positive(name, value)
    if dataset_work[:1] in ((REPORT,), (TABLES,)):
        training = {"minutes": minutes, "epochs": epochs, "resize": resize, "systems": systems, "test": test}
        drawn = {"predictions": predictions, "thresholds_mm": thresholds_mm}
        training["cluster"] = cluster
        idle = {**training, "landmarks": landmarks, **(drawn if dataset_work[0] == TABLES else {})}
        if typed := [name.replace("_", "-") for name in given(**idle)]:
            raise LandmarkError(f"benchmark {dataset_work[0]} has no use for --{typed[0]}. Leave it out.")
    if dataset_work[:1] == (TABLES,):
        from ..reports.published import published_tables

        print(published_tables(dataset_work[1] if len(dataset_work) > 1 else None))
        return
    if len(dataset_work) != 2:
        raise LandmarkError("benchmark takes two arguments: DATASET WORK, or report WORK, or tables [WORK].")
    dataset, place = dataset_work
    from ..evaluation.comparison import comparison_table
    from ..planning.systems import SYSTEMS, read_system
    from ..workflow.benchmark import Benchmark, Budget
    from ..workflow.work_folder import WorkFolder

    others, failed = _named(predictions), {}
    if dataset == REPORT:
        made = Benchmark(WorkFolder(place), thresholds)
    else:
        chosen = [
            read_system(name.strip()) for name in (systems or ",".join(SYSTEMS)).split(",") if name.strip()
        ]
        if minutes is not None and epochs is not None:
            raise LandmarkError("minutes and epochs are two ends of a training. Give one of them.")
        from ..cluster.cluster_place import cluster_place
        from ..data.datalist import read_datalist

        elsewhere = cluster_place(place, cluster, cpus_per_training, gpus_per_training)
        folder = WorkFolder(place, place=elsewhere)
        folder.check(dataset, landmarks=landmarks)
        folder.analyze(channels(modality))
        trained = first_folds(read_datalist(folder.datalist).folds, folds)
        each = None if minutes is None else positive("minutes", minutes) / len(trained)
        budget = Budget(trained, given(minutes=each, epochs=epochs), resize)
        made = Benchmark(folder, thresholds)
        failed = made.train(chosen, budget, test)
    if made.systems or not failed:
        for name, source in others.items():
            made.add_predictions(name, source)
        if rows := made.report():
            print(f"\n{comparison_table(rows)}")
            print(f"tables: {made.work.folder / 'results.csv'}\nreport: {made.work.folder / 'report.html'}")
    if failed:
        reasons = "\n".join(f"{name}: {reason}" for name, reason in failed.items())
        raise LandmarkError(f"{len(failed)} of {len(chosen)} systems failed:\n{reasons}")


def _named(predictions: str | None) -> dict[str, Path]:
    """NAME=PATH, several joined by commas."""
    found: dict[str, Path] = {}
    for part in (predictions or "").split(","):
        if not part.strip():
            continue
        name, equals, path = part.strip().partition("=")
        if not equals or not name or not Path(path).exists():
            raise LandmarkError(
                f"predictions={part.strip()!r} must be NAME=FOLDER, with a folder that is there."
            )
        found[name] = Path(path)
    return found


def ablate(
    work: str,
    variants: str,
    folds: int = 5,
    recipe: str | None = None,
    minutes: float | None = None,
    cluster: str | bool | None = None,
    gpus_per_training: float = 0,
    cpus_per_training: float = 1,
) -> None:
    """
    Train variants of a recipe on the same folds, and print one table.

    Args:
        work: a folder with plan.json; the variants go to WORK/ablation.
        variants: a JSON file such as {"radius 7": {"target#radius": 7}, "all voxels": {"loss#top_k": 1.0}}.
        folds: train the first so many folds.
        recipe: the recipe they vary; left out, what suits the network.
        minutes: end each training of a fold after so many minutes.
        cluster: train on a Ray cluster, all at the same time: its address, such as head:6379; alone or
            auto, on one that is started on this machine. WORK and the data are folders that all its machines
            see.
        gpus_per_training: with --cluster, GPUs of each training; a part of one is allowed.
        cpus_per_training: with --cluster, cores of each training.
    """
    options = given(minutes=None if minutes is None else positive("minutes", minutes))
    from ..cluster.cluster_place import cluster_place
    from ..data.datalist import read_datalist
    from ..evaluation.comparison import comparison_table
    from ..workflow.ablation import ablate as train_variants
    from ..workflow.ablation import read_variants
    from ..workflow.work_folder import WorkFolder

    named = read_variants(variants)
    place = cluster_place(work, cluster, cpus_per_training, gpus_per_training)
    folder = WorkFolder(work, place=place)
    chosen = first_folds(read_datalist(folder.datalist).folds, folds)
    rows = train_variants(folder, named, chosen, recipe, **options)
    print(f"\n{comparison_table(rows)}\nreport: {folder.folder / 'ablation' / 'report.html'}")
