# SPDX-License-Identifier: Apache-2.0
"""The steps from a dataset folder to an evaluated bundle, each with a file between it and the next.

``check -> analyze -> plan -> build -> train -> predict -> evaluate``. Each step reads the files of the steps
before it and nothing else, so any of them can be run alone, edited in between, or killed and run again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .bundle import write_bundle
from .checks import check_dataset, raise_on_errors, report_findings
from .datalist import Case, Datalist, read_datalist, scan_folder, write_datalist
from .evaluation import evaluate, write_evaluation
from .files import read_json, write_json
from .fingerprint import compute_fingerprint, read_fingerprint, write_fingerprint
from .images import list_images
from .landmarks import LandmarkError
from .planner import make_plan, read_plan, write_plan
from .steps import Steps, digest, files_digest

__all__ = ["Work", "default_network", "default_recipe", "find_images", "train_bundle"]


def default_network() -> str:
    """
    The preset for this machine: ``resenc_m`` with a GPU, ``small`` without one.
    """
    import torch

    return "resenc_m" if torch.cuda.is_available() else "small"


def default_recipe(network: str) -> str:
    """
    The recipe that goes with a preset.
    """
    return "quick" if network == "small" else "nnlandmark_2026"


def find_images(folder: str | os.PathLike) -> list[Path]:
    """
    The images to predict: those of ``folder/images`` if there is one, else those of ``folder``; or one image file.

    Raises:
        LandmarkError: when there are none.
    """
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise LandmarkError(f"{folder}: there is no such folder. Give a folder of images, or one image.")
    inner = folder / "images"
    images = list(list_images(inner if inner.is_dir() else folder).values())
    if not images:
        raise LandmarkError(f"{folder}: holds no images (.nii.gz, .nii, .nrrd, .mha, .mhd).")
    return images


class Work:
    """
    A work folder, and the steps that fill it.

    Args:
        folder: made when it is not there.
        say: gets a line for each step.
    """

    def __init__(self, folder: str | os.PathLike, say: Callable[[str], None] = print) -> None:
        self.folder = Path(folder).resolve()
        if self.folder.exists() and not self.folder.is_dir():
            raise LandmarkError(f"{folder}: is a file, not a folder. Choose another place for the results.")
        self.say = say
        self.steps = Steps(self.folder, say)
        self.datalist = self.folder / "datalist.json"
        self.fingerprint = self.folder / "fingerprint.json"
        self.plan = self.folder / "plan.json"

    def bundle(self, fold: int) -> Path:
        """The bundle that holds out this fold; named as Auto3DSeg names it."""
        return self.folder / f"heatmap_{fold}"

    def check(self, dataset: str | os.PathLike) -> None:
        """Find the cases, write ``datalist.json`` and ``check.json``, and stop when the data has errors."""
        earlier = read_datalist(self.datalist).training if self.datalist.exists() else ()
        listed = scan_folder(dataset, folds={case.id: case.fold for case in earlier if case.fold is not None})
        report = self.folder / "check.json"

        def action() -> None:
            findings = check_dataset(listed)
            write_json(report, [dataclasses.asdict(finding) for finding in findings])
            raise_on_errors(findings)
            if findings:
                self.say(report_findings(findings))
            write_datalist(self.datalist, listed)

        listing = [[case.id, case.fold] for case in (*listed.training, *listed.testing)]
        self.steps("check", [listing, _dataset_state(listed)], [report, self.datalist], action)

    def analyze(self, modality: str = "MRI") -> None:
        """Write ``fingerprint.json``."""
        listed = read_datalist(self.datalist)

        def action() -> None:
            write_fingerprint(self.fingerprint, compute_fingerprint(listed, modality))

        self.steps(
            "analyze",
            [modality, read_json(self.datalist), _dataset_state(listed)],
            [self.fingerprint],
            action,
        )

    def make_plan(self, network: str | None = None, gpu_memory_gb: float | None = None) -> None:
        """Write ``plan.json``."""
        network, chosen_here = network or default_network(), network is None
        if chosen_here:
            reason = "this machine has no GPU" if network == "small" else "this machine has a GPU"
            self.say(f"network: {network}, because {reason}; --network chooses another")

        def action() -> None:
            plan = make_plan(read_fingerprint(self.fingerprint), network, gpu_memory_gb)
            write_plan(self.plan, plan)
            for note in plan.notes:
                self.say(f"note: {note}")

        self.steps("plan", [network, gpu_memory_gb, read_json(self.fingerprint)], [self.plan], action)

    def build(self, fold: int, recipe: str | None = None, **overrides: Any) -> None:
        """Write the bundle of one fold."""
        plan = read_plan(self.plan)
        recipe = recipe or default_recipe(plan.network)
        made_from = [
            read_json(self.plan),
            read_json(self.datalist),
            fold,
            recipe,
            overrides,
            str(self.folder),
        ]
        if os.path.isfile(recipe):
            made_from.append(read_json(recipe))
        outputs = [
            self.bundle(fold) / "configs" / name for name in ("train.json", "inference.json", "metadata.json")
        ]
        self.steps(
            f"build fold {fold}",
            made_from,
            outputs,
            lambda: write_bundle(self.bundle(fold), plan, self.datalist, fold, recipe, **overrides),
        )

    def train(self, fold: int) -> None:
        """Train the bundle of one fold, going on where an earlier run of the same training was stopped."""
        bundle = self.bundle(fold)
        config = read_json(bundle / "configs" / "train.json")
        models = bundle / "models"
        name = f"train fold {fold}"

        def action() -> None:
            # Another number of minutes is the same training; anything else is another one, kept apart.
            identity = digest({key: value for key, value in config.items() if key != "minutes"})
            if models.exists() and (
                self.steps.record.get(f"{name} began") != identity or (models / "training.json").exists()
            ):
                number = next(n for n in range(1, 10_000) if not (bundle / f"models_old_{n}").exists())
                models.rename(bundle / f"models_old_{number}")
                self.say(
                    f"{name}: the settings have changed; the earlier models are now in models_old_{number}"
                )
            self.steps.note(f"{name} began", identity)
            train_bundle(bundle)

        self.steps(
            name,
            [config, _dataset_state(read_datalist(self.datalist))],
            [models / "model.pt", models / "training.json"],
            action,
        )

    def predict_held_out(self, folds: Sequence[int]) -> None:
        """Write ``predictions/<case>.mrk.json``: every held-out case by the fold that did not see it."""
        listed = read_datalist(self.datalist)
        folder = self.folder / "predictions"
        for fold in folds:
            cases = listed.held_out(fold)
            self._predict(
                f"predict fold {fold}",
                [fold],
                [case.image for case in cases],
                [case.id for case in cases],
                folder,
            )

    def predict_test(self, folds: Sequence[int], test: str | os.PathLike) -> None:
        """Write ``test_predictions/<case>.mrk.json``, with the mean of all folds' heatmaps."""
        images = find_images(test)
        ids = list(list_images(images[0].parent)) if Path(test).is_dir() else [images[0].name]
        self._predict("predict test", folds, images, ids, self.folder / "test_predictions")

    def _predict(
        self, name: str, folds: Sequence[int], images: Sequence[Path], ids: Sequence[str], folder: Path
    ) -> None:
        from .inference import LandmarkPredictor, predict_images

        bundles = [self.bundle(fold) for fold in folds]
        made_from = [files_digest(images)] + [
            [files_digest([bundle / "models" / "model.pt"]), read_json(bundle / "configs" / "inference.json")]
            for bundle in bundles
        ]
        outputs = [folder, *(folder / f"{case}.mrk.json" for case in ids)]

        def action() -> None:
            predict_images(LandmarkPredictor(bundles), images, folder)

        self.steps(name, made_from, outputs, action)

    def evaluate(
        self,
        cases: Sequence[Case],
        predictions: str = "predictions",
        evaluation: str = "evaluation",
        thresholds_mm: Sequence[float] = (2, 3, 4),
    ) -> Path:
        """Write ``<evaluation>/metrics.json`` and the tables beside it; returns that file."""
        listed = read_datalist(self.datalist)
        folder, out = self.folder / predictions, self.folder / evaluation

        def action() -> None:
            write_evaluation(out, evaluate(cases, listed.landmark_names, folder, thresholds_mm))

        state = files_digest([*(case.label for case in cases), *sorted(folder.glob("*"))])
        self.steps(f"evaluate {predictions}", [state, list(thresholds_mm)], [out / "metrics.json"], action)
        return out / "metrics.json"


