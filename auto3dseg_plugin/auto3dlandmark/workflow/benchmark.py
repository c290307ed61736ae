# SPDX-License-Identifier: Apache-2.0
"""The benchmark: systems on the same folds, cases and budget, and what they are compared by.

``WORK/benchmark.json`` remembers what was trained and what it cost; from it and the predictions below
``WORK/systems`` the tables are made, again and again if need be.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from ..data.datalist import Case, read_datalist, scan_folder
from ..data.folder import prediction_path
from ..data.images import read_geometry
from ..errors import LandmarkError, readable_error
from ..evaluation.compare import prediction_of
from ..files import digest, read_json, write_json
from ..formats import read_landmarks, write_landmarks
from ..formats.nnlandmark_json import read_nnlandmark_cases
from ..geometry import voxel_to_world
from ..landmarks import LandmarkSet, some_names
from ..planning.systems import System
from .side_by_side import (
    compare,
    cost_of,
    described,
    folder_name,
    guess_by_mean,
    held_out,
    learn_together,
    plan_as,
    shared_store,
    trained,
    work_folder_below,
)
from .work_folder import WorkFolder, dataset_state

__all__ = ["Benchmark", "Budget"]

GROUP = "systems"


@dataclass(frozen=True)
class Budget:
    """
    What each system may take.

    Args:
        folds: that are trained, and evaluated on their held-out cases.
        options: values of train.json: ``minutes`` or ``epochs``, of each fold.
        resize: sides of the cube of systems that see images whole, in voxels; None: their own.
    """

    folds: Sequence[int]
    options: Mapping[str, Any]
    resize: int | None = None

    def told(self, system: System) -> dict[str, Any]:
        """What a system took of it, as it stands in results."""
        cube = {} if system.resize is None else {"resize": self.resize or system.resize}
        return {**self.options, **cube} if system.trained else {}


class Benchmark:
    """
    A work folder with a datalist and a fingerprint, and systems below it.

    Args:
        work: the folder.
        thresholds_mm: for the success detection rate; left out, those of before, or 2, 3 and 4.
    """

    def __init__(self, work: WorkFolder, thresholds_mm: Sequence[float] | None = None) -> None:
        self.work, self.path = work, work.folder / "benchmark.json"
        self.known: dict[str, Any] = read_json(self.path) if self.path.is_file() else {}
        self.systems: dict[str, dict[str, Any]] = self.known.get("systems", {})
        self.folds: list[int] = self.known.get("folds", [])
        self.test: str | None = self.known.get("test")
        self.thresholds_mm = tuple(thresholds_mm or self.known.get("thresholds_mm", (2, 3, 4)))

    def train(self, systems: Sequence[System], budget: Budget, test: str | None = None) -> dict[str, str]:
        """
        Train and cross-validate each system; what is there already stays, and one that fails stops no other.

        Args:
            test: a folder of annotated images to predict with the folds of each system together; left out,
                the test cases of the dataset, where it has some.

        Returns:
            the systems that failed, and why.

        Raises:
            LandmarkError: when two systems would share a folder, or ``test`` has no annotated image.
        """
        for system in systems:
            self._refuse_shared_folder(system.name, [other.name for other in systems if other is not system])
        self.folds, self.test = list(budget.folds), None if test is None else str(Path(test).resolve())
        tested, failed = self.test_cases(), dict[str, str]()
        if test is not None and not tested:
            raise LandmarkError(f"{test}: has no annotated image. Name a folder of images with landmarks.")
        stopped = self._learn_together(systems, budget) if self.work.place is not None else {}
        for system in systems:
            self.systems.pop(system.name, None)  # what is there may be of another budget
            try:
                if system.name in stopped:
                    raise stopped[system.name]
                figures = self._one(system, budget, tested)
            except Exception as error:  # whatever anybody's network or loss says
                failed[system.name] = str(readable_error(error, "it cannot be trained"))
                self.work.say(f"{system.name}: failed, and is left out: {failed[system.name]}")
                continue
            told = {"budget": budget.told(system), "made_of": self._data(), "figures": figures}
            self.systems[system.name] = {**described(system), **told}
            self._remember({"machine": _machine()})
        self.work.drop_store()
        return failed

    def _refuse_shared_folder(self, name: str, others: Iterable[str]) -> None:
        known = [*others, *(other for other in self.systems if other != name)]
        for other in known:
            if folder_name(other) == folder_name(name):
                raise LandmarkError(f"{name!r} and {other!r} would share a folder. Rename one of them.")

    def _data(self) -> str:
        """What all systems have to have learnt from, as a short name."""
        listed = read_datalist(self.work.datalist)
        return digest([dataset_state(listed), [[case.id, case.fold] for case in listed.training], self.folds])

    def _learn_together(self, systems: Sequence[System], budget: Budget) -> dict[str, Exception]:
        """Those that learn elsewhere, all at the same time; why some did not."""
        parts: dict[str, WorkFolder] = {}
        options: dict[str, Any] = {}
        stopped: dict[str, Exception] = {}
        for system in systems:
            if not system.trained:
                continue
            try:
                parts[system.name], options[system.name] = self._planned(system, budget)
            except Exception as error:  # as in train
                stopped[system.name] = error
        recipes = {system.name: system.recipe for system in systems}
        return {**stopped, **learn_together(parts, budget.folds, recipes, options)}

    def _planned(self, system: System, budget: Budget) -> tuple[WorkFolder, dict[str, Any]]:
        """The work folder of a system that is trained, and values of its train.json."""
        below = self._below(system)
        plan_as(below, system, budget.resize)
        return below, {**shared_store(self.work, below), **system.values, **budget.options}

    def _below(self, system: System) -> WorkFolder:
        return work_folder_below(self.work, system.name, GROUP, [self.work.datalist, self.work.fingerprint])

    def _one(self, system: System, budget: Budget, tested: Sequence[Case]) -> dict[str, Any]:
        """Train a system, or guess; what it took."""
        if not system.trained:
            guess_by_mean(self._below(system), budget.folds, tested, self.thresholds_mm)
            return {}
        below, values = self._planned(system, budget)
        found = trained(below, budget.folds, system.recipe, self.thresholds_mm, **values)
        if tested:
            below.predict_test(budget.folds, [Path(case.image) for case in tested])
        taken = {key: found[key] for key in ("steps", "train_seconds")}
        return {**taken, **cost_of(below, budget.folds[0])}

    def test_cases(self) -> list[Case]:
        """Annotated cases that nothing is trained on."""
        listed = read_datalist(self.work.datalist)
        if self.test is not None:
            found = scan_folder(self.test, listed.landmark_names)
            return [*found.training, *found.testing]
        return [case for case in listed.testing if case.label is not None]

    def _remember(self, more: Mapping[str, Any]) -> None:
        self.known.update(
            more,
            folds=self.folds,
            thresholds_mm=list(self.thresholds_mm),
            test=self.test,
            systems=self.systems,
            dataset=read_datalist(self.work.datalist).root.name,
        )
        write_json(self.path, self.known)

    def add_predictions(self, name: str, source: str | Path) -> None:
        """
        Let predictions join that somebody else made: they are copied below the work folder.

        Args:
            source: a folder of landmark files named after the cases, or nnLandmark's JSON of voxels.

        Raises:
            LandmarkError: when there is no benchmark yet, a held-out case has no prediction or none of the
                dataset's landmarks, or the name is, or would share the folder of, that of another system.
        """
        self._refuse_nothing()
        listed, cases = read_datalist(self.work.datalist), held_out(self.work, self.folds)
        self._refuse_shared_folder(name, ())
        if (self.work.folder / GROUP / folder_name(name) / "datalist.json").exists():
            raise LandmarkError(f"predictions={name}={source}: {name} was trained here. Choose another name.")
        voxels = read_nnlandmark_cases(source) if Path(source).is_file() else None
        found: dict[Path, LandmarkSet] = {}
        folder = self.work.folder / GROUP / folder_name(name) / "predictions"
        for case in cases:
            if voxels is not None:
                one = _from_voxels(voxels.get(case.id), case, listed.landmark_names)
            else:
                path = prediction_of(source, case)
                one = None if path is None else read_landmarks(path)
            if one is None:
                raise LandmarkError(f"{source}: has no prediction for the held-out case {case.id}.")
            if not set(one.names) & set(listed.landmark_names):
                raise LandmarkError(
                    f"{source}: {case.id} has none of the dataset's landmarks "
                    f"({some_names(listed.landmark_names)}). Name them as the dataset does."
                )
            found[prediction_path(folder, case.image)] = one
        for path, one in found.items():
            write_landmarks(path, one)
        self.systems[name] = {"about": f"predictions of {source}", "made_of": self._data(), "figures": {}}
        self._remember({})

    def _refuse_nothing(self) -> None:
        if not self.systems:
            raise LandmarkError(f"{self.path}: there is no benchmark yet. Run 'auto3dlandmark benchmark'.")

    def report(self) -> list[dict[str, Any]]:
        """
        Write ``results.csv`` and ``report.html``; with test images also ``test_results.csv`` and
        ``test_report.html``.

        Returns:
            the rows of held-out cases, best first.

        Raises:
            LandmarkError: when no system has been trained.
        """
        self._refuse_nothing()
        rows = self._compare(held_out(self.work, self.folds), "predictions", "")
        tested = self.test_cases()
        if not tested or not self._compare(tested, "test_predictions", "test_"):
            for name in ("test_results.csv", "test_report.html"):  # of an earlier call
                (self.work.folder / name).unlink(missing_ok=True)
        return rows

    def _compare(self, cases: Sequence[Case], predictions: str, prefix: str) -> list[dict[str, Any]]:
        """Compare those that have all cases, and learnt from the data as they are now."""
        there, data = {}, self._data()
        for name, system in self.systems.items():
            folder = self.work.folder / GROUP / folder_name(name) / predictions
            missing = [case.id for case in cases if prediction_of(folder, case) is None]
            if not folder.is_dir():  # who only predicted held-out cases has none of test cases
                continue
            if system.get("made_of") != data:
                self.work.say(f"note: {name} is left out, as it is of other data or folds; name it again")
            elif missing:
                self.work.say(f"note: {name} is left out, as it has no prediction for {some_names(missing)}")
            else:
                there[name] = folder
        if not there:
            return []
        known = {**self.known, "thresholds_mm": self.thresholds_mm}
        return compare(self.work, cases, there, known, self.work.folder, prefix)


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return ", ".join([platform.machine(), f"{psutil.cpu_count()} cores", f"{memory:.0f} GiB", *devices])


def _from_voxels(found: Mapping[str, Any] | None, case: Case, names: Sequence[str]) -> LandmarkSet | None:
    """A case of nnLandmark's JSON in millimetres; a landmark that is not there is unknown."""
    if found is None:
        return None
    _, affine = read_geometry(case.image)
    there = [name for name in names if name in found]
    points = voxel_to_world(np.array([found[name] for name in there]).reshape(-1, 3), affine)
    return LandmarkSet(tuple(there), points).select(names)
