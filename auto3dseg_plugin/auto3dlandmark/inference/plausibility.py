# SPDX-License-Identifier: Apache-2.0
"""Whether an image can be what a bundle was trained on, judged by its header alone: before the minutes of
silence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ..data.images import read_geometry
from ..errors import LandmarkError
from ..geometry import voxel_spacing
from ..planning.plan import Plan

__all__ = ["size_warnings"]

# Of a whole prediction on the network's grid, measured (tests/benchmarks/predict_size.py), with 16 features
# a voxel: 0.65 to 0.8 GB above the idle process for 250 x 250 x 166 voxels, 2.7 for 512 x 512 x 600; and 5.4
# for the former where a heatmap for each of 45 landmarks is held.
LEAST_GB, BYTES_PER_VOXEL, BYTES_PER_FEATURE, BYTES_PER_HEATMAP_VOXEL = 0.5, 12, 2, 12
MOST_FEATURES_GB = 2.1  # of what windows gave: beyond it, an image is looked at in parts
USUAL_FEATURES = 32  # of networks that are not nnU-Net's
ODD_VOXELS, ABSURD_VOXELS = 8.0, 100.0  # times as large or as small as the training images'
MUCH_LARGER = 8.0  # times as many voxels on the network's grid as the median training image


def size_warnings(
    image: str | os.PathLike, plan: Plan, most_gb: float | None = None, holds_heatmaps: bool = False
) -> list[str]:
    """
    What is odd about an image's voxels and size, in sentences.

    Args:
        image: a file; a folder is not looked at.
        plan: of the bundle.
        most_gb: the memory that may be taken; left out, what is free.
        holds_heatmaps: heatmaps are there as a whole, as with an inferer of somebody else.

    Raises:
        LandmarkError: when its voxels cannot be millimetres, or predicting it would take more memory than
            there is.
    """
    if not Path(image).is_file():
        return []
    plan = plan.coarse or plan  # the stage that sees the whole image
    shape, affine = read_geometry(image)
    spacing = np.sort(voxel_spacing(affine))
    usual = np.sort(plan.original_spacing)
    text = f"{image}: has voxels of {_by(spacing)} mm, the training images had {_by(usual)} mm"
    ratio = spacing / usual
    extreme = max(ratio.max(), 1 / max(ratio.min(), 1e-12))
    if extreme >= ABSURD_VOXELS:
        raise LandmarkError(f"{text}. Metres or micrometres instead of millimetres? Correct the header.")
    warnings = [f"warning: {text}. Are they millimetres?"] if extreme >= ODD_VOXELS else []
    grid = np.maximum(1, np.round(np.array(shape) * voxel_spacing(affine) / np.mean(plan.spacing)))
    heatmaps = len(plan.landmark_names) * BYTES_PER_HEATMAP_VOXEL if holds_heatmaps else 0
    features_gb = float(grid.prod()) * BYTES_PER_FEATURE * _features(plan.network_def) / 1e9
    needed_gb = LEAST_GB + float(grid.prod()) * (BYTES_PER_VOXEL + heatmaps) / 1e9
    needed_gb += min(features_gb, MOST_FEATURES_GB)
    free_gb = psutil.virtual_memory().available / 1e9
    free_gb = free_gb if most_gb is None else min(free_gb, most_gb)
    if needed_gb > free_gb:
        raise LandmarkError(
            f"{image}: would be {_by(grid)} voxels on the network's grid, which takes about {needed_gb:.0f} "
            "GB of "
            f"memory; {free_gb:.0f} GB may be taken. Crop it to what the training images show, or correct "
            "its "
            "voxel size."
        )
    larger = float(grid.prod()) / float(np.prod(plan.median_shape))
    if larger >= MUCH_LARGER:
        warnings.append(
            f"warning: {image}: is {larger:.0f} times as large as the training images, and will take so many "
            "times "
            f"as long; about {needed_gb:.1f} GB of memory. Crop it if it shows much more than they did."
        )
    return warnings


def _features(network_def: Mapping[str, Any]) -> int:
    """How many values a network has for each voxel before its last layer."""
    inside = network_def.get("network", network_def)
    stages = inside.get("features_per_stage") if isinstance(inside, Mapping) else None
    return int(stages[0]) if stages else USUAL_FEATURES


def _by(values: np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
