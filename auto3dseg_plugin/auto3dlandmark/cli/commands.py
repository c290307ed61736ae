# SPDX-License-Identifier: Apache-2.0
"""The command line: each method of :class:`Commands` is a command of ``auto3dlandmark``."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import LandmarkError
from .arguments import first_folds, has_landmarks, numbers, positive
from .data import DataCommands

__all__ = ["Commands", "main"]


class Commands(DataCommands):
    """Self-configuring 3D landmark detection. For research; not a medical device."""

    def run(
        self,
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
    ) -> None:
        """
        Do everything: check, analyze, plan, build, train, predict, evaluate. Run it again to go on.

        Args:
            dataset: images/ and landmarks/, or a MONAI Label studies folder.
            work: where all results go.
            folds: train the first so many of the five folds.
            network: small, plain, resenc_m or resenc_l; by default what suits this machine.
            recipe: quick, nnlandmark_2026, nnlandmark_2025, or a JSON file; by default what suits the network.
            minutes: end all training after so many minutes.
            gpu_memory_gb: plan for a GPU of this size.
            network_def: a JSON file with another network to train.
            fit_memory: count heatmaps and loss in the memory, and plan for the GPU at hand.
            modality: CT, MRI or another name; CT is clipped and scaled by the dataset's intensities.
            test: a folder of images to predict with all trained folds.
            thresholds_mm: for the success detection rate.
        """
        from ..data.datalist import read_datalist, scan_folder
        from ..evaluation.tables import summary_text
        from ..workflow.work_folder import Work, visible_devices

        folder = Work(str(work))
        folder.check(str(dataset))
        chosen = first_folds(read_datalist(folder.datalist).folds, folds)
        folder.analyze(modality)
        folder.make_plan(network, gpu_memory_gb, network_def, fit_memory)
        devices = visible_devices()
        rounds = math.ceil(len(chosen) / max(1, len(devices)))
        options = {} if minutes is None else {"minutes": positive("minutes", minutes) / rounds}
        for fold in chosen:
            folder.build(fold, recipe, **options)
        folder.train_folds(chosen, devices)
        folder.predict_held_out(chosen)
        metrics = folder.cross_validate(chosen, numbers(thresholds_mm))
        if test is not None:
            folder.predict_test(chosen, str(test))
            if has_landmarks(str(test)):
                names = read_datalist(folder.datalist).landmark_names
                annotated = scan_folder(str(test), names).training
                folder.evaluate(annotated, "test_predictions", "test_evaluation", numbers(thresholds_mm))
        title = "held-out cases" if len(chosen) == 1 else f"cross-validation over {len(chosen)} folds"
        print(summary_text(metrics.parent, title))
        if test is not None and has_landmarks(str(test)):
            print(summary_text(folder.folder / "test_evaluation", "test cases"))
        bundles = " ".join(str(folder.bundle(fold)) for fold in chosen)
        print(
            f"tables:      {metrics.parent}\npredictions: {folder.folder / 'predictions'}\nbundles:     {bundles}"
        )
        print(f"new images:  auto3dlandmark predict {bundles} IMAGES OUT")

    def analyze(self, dataset: str, work: str, modality: str = "MRI") -> None:
        """
        Write WORK/datalist.json and WORK/fingerprint.json: what the dataset looks like, in numbers.

        Args:
            dataset: images/ and landmarks/, or a MONAI Label studies folder.
            work: where all results go.
            modality: CT, MRI or another name.
        """
        from ..workflow.work_folder import Work

        folder = Work(str(work))
        folder.check(str(dataset))
        folder.analyze(modality)

    def plan(
        self,
        work: str,
        network: str | None = None,
        gpu_memory_gb: float | None = None,
        network_def: str | None = None,
        fit_memory: bool = False,
    ) -> None:
        """
        Write WORK/plan.json: spacing, patch, batch, normalisation and network.

        Args:
            work: a folder with fingerprint.json.
            network: small, plain, resenc_m or resenc_l; by default what suits this machine.
            gpu_memory_gb: plan for a GPU of this size.
            network_def: a JSON file with another network to train.
            fit_memory: count heatmaps and loss in the memory, and plan for the GPU at hand.
        """
        from ..workflow.work_folder import Work

        Work(str(work)).make_plan(network, gpu_memory_gb, network_def, fit_memory)

    def build(
        self, work: str, fold: int = 0, recipe: str | None = None, minutes: float | None = None
    ) -> None:
        """
        Write the MONAI bundle WORK/heatmap_FOLD from plan.json and datalist.json.

        Args:
            work: a folder with plan.json.
            fold: the held-out fold.
            recipe: quick, nnlandmark_2026, nnlandmark_2025, or a JSON file; by default what suits the network.
            minutes: end the training after so many minutes.
        """
        from ..workflow.work_folder import Work

        options = {} if minutes is None else {"minutes": positive("minutes", minutes)}
        Work(str(work)).build(fold, recipe, **options)

    def train(self, work: str, fold: int = 0) -> None:
        """
        Train WORK/heatmap_FOLD; run it again to go on after an interruption.

        Args:
            work: a folder with a built bundle.
            fold: the held-out fold.
        """
        from ..workflow.work_folder import Work

        Work(str(work)).train(fold)

    def predict(self, *bundles_images_out: str, device: str | None = None) -> None:
        """
        predict BUNDLE [BUNDLE ...] IMAGES OUT: find the landmarks of images; several bundles are averaged.

        Args:
            bundles_images_out: folders of trained bundles, a folder of images or one image, and the folder for
                one .mrk.json per image.
            device: cpu or cuda:0; by default a GPU if there is one.
        """
        if len(bundles_images_out) < 3:
            raise LandmarkError("predict takes at least three arguments: BUNDLE [BUNDLE ...] IMAGES OUT.")
        from ..workflow.work_folder import find_images

        *bundles, images, out = [str(argument) for argument in bundles_images_out]
        found = find_images(images)
        from ..inference.predictor import LandmarkPredictor, predict_images

        written = predict_images(LandmarkPredictor(bundles, device), found, out)
        print(f"{len(written)} files written to {out}")

    def evaluate(
        self, dataset: str, predictions: str, out: str, thresholds_mm: Sequence[float] = (2, 3, 4)
    ) -> None:
        """
        Compare predictions with the annotated landmarks of a dataset, and write tables.

        Args:
            dataset: images/ and landmarks/, or a MONAI Label studies folder.
            predictions: a folder of files named after the cases.
            out: gets metrics.json, per_landmark.csv and per_case.csv.
            thresholds_mm: for the success detection rate.
        """
        from ..data.datalist import scan_folder
        from ..data.measurements import dataset_measurements
        from ..evaluation.compare import evaluate
        from ..evaluation.tables import summary_text, write_evaluation

        listed = scan_folder(str(dataset))
        result = evaluate(
            (*listed.training, *listed.testing),
            listed.landmark_names,
            str(predictions),
            numbers(thresholds_mm),
            dataset_measurements(str(dataset), listed.landmark_names),
        )
        write_evaluation(str(out), result)
        print(summary_text(str(out), f"{len(result.cases)} cases"))
        print(f"tables: {out}")

    def ablate(
        self,
        work: str,
        variants: str,
        folds: int = 5,
        recipe: str | None = None,
        minutes: float | None = None,
    ) -> None:
        """
        Train variants of a recipe on the same folds, and print one table.

        Args:
            work: a folder with plan.json; the variants go to WORK/ablation.
            variants: a JSON file such as {"radius 7": {"target#radius": 7}, "all voxels": {"loss#top_k": 1.0}}.
            folds: train the first so many folds.
            recipe: the recipe they vary; by default what suits the network.
            minutes: end each training of a fold after so many minutes.
        """
        from ..data.datalist import read_datalist
        from ..workflow.ablation import ablate, ablation_table, read_variants
        from ..workflow.work_folder import Work

        folder, named = Work(str(work)), read_variants(str(variants))
        options = {} if minutes is None else {"minutes": positive("minutes", minutes)}
        chosen = first_folds(read_datalist(folder.datalist).folds, folds)
        print(f"\n{ablation_table(ablate(folder, named, chosen, recipe, **options))}")

    def publish(self, work: str, bundle: str, about: str) -> None:
        """
        Make one bundle to give away from all trained folds: their mean, the cross-validation, a description.

        Args:
            work: a work folder after 'run'.
            bundle: the folder to make.
            about: a JSON file with name, description, authors, copyright, and what else metadata.json should say.
        """
        from ..workflow.publish import publish

        publish(str(work), str(bundle), str(about))
        print(f"bundle: {bundle}\nread first: {Path(str(bundle)) / 'docs' / 'README.md'}")

    def serve(
        self,
        studies: str,
        *more: str,
        bundle: str | None = None,
        host: str = "127.0.0.1",
        port: int = 8000,
        minutes: float = 15.0,
        hosts: str = "",
    ) -> None:
        """
        Start the MONAI Label server, for review and retraining in 3D Slicer. Stop it with Ctrl-C.

        Args:
            studies: the folder of images; labels go to its folder labels/final.
            more: further bundles after --bundle; their heatmaps are averaged.
            bundle: a trained bundle.
            host: the address to listen at; others than this machine's own let everybody in who reaches it.
            port: to listen at.
            minutes: of a retraining.
            hosts: further names this machine is reached by, separated by commas.
        """
        from ..review.server import server_command

        bundles = [str(one) for one in (bundle, *more) if one is not None]
        names = ",".join(map(str, hosts)) if isinstance(hosts, (list, tuple)) else str(hosts)
        settings = {"minutes": positive("minutes", minutes), "hosts": names or None}
        command, environment = server_command(str(studies), bundles, str(host), int(port), **settings)
        print(f"studies: {studies}\nserver:  http://{host}:{port}", flush=True)
        os.execve(command[0], command, environment)

    def demo(self, work: str = "demo_work", minutes: float = 4.0) -> None:
        """
        Make a small dataset and run everything on it.

        Args:
            work: gets the dataset and all results.
            minutes: of training.
        """
        from ..data.demo import make_demo_dataset

        dataset = Path(work) / "dataset"
        make_demo_dataset(dataset)
        self.run(str(dataset), str(Path(work) / "work"), folds=1, minutes=minutes, network="small")


def main(arguments: Sequence[str] | None = None) -> None:
    """
    The entry point: user errors end with one message and exit status 1, without a traceback.
    """
    import fire

    os.environ.setdefault("PAGER", "cat")
    try:
        fire.Fire(Commands, command=None if arguments is None else list(arguments), name="auto3dlandmark")
    except LandmarkError as error:
        sys.exit(f"auto3dlandmark: {error}")
    except KeyboardInterrupt:
        sys.exit("auto3dlandmark: stopped. Run the same command again to go on.")
