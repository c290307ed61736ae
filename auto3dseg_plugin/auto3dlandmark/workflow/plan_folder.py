# SPDX-License-Identifier: Apache-2.0
"""From a dataset to a plan: the steps before any bundle, each leaving a file in the work folder.

``check -> analyze -> plan``. Each step reads the files before it, and is skipped when they have not changed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..checks.dataset import check_dataset
from ..checks.findings import raise_on_errors, report_findings
from ..data.datalist import Datalist, read_datalist, scan_folder, write_datalist
from ..errors import LandmarkError
from ..files import read_json, write_json
from ..planning import fingerprint, planner
from ..planning.fingerprint import compute_fingerprint, read_fingerprint, write_fingerprint
from ..planning.plan import write_plan
from ..planning.planner import make_plan
from .record import Steps, files_digest

__all__ = ["WorkFolder", "dataset_state", "default_network", "default_recipe"]


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


class WorkFolder:
    """
    A work folder, and the steps that lead from a dataset to a plan.

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

    def check(self, dataset: str | os.PathLike, dataroot: str | os.PathLike | None = None) -> None:
        """
        Find the cases, write ``datalist.json`` and ``check.json``, and stop when the data has errors.

        Args:
            dataset: a folder as for :func:`scan_folder`, or a MONAI datalist file.
            dataroot: what the paths in a datalist file are relative to, as for :func:`read_datalist`.
        """
        if Path(dataset).is_file():
            listed = read_datalist(dataset, dataroot)
        else:
            earlier = read_datalist(self.datalist).training if self.datalist.exists() else ()
            folds = {case.id: case.fold for case in earlier if case.fold is not None}
            listed = scan_folder(dataset, folds=folds)
        report = self.folder / "check.json"

        def action() -> None:
            findings = check_dataset(listed)
            write_json(report, [dataclasses.asdict(finding) for finding in findings])
            raise_on_errors(findings)
            if findings:
                self.say(report_findings(findings))
            write_datalist(self.datalist, listed)

        listing = [[case.id, case.fold] for case in (*listed.training, *listed.testing)]
        self.steps("check", [listing, dataset_state(listed)], [report, self.datalist], action)

    def analyze(self, modality: str | Sequence[str] = "MRI") -> None:
        """Write ``fingerprint.json``; ``modality`` as for :func:`compute_fingerprint`."""
        listed = read_datalist(self.datalist)

        def action() -> None:
            write_fingerprint(self.fingerprint, compute_fingerprint(listed, modality))

        self.steps(
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
    ) -> None:
        """
        Write ``plan.json``.

        Args:
            network: a preset; left out, what suits this machine.
            gpu_memory_gb: plan for a GPU of this size.
            network_def: a JSON file with the MONAI config of another network to train.
            fit_memory: count heatmaps and loss, and plan for the GPU at hand unless ``gpu_memory_gb`` says otherwise.
        """
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
                plan = make_plan(found, network, gpu_memory_gb, network_def=own, fit_memory=fit_memory)
            except LandmarkError as error:
                raise error if network_def is None else LandmarkError(f"{network_def}: {error}") from error
            write_plan(self.plan, plan)
            for note in plan.notes:
                self.say(f"note: {note}")

        wishes = [network, gpu_memory_gb, own, fit_memory]
        self.steps("plan", [planner.VERSION, *wishes, read_json(self.fingerprint)], [self.plan], action)


def _gpu_memory_gb() -> float | None:
    """Memory of the first GPU; None without one."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 1e9 if torch.cuda.is_available() else None


def dataset_state(datalist: Datalist) -> str:
    """
    A short name for the state of a dataset's files: it changes when one of them does.
    """
    cases = (*datalist.training, *datalist.testing)
    return files_digest([case.image for case in cases] + [case.label for case in cases])
