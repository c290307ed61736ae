# SPDX-License-Identifier: Apache-2.0
"""The steps from a plan to an evaluated bundle, each with a file between it and the next.

``check -> analyze -> plan -> build -> train -> predict -> evaluate``; the first three are workfolder.py's. Each step
reads the files of the steps before it and nothing else, so any of them can be run alone, edited in between, or
killed and run again.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..auto3dseg.algo import HeatmapAlgo
from ..data.datalist import Case, read_datalist
from ..data.folder import prediction_path
from ..data.images import list_images
from ..data.measurements import dataset_measurements
from ..errors import LandmarkError
from ..evaluation.compare import evaluate
from ..evaluation.tables import write_cross_validation, write_evaluation
from ..files import read_json
from ..inference.predictor import LandmarkPredictor, predict_images
from ..planning.plan import read_plan
from ..planning.recipes import read_recipe
from ..training.run import PLACES
from .plan_folder import WorkFolder, dataset_state, default_recipe
from .record import files_digest

__all__ = ["Work", "find_images", "visible_devices"]


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


def visible_devices() -> list[str]:
    """
    The GPUs this process may use, named as in ``CUDA_VISIBLE_DEVICES``; none on a machine without.
    """
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return (
        (named or [str(number) for number in range(torch.cuda.device_count())])
        if torch.cuda.is_available()
        else []
    )


class Work(WorkFolder):
    """
    A work folder, and all steps from a dataset to an evaluated bundle.
    """

    def build(self, fold: int, recipe: str | None = None, **overrides: Any) -> None:
        """Write the bundle of one fold."""
        plan = read_plan(self.plan)
        recipe = recipe or default_recipe(plan.network)
        made_from = [
            read_json(self.plan),
            read_json(self.datalist),
            fold,
            read_recipe(recipe),
            overrides,
            str(self.folder),
        ]
        bundle = self.bundle(fold)
        outputs = [bundle / "configs" / f"{name}.json" for name in ("train", "inference", "metadata")]

        def action() -> None:
            algo = HeatmapAlgo(recipe=recipe)
            algo.export_to_disk(str(self.folder), bundle.name, fold=fold, **overrides)
            algo.save()

        self.steps(f"build fold {fold}", made_from, [*outputs, bundle / "algo_object.json"], action)

    def train(self, fold: int, device: str | None = None) -> None:
        """
        Train the bundle of one fold, going on where an earlier run of the same training was stopped.

        Args:
            device: the GPU to use, as in ``CUDA_VISIBLE_DEVICES``; left out, the first one, or the CPU.
        """
        bundle = self.bundle(fold)
        config = read_json(bundle / "configs" / "train.json")
        settings = {key: value for key, value in config.items() if key not in PLACES or key == "minutes"}

        def action() -> None:
            algo = HeatmapAlgo.load(bundle)
            algo.train(device_setting=None if device is None else {"CUDA_VISIBLE_DEVICES": device})
            algo.save()

        self.steps(
            f"train fold {fold}",
            [settings, dataset_state(read_datalist(self.datalist))],
            [bundle / "models" / "model.pt", bundle / "models" / "training.json"],
            action,
        )

    def train_folds(self, folds: Sequence[int], devices: Sequence[str] = ()) -> None:
        """
        Train several folds: one after the other, or spread over several devices, each taking the next fold.

        Args:
            devices: GPUs, as in ``CUDA_VISIBLE_DEVICES``.
        """
        if len(devices) < 2 or len(folds) < 2:
            for fold in folds:
                self.train(fold)
            return
        free: queue.Queue[str] = queue.Queue()
        for device in devices:
            free.put(device)

        def train(fold: int) -> None:
            device = free.get()
            try:
                self.train(fold, device)
            finally:
                free.put(device)

        with ThreadPoolExecutor(len(devices)) as pool:
            list(pool.map(train, folds))

    def predict_held_out(self, folds: Sequence[int]) -> None:
        """Write ``predictions/<case>.mrk.json``: every held-out case by the fold that did not see it."""
        listed = read_datalist(self.datalist)
        for fold in folds:
            images = [case.image for case in listed.held_out(fold)]
            self._predict(f"predict fold {fold}", [fold], images, self.folder / "predictions")

    def predict_test(self, folds: Sequence[int], test: str | os.PathLike) -> None:
        """Write ``test_predictions/<case>.mrk.json``, with the mean of all folds' heatmaps."""
        self._predict("predict test", folds, find_images(test), self.folder / "test_predictions")

    def _predict(self, name: str, folds: Sequence[int], images: Sequence[Path], folder: Path) -> None:
        bundles = [self.bundle(fold) for fold in folds]
        made_from = [files_digest(images)] + [
            [files_digest([bundle / "models" / "model.pt"]), read_json(bundle / "configs" / "inference.json")]
            for bundle in bundles
        ]

        def action() -> None:
            predict_images(LandmarkPredictor(bundles), images, folder)

        self.steps(name, made_from, [folder, *(prediction_path(folder, image) for image in images)], action)

    def cross_validate(self, folds: Sequence[int], thresholds_mm: Sequence[float] = (2, 3, 4)) -> Path:
        """
        Evaluate the held-out predictions of these folds together, and keep errors and scores with each bundle.

        Returns:
            ``evaluation/metrics.json``.
        """
        listed = read_datalist(self.datalist)
        cases = [case for fold in folds for case in listed.held_out(fold)]
        kept = [self.bundle(fold) / "models" / "cross_validation.json" for fold in folds]
        return self.evaluate(cases, thresholds_mm=thresholds_mm, cross_validation=kept)

    def evaluate(
        self,
        cases: Sequence[Case],
        predictions: str = "predictions",
        evaluation: str = "evaluation",
        thresholds_mm: Sequence[float] = (2, 3, 4),
        cross_validation: Sequence[Path] = (),
    ) -> Path:
        """Write ``<evaluation>/metrics.json`` and the tables beside it; returns that file."""
        listed = read_datalist(self.datalist)
        folder, out = self.folder / predictions, self.folder / evaluation
        measurements = dataset_measurements(listed.root, listed.landmark_names)

        def action() -> None:
            result = evaluate(cases, listed.landmark_names, folder, thresholds_mm, measurements)
            for path in cross_validation:
                write_cross_validation(path, result)
            write_evaluation(out, result)

        state = files_digest([*(case.label for case in cases), *sorted(folder.glob("*"))])
        self.steps(
            f"evaluate {predictions}",
            [state, list(thresholds_mm), [str(one) for one in measurements]],
            [out / "metrics.json", *cross_validation],
            action,
        )
        return out / "metrics.json"
