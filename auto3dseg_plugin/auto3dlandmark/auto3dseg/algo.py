# SPDX-License-Identifier: Apache-2.0
"""The template as an Auto3DSeg algorithm: an adapter from what stock ``AutoRunner`` asks to the steps of a
work folder."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.apps.auto3dseg import BundleAlgo
from monai.auto3dseg.utils import algo_from_json, algo_to_json
from monai.bundle import ConfigParser

from ..bundles.algo_object import NAME, auto3dseg_score
from ..bundles.fill import copy_template, fill_bundle
from ..bundles.folder import TEMPLATES, BundleFolder
from ..errors import LandmarkError
from ..inference.label_map import HeatmapInferer
from ..planning.plan import read_plan
from ..training.run import train_bundle
from ..workflow.work_folder import WorkFolder

__all__ = ["HeatmapAlgo"]

OPTIONS = ("network", "recipe", "gpu_memory_gb", "network_def", "fit_memory", "stages")


class HeatmapAlgo(BundleAlgo):
    """
    Heatmap regression of landmarks, for ``BundleGen``, ``AutoRunner`` and ``AlgoEnsembleBuilder`` of MONAI.

    Args:
        template_path: the folder that holds the template ``heatmap``; left out, the package's own.
        network: a preset; left out, what suits the machine.
        recipe: a name or a JSON file; left out, what suits the network.
        gpu_memory_gb: plan for a GPU of this size.
        network_def: a JSON file with another network to train, as for :meth:`WorkFolder.make_plan`.
        fit_memory: count heatmaps and loss in the memory, as for :meth:`WorkFolder.make_plan`.
        stages: 1 or 2 networks, as for :meth:`WorkFolder.make_plan`.

    All but the first may also stand in AutoRunner's input config, beside ``modality``, ``datalist`` and
    ``dataroot``.
    """

    def __init__(
        self,
        template_path: str | os.PathLike | None = None,
        network: str | None = None,
        recipe: str | None = None,
        gpu_memory_gb: float | None = None,
        network_def: str | None = None,
        fit_memory: bool = False,
        stages: int | None = None,
    ) -> None:
        super().__init__(str(TEMPLATES) if template_path is None else template_path)
        self.name = NAME
        self.options: dict[str, Any] = {
            "network": network,
            "recipe": recipe,
            "gpu_memory_gb": gpu_memory_gb,
            "network_def": network_def,
            "fit_memory": fit_memory,
            "stages": stages,
        }

    @classmethod
    def load(cls, bundle: str | os.PathLike) -> HeatmapAlgo:
        """
        The algorithm of a bundle folder, wherever that is now.

        Raises:
            LandmarkError: when the folder has no ``algo_object.json`` of this algorithm.
        """
        path = BundleFolder(Path(bundle).resolve()).algo_object
        if not path.is_file():
            raise LandmarkError(f"{bundle}: is not a bundle, it has no algo_object.json. Run 'build' first.")
        algo, _ = algo_from_json(str(path))
        if not isinstance(algo, cls):
            raise LandmarkError(f"{path}: is of the algorithm {type(algo).__name__}, not {cls.__name__}.")
        return algo

    def save(self) -> None:
        """Write ``algo_object.json``, with the score when there is one."""
        score = auto3dseg_score(self._bundle)
        algo_to_json(
            self, template_path=self.template_path, **({} if score is None else {"best_metric": score})
        )

    def export_to_disk(self, output_path: str, algo_name: str, **kwargs: Any) -> None:
        """
        Write the bundle ``output_path/algo_name``. Unlike MONAI's, this leaves trained models there alone.

        Args:
            kwargs: ``copy_dirs`` and ``fill_template`` as for MONAI's; the rest goes to
                :meth:`fill_template_config`.
        """
        self.output_path = str(Path(output_path, algo_name).resolve())
        if kwargs.pop("copy_dirs", True):
            copy_template(self.output_path, Path(self.template_path or TEMPLATES) / NAME)
        if kwargs.pop("fill_template", True):
            self.fill_records = self.fill_template_config(self.data_stats_files, self.output_path, **kwargs)

    def fill_template_config(
        self, data_stats_filename: str, algo_path: str, fold: int = 0, **kwargs: Any
    ) -> dict[str, Any]:
        """
        Plan, once per work folder, and write the plan into the bundle.

        Args:
            data_stats_filename: MONAI's report; not needed, it knows no landmarks.
            algo_path: the bundle.
            fold: the held-out fold.
            kwargs: top-level values of train.json; those of ``OPTIONS`` as for the constructor.

        Returns:
            the values of train.json's head keys, as ``{"train.json": {...}}``.
        """
        for name in ("gpu_customization", "gpu_customization_specs"):  # the plan has fitted the GPU already
            kwargs.pop(name, None)
        options = {name: kwargs.pop(name, None) or self.options[name] for name in OPTIONS}
        work = WorkFolder(Path(algo_path).parent)
        if self.data_list_file:
            source = ConfigParser.load_config_file(self.data_list_file)
            options = {name: source.get(name) or options[name] for name in OPTIONS}
            work.check(source["datalist"], source["dataroot"])
            work.analyze(source["modality"])
            work.make_plan(**options)
        plan = read_plan(work.plan)
        return {"train.json": fill_bundle(algo_path, plan, work.datalist, fold, options["recipe"], **kwargs)}

    def train(
        self, train_params: Mapping[str, Any] | None = None, device_setting: Mapping[str, Any] | None = None
    ) -> subprocess.CompletedProcess:
        """
        Train the bundle; an interrupted training with the same settings goes on.

        Args:
            train_params: overrides, as for :func:`auto3dlandmark.training.run.config_overrides`.
            device_setting: as ``AutoRunner.set_device_info`` makes it. Several GPUs, or another one than this
                process sees, get processes of their own; otherwise the training runs here.

        Raises:
            LandmarkError: when a parameter is unknown, the bundle is being trained already, or the training
                fails.
        """
        parameters = {
            key: value for key, value in (train_params or {}).items() if key != "CUDA_VISIBLE_DEVICES"
        }
        setting = dict(device_setting or {})
        devices = [device for device in str(setting.get("CUDA_VISIBLE_DEVICES", "")).split(",") if device]
        train_bundle(self._bundle.path, parameters, devices, *_nodes_and_launcher(setting))
        return subprocess.CompletedProcess(["monai.bundle", "run", "training"], 0)

    def get_score(self, *args: Any, **kwargs: Any) -> float:
        """
        1 / (1 + MRE in mm) on the held-out fold: larger is better, as AutoRunner wants it.

        Raises:
            LandmarkError: before the training has ended.
        """
        score = auto3dseg_score(self._bundle)
        if score is None:
            raise LandmarkError(
                f"{self._bundle.models.outcome}: there is no such file. The training has not ended."
            )
        return score

    def get_inferer(self, *args: Any, **kwargs: Any) -> HeatmapInferer:
        """The loaded bundle; ``device`` may be given, what AutoRunner adds for others is ignored."""
        device = kwargs.get("device")
        if self._inferer is None or self._inferer.device != device:
            self._inferer = HeatmapInferer(self.output_path, device=device)
        return self._inferer

    def state_dict(self) -> dict[str, Any]:
        """What ``algo_object.json`` keeps; nothing in it points to where the template was."""
        state = super().state_dict()
        del state["template_path"]
        return {**state, "options": self.options}

    _inferer: HeatmapInferer | None = None

    @property
    def _bundle(self) -> BundleFolder:
        return BundleFolder(self.output_path)


def _nodes_and_launcher(setting: Mapping[str, Any]) -> tuple[int, list[str]]:
    """How many machines take part, and the user's own command to start Python there."""
    nodes, launcher = int(setting.get("NUM_NODES", 1)), shlex.split(str(setting.get("CMD_PREFIX") or ""))
    if nodes > 1 and not launcher:
        raise LandmarkError(
            f"NUM_NODES={nodes}: set CMD_PREFIX to the command that starts Python on every node, for example "
            "'torchrun --nnodes=2 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=HOST:29500'."
        )
    return nodes, launcher