def train_bundle(bundle: str | os.PathLike, **overrides: Any) -> None:
    """
    Run the ``training`` of a bundle with MONAI's bundle runner, in this process.

    Args:
        overrides: config ids and values, as on the command line of ``monai.bundle run``.

    Raises:
        LandmarkError: when the data, the weights or the disk stop it.
    """
    import monai.bundle

    from .inference import readable_error

    bundle = Path(bundle).resolve()
    config = bundle / "configs" / "train.json"
    if not config.is_file():
        raise LandmarkError(
            f"{bundle}: is not a bundle, it has no configs/train.json. Name a folder made by 'build'."
        )
    for name in ("monai.bundle.workflows", "monai.bundle.config_parser", "monai.bundle.scripts"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(open(os.devnull, "w")):
            warnings.simplefilter("ignore")
            monai.bundle.run(
                "training",
                config_file=str(config),
                logging_file=False,  # type: ignore[arg-type]
                bundle_root=str(bundle),
                started=time.time(),
                **overrides,
            )
    except RuntimeError as error:
        found = readable_error(error, f"{bundle}: the training stopped")
        raise found from (
            None if isinstance(found, LandmarkError) and "the training stopped" not in str(found) else error
        )


def _dataset_state(datalist: Datalist) -> str:
    cases = (*datalist.training, *datalist.testing)
    return files_digest([case.image for case in cases] + [case.label for case in cases])
