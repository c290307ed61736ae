# SPDX-License-Identifier: Apache-2.0
"""The steps of ``run``, one by one."""

from __future__ import annotations

from .arguments import given, one_of, positive
from .main_job import channels, check_wishes

__all__ = ["analyze", "build", "plan", "train"]


def analyze(dataset: str, work: str, modality: str = "MRI", landmarks: str | None = None) -> None:
    """
    Look at a dataset in numbers: WORK/datalist.json and WORK/fingerprint.json.

    Args:
        dataset: a folder of images with landmarks.
        work: where all results go.
        modality: CT, MRI or another name, one for all channels or one for each.
        landmarks: which landmark files, where there are several for an image: a folder, a table, or a pattern
            such as "*-1.mrk.json".
    """
    from ..workflow.work_folder import WorkFolder

    folder = WorkFolder(work)
    folder.check(dataset, landmarks=landmarks)
    folder.analyze(channels(modality))


def plan(
    work: str,
    network: str | None = None,
    gpu_memory_gb: float | None = None,
    network_def: str | None = None,
    fit_memory: bool = False,
    stages: int | None = None,
) -> None:
    """
    Decide spacing, patch, batch, normalisation and network: WORK/plan.json.

    Args:
        work: a folder with fingerprint.json.
        network: small, plain, resenc_m, resenc_l or folded; left out, what suits this machine.
        gpu_memory_gb: plan for a GPU of this size.
        network_def: a JSON file with another network to train.
        fit_memory: count heatmaps and loss in the memory, and plan for the GPU at hand.
        stages: 1 network for the whole image, or 2: one for the pose, one for the details; left out, what the
            data asks for.
    """
    one_of("stages", stages, (1, 2))
    check_wishes(network, None, network_def, gpu_memory_gb)
    from ..workflow.work_folder import WorkFolder

    WorkFolder(work).make_plan(network, gpu_memory_gb, network_def, fit_memory, stages)


def build(work: str, fold: int = 0, recipe: str | None = None, minutes: float | None = None) -> None:
    """
    Write the MONAI bundle WORK/heatmap_FOLD from the plan.

    Args:
        work: a folder with plan.json.
        fold: the held-out fold.
        recipe: quick, nnlandmark_2026, nnlandmark_2025, or a JSON file; left out, what suits the network.
        minutes: end the training after so many minutes.
    """
    options = given(minutes=None if minutes is None else positive("minutes", minutes))
    check_wishes(None, recipe, None, None)
    from ..workflow.work_folder import WorkFolder

    WorkFolder(work).build(fold, recipe, **options)


def train(work: str, fold: int = 0) -> None:
    """
    Train WORK/heatmap_FOLD; again to go on after an interruption.

    Args:
        work: a folder with a built bundle.
        fold: the held-out fold.
    """
    from ..workflow.work_folder import WorkFolder

    WorkFolder(work).train(fold)
