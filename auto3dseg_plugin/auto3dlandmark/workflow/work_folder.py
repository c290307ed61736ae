# SPDX-License-Identifier: Apache-2.0
"""A work folder: every step from a dataset to an evaluated bundle, each with a file between it and the next.

``check -> analyze -> plan -> build -> train -> predict -> evaluate``. Each step reads the files of the steps
before it and nothing else, and is skipped when they have not changed; so any of them can be run alone, edited
in between, or killed and run again.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ..bundles.algo_object import note_score, write_algo_object
from ..bundles.fill import copy_template, fill_bundle
from ..bundles.folder import BundleFolder
from ..checks.dataset import check_dataset
from ..checks.findings import raise_on_errors, report_findings
from ..data.datalist import Case, Datalist, read_datalist, scan_folder, with_taught, write_datalist
from ..data.folder import prediction_path
from ..data.measurements import dataset_measurements
from ..data.slices import write_preview
from ..errors import LandmarkError
from ..evaluation.compare import evaluate
from ..evaluation.tables import write_cross_validation, write_evaluation
from ..files import files_digest, read_json, write_json
from ..formats import landmark_file
from ..journal import checksum_of
from ..landmarks import some_names
from ..planning import fingerprint, plan
from ..planning.fingerprint import compute_fingerprint, read_fingerprint, write_fingerprint
from ..planning.plan import read_plan, write_plan
from ..planning.presets import default_network
from ..planning.recipes import default_recipe, read_recipe, stages_of
from ..planning.stages import plan_stages
from ..reports.report import write_report
from ..shapes import calibration
from ..training.run import train_bundle, training_settings
from .calibrating import (
    calibrate_bundle,
    held_out_evidence,
    peaks_path,
    posterior_mode,
    shape_of,
    usual_noise_mm,
    verdict,
    write_held_out,
)
from .place import PATIENCE, Place, at_once, call
from .record import WorkRecord

__all__ = ["WorkFolder", "dataset_state", "visible_devices"]

FEW_STEPS, FEW_CASES = 500, 5  # with fewer, the figures of a run are told to say little


class WorkFolder:
    """
    A work folder, and all steps from a dataset to an evaluated bundle.

    Args:
        folder: made when it is not there.
        say: gets a line for each step.
        place: where networks learn and predict; left out, in this process. Folds are sent there together.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        say: Callable[[str], None] = print,
        place: Place | None = None,
    ) -> None:
        self.folder = Path(folder).resolve()
        if self.folder.exists() and not self.folder.is_dir():
            raise LandmarkError(f"{folder}: is a file, not a folder. Choose another place for the results.")
        self.say, self.place = say, place
        self.record = WorkRecord(self.folder, say)
        self.datalist = self.folder / "datalist.json"
        self.fingerprint = self.folder / "fingerprint.json"
        self.plan = self.folder / "plan.json"
        self.peaks = self.folder / "peaks"
        self.store = self.folder / "store"  # of prepared images, where they are too many for the memory

    def bundle(self, fold: int | None) -> BundleFolder:
        """The bundle that holds out this fold, or none; named as Auto3DSeg names it."""
        return BundleFolder(self.folder / f"heatmap_{_named(fold)}")

    def check(
        self,
        dataset: str | os.PathLike,
        dataroot: str | os.PathLike | None = None,
        landmarks: str | None = None,
    ) -> None:
        """
        Find the cases, write ``datalist.json`` and ``check.json``, and stop when the data has errors.

        Args:
            dataset: a folder as for :func:`scan_folder`, or a MONAI datalist file.
            dataroot: what the paths in a datalist file are relative to, as for :func:`read_datalist`.
            landmarks: which landmark files of a folder are meant, as for :func:`scan_folder`.
        """
        if Path(dataset).resolve() == self.folder:
            raise LandmarkError(f"{dataset}: is the dataset. Name another folder for the results.")
        if Path(dataset).is_file():
            listed = read_datalist(dataset, dataroot)
        else:
            earlier = read_datalist(self.datalist).training if self.datalist.exists() else ()
            folds = {case.id: case.fold for case in earlier if case.fold is not None}
            listed = scan_folder(dataset, folds=folds, landmarks=landmarks)
        if listed.pairing:
            self.say(f"note: {listed.pairing}")
        report = self.folder / "check.json"

        def action() -> None:
            findings = check_dataset(listed)
            write_json(report, [dataclasses.asdict(finding) for finding in findings])
            raise_on_errors(findings)
            if findings:
                self.say(report_findings(findings))
            write_datalist(self.datalist, listed)

        listing = [[case.id, case.fold] for case in (*listed.training, *listed.testing)]
        self.record.once("check", [listing, dataset_state(listed)], [report, self.datalist], action)

    def analyze(self, modality: str | Sequence[str] = "MRI", taught: Path | None = None) -> None:
        """
        Write ``fingerprint.json``.

        Args:
            modality: as for :func:`compute_fingerprint`.
            taught: further cases to look at, as for :func:`with_taught`.
        """
        listed = with_taught(read_datalist(self.datalist), taught)

        def action() -> None:
            write_fingerprint(self.fingerprint, compute_fingerprint(listed, modality))

        self.record.once(
            "analyze",
            [fingerprint.VERSION, modality, read_json(self.datalist), dataset_state(listed)],
            [self.fingerprint],
            action,
        )

    def make_plan(
        self,
        network: str | None = None,
        gpu_memory_gb: float | None = None,
        network_def: str | os.PathLike | None = None,
        fit_memory: bool = False,
        stages: int | None = None,
        recipe: str | None = None,
    ) -> None:
        """
        Write ``plan.json``.

        Args:
            network: a preset; left out, what suits this machine.
            gpu_memory_gb: plan for a GPU of this size.
            network_def: a JSON file with the MONAI config of another network to train.
            fit_memory: count heatmaps and loss, and plan for the GPU at hand unless ``gpu_memory_gb`` says
                otherwise.
            stages: 1 or 2 networks; left out, what the recipe says, or else what the data asks for.
            recipe: that the network will be trained by.
        """
        stages = stages or stages_of(recipe)
        network, chosen_here = network or default_network(), network is None
        if chosen_here:
            reason = "this machine has no GPU" if network == "small" else "this machine has a GPU"
            self.say(f"network: {network}, because {reason}; --network chooses another")
        if fit_memory and gpu_memory_gb is None:
            gpu_memory_gb = _gpu_memory_gb()
        own = None if network_def is None else read_json(network_def)

        def action() -> None:
            found = read_fingerprint(self.fingerprint)
            try:
                made = plan_stages(found, network, gpu_memory_gb, own, fit_memory, stages)
            except LandmarkError as error:
                raise error if network_def is None else LandmarkError(f"{network_def}: {error}") from error
            write_plan(self.plan, made)
            for note in made.notes:
                self.say(f"note: {note}")

        wishes = [network, gpu_memory_gb, own, fit_memory, stages]
        self.record.once("plan", [plan.VERSION, *wishes, read_json(self.fingerprint)], [self.plan], action)

    def build(self, fold: int | None, recipe: str | None = None, **overrides: Any) -> None:
        """Write the bundle that holds out a fold, or None; a trained model that lies there stays."""
        planned = read_plan(self.plan)
        recipe = recipe or default_recipe(planned.network)
        made_from = [
            read_json(self.plan),
            read_json(self.datalist),
            fold,
            read_recipe(recipe),
            overrides,
            str(self.folder),
        ]
        bundle = self.bundle(fold)
        outputs = [bundle.config_path(name) for name in ("train", "inference", "metadata")]

        def action() -> None:
            copy_template(bundle.path)
            fill_bundle(bundle.path, planned, self.datalist, fold, recipe, **overrides)
            write_algo_object(bundle, recipe=recipe)

        self.record.once(f"build fold {_named(fold)}", made_from, [*outputs, bundle.algo_object], action)

    def minutes_by_default(self, folds: Sequence[int | None]) -> float | None:
        """
        How long to train each of these folds on a CPU when nobody says so; None where the recipe decides. The
        same work folder keeps its answer, and one that was begun without it goes on without it.
        """
        if not self.record.knows("minutes by default"):
            begun = any(self.record.knows(f"build fold {_named(fold)}") for fold in folds)
            planned = read_plan(self.plan)
            if begun or default_recipe(planned.network) != "quick":
                return None
            from .default_end import default_minutes

            listed = read_datalist(self.datalist)
            training = len(listed.training) - len(listed.held_out(folds[0]))
            self.record.remember("minutes by default", default_minutes(planned, training))
        return float(self.record.record["minutes by default"])

    def train(self, fold: int | None, device: str | None = None) -> None:
        """
        Train the bundle of one fold, going on where an earlier run of the same training was stopped.

        Args:
            device: the GPU to use, as in ``CUDA_VISIBLE_DEVICES``; left out, the first one, or the CPU.
        """
        bundle = self.bundle(fold)
        config = bundle.read_config("train")
        settings: dict[str, Any] = {**training_settings(config), "minutes": config["minutes"]}
        for stage in bundle.coarse_stages():
            first = stage.read_config("train")
            settings["coarse_stage"] = {**training_settings(first), "minutes": first["minutes"]}

        def action() -> None:
            if self.place is not None:
                self.place(train_bundle, bundle.path, patience=PATIENCE)
            else:
                train_bundle(bundle.path, devices=[] if device is None else [device], say=self.say)
            note_score(bundle)

        self.record.once(
            f"train fold {_named(fold)}",
            [settings, dataset_state(read_datalist(self.datalist))],
            [bundle.models.weights, bundle.models.outcome],
            action,
        )

    def learn(self, fold: int | None) -> None:
        """Train a fold, and predict what it holds out."""
        self.train(fold)
        self._find_held_out(fold)

    def train_folds(self, folds: Sequence[int | None], devices: Sequence[str] = ()) -> None:
        """
        Train several folds: one after the other, or spread over several devices, each taking the next fold;
        or all of them elsewhere.

        Args:
            devices: GPUs, as in ``CUDA_VISIBLE_DEVICES``.
        """
        if self.place is not None:
            at_once([partial(self.train, fold) for fold in folds])
            return
        if len(devices) < 2 or len(folds) < 2:
            for fold in folds:
                self.train(fold)
            return
        free: queue.Queue[str] = queue.Queue()
        for device in devices:
            free.put(device)

        def train(fold: int | None) -> None:
            device = free.get()
            try:
                self.train(fold, device)
            finally:
                free.put(device)

        with ThreadPoolExecutor(len(devices)) as pool:
            list(pool.map(train, folds))

    def predict_held_out(self, folds: Sequence[int | None]) -> None:
        """
        Find every held-out case's landmarks by the fold that did not see it: ``peaks/<case>.json`` says what
        was found, the bundle's ``models/shape.json`` what that says of others, and
        ``predictions/<case>.mrk.json`` where the landmarks are, after they have decided together where that
        helps.
        """
        if self.place is not None:
            at_once([partial(self._find_held_out, fold) for fold in folds])
        for fold in folds:
            if self.place is None:
                self._find_held_out(fold)
            self._calibrate(fold)

    def _find_held_out(self, fold: int | None) -> None:
        images = [case.image for case in read_datalist(self.datalist).held_out(fold)]

        def action() -> None:
            from ..inference.find_peaks import find_peaks  # torch: seconds

            place = self.place or call
            place(find_peaks, [self.bundle(fold).path], images, self.peaks)

        outputs = [self.peaks, *(peaks_path(self.peaks, image) for image in images)]
        self.record.once(
            f"predict fold {_named(fold)}", [files_digest(images), self._made_by([fold])], outputs, action
        )

    def _calibrate(self, fold: int | None) -> None:
        listed, bundle, folder = read_datalist(self.datalist), self.bundle(fold), self.folder / "predictions"
        mode, held_out = posterior_mode(bundle), listed.held_out(fold)

        def action() -> None:
            trained_on = [case for case in listed.training if case.fold != fold]
            shape = shape_of(trained_on, listed, usual_noise_mm(bundle.read_plan()))
            evidence = held_out_evidence(held_out, self.peaks, shape)
            for path in self._edited(fold):
                (folder / "edited").mkdir(exist_ok=True)
                path.replace(folder / "edited" / path.name)
                self.say(f"note: {path} was edited, and is now in {folder / 'edited'}")
            write_held_out(evidence, shape, mode, folder)
            written = [prediction_path(folder, case.image) for case in evidence]
            sums = {path.name: checksum_of(path.read_bytes()) for path in written}
            self.record.remember(f"predictions of fold {_named(fold)}", sums)
            calibrate_bundle(bundle, shape, list(evidence.values()))

        peaks = files_digest(peaks_path(self.peaks, case.image) for case in held_out)
        made_from = [calibration.VERSION, peaks, dataset_state(listed), mode, read_json(self.datalist)]
        outputs = [bundle.models.shape, *(prediction_path(folder, case.image) for case in held_out)]
        self.record.once(f"calibrate fold {_named(fold)}", made_from, outputs, action)

    def _edited(self, fold: int | None) -> list[Path]:
        """Predictions of held-out cases that somebody changed since they were written."""
        written = self.record.record.get(f"predictions of fold {_named(fold)}", {})
        paths = {self.folder / "predictions" / name: value for name, value in written.items()}
        return [
            path
            for path, value in paths.items()
            if path.is_file() and checksum_of(path.read_bytes()) != value
        ]

    def predict_test(self, folds: Sequence[int | None], images: Sequence[Path]) -> None:
        """Write ``test_predictions/<case>.mrk.json``, with the mean of all folds' heatmaps."""
        folder = self.folder / "test_predictions"
        bundles = [self.bundle(fold) for fold in folds]
        shapes = files_digest(bundle.models.shape for bundle in bundles)

        def action() -> None:
            from ..inference.predictor import LandmarkPredictor, predict_images  # torch: seconds

            predict_images(LandmarkPredictor([bundle.path for bundle in bundles], trust=True), images, folder)

        outputs = [folder, *(prediction_path(folder, image) for image in images)]
        self.record.once(
            "predict test", [files_digest(images), self._made_by(folds), shapes], outputs, action
        )

    def _made_by(self, folds: Sequence[int | None]) -> list[Any]:
        """What decides the heatmaps of these folds."""
        bundles = [self.bundle(fold) for fold in folds]
        return [[files_digest([one.models.weights]), one.read_config("inference")] for one in bundles]

    def cross_validate(self, folds: Sequence[int | None], thresholds_mm: Sequence[float] = (2, 3, 4)) -> Path:
        """
        Evaluate the held-out predictions of these folds together, and keep errors and scores with each
        bundle.

        Returns:
            ``evaluation/metrics.json``.
        """
        listed = read_datalist(self.datalist)
        cases = [case for fold in folds for case in listed.held_out(fold)]
        kept = [self.bundle(fold).models.cross_validation for fold in folds]
        return self.evaluate(cases, thresholds_mm=thresholds_mm, cross_validation=kept)

    def drop_store(self) -> None:
        """Remove the prepared images, which a further training would prepare again."""
        shutil.rmtree(self.store, ignore_errors=True)

    def choices(self, folds: Sequence[int | None]) -> list[str]:
        """What the held-out cases of these folds say of landmarks that decide together, in sentences."""
        found = []
        for fold in folds:
            edited = [path.name for path in self._edited(fold)]
            if edited:
                found.append(
                    f"note: edited since, so these figures are not the network's: {some_names(edited)}"
                )
            if fold is not None:
                found.append(f"fold {fold}: {verdict(self.bundle(fold))}")
        return found

    def doubts(self, folds: Sequence[int | None]) -> list[str]:
        """Why the figures of these folds may say little, in sentences."""
        steps = [read_json(self.bundle(fold).models.outcome)["steps"] for fold in folds]
        listed = read_datalist(self.datalist)
        cases = sum(len(listed.held_out(fold)) for fold in folds)
        found = []
        if min(steps) < FEW_STEPS:
            found.append(f"note: {min(steps)} steps are far too few to learn from; give it more minutes")
        if cases == 0:
            found.append("note: nothing is held out, so nothing says how far off it is; annotate more")
        elif cases < FEW_CASES:
            what = "a single held-out case says" if cases == 1 else f"{cases} held-out cases say"
            found.append(f"note: {what} next to nothing; train more folds, or annotate more")
        return found

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
            annotated = [*listed.training, *(case for case in cases if case not in listed.training)]
            result = evaluate(cases, listed.landmark_names, folder, thresholds_mm, measurements, annotated)
            for path in cross_validation:
                write_cross_validation(path, result)
            write_evaluation(out, result)
            self._draw(out / "preview.png", result.per_case(), cases, folder)
            title = f"{listed.root.name}: {evaluation.replace('_', ' ')}"
            write_report(out / "report.html", title, result, cases, folder)

        state = files_digest([*_label_files(cases), *sorted(folder.glob("*"))])
        self.record.once(
            f"evaluate {predictions}",
            [state, list(thresholds_mm), [str(one) for one in measurements]],
            [out / "metrics.json", *cross_validation],
            action,
        )
        return out / "metrics.json"

    def _draw(
        self, path: Path, rows: Sequence[Mapping[str, Any]], cases: Sequence[Case], predictions: Path
    ) -> None:
        """A picture of the worst case, the best one and one between, each with its worst landmarks."""
        by_id = {case.id: case for case in cases}
        drawn = [by_id[row["case"]] for row in rows if row["mre_mm"] is not None]
        if drawn:
            write_preview(path, drawn, predictions, worst_first=True)


def _named(fold: int | None) -> str:
    return "all" if fold is None else str(fold)


def visible_devices() -> list[str]:
    """
    The GPUs this process may use, named as in ``CUDA_VISIBLE_DEVICES``; none on a machine without.
    """
    import torch

    if not torch.cuda.is_available():
        return []
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named or [str(number) for number in range(torch.cuda.device_count())]


def _gpu_memory_gb() -> float | None:
    """Memory of the first GPU; None without one."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 1e9 if torch.cuda.is_available() else None


def dataset_state(datalist: Datalist) -> str:
    """
    A short name for the state of a dataset's files: it changes when one of them does.
    """
    cases = (*datalist.training, *datalist.testing)
    return files_digest([*(case.image for case in cases), *_label_files(cases)])


def _label_files(cases: Sequence[Case]) -> list[Path]:
    """The files that hold these cases' landmarks."""
    return [landmark_file(case.label) for case in cases if case.label is not None]
