# SPDX-License-Identifier: Apache-2.0
"""A plan: every number a training needs, as one readable file."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from ..errors import LandmarkError
from ..files import read_json, write_json

__all__ = ["VERSION", "Plan", "read_plan", "write_plan"]


VERSION = 4


@dataclass(frozen=True)
class Plan:
    """
    What to train, in numbers. Axes are (x, y, z) of images turned to RAS.

    Args:
        network: name of the preset.
        landmark_names: in channel order.
        modalities: name of each channel of the images; decided its normalisation.
        original_spacing: millimetres, nnU-Net's target spacing for this dataset.
        spacing: millimetres the images are resampled to; coarser than ``original_spacing`` only for
            ``small``.
        antialias: smooth images before making them coarser.
        median_shape: voxels of the median image at ``spacing``.
        patch_size, batch_size: voxels, and patches per training step.
        roi_size: the most voxels the network sees at once in inference: the largest training image when that
            is not much more than a patch, which a CPU does faster than many patches; else the patch.
        divisor: the window shrinks to smaller images in steps of this; None: it does not, as in nnU-Net.
        cached_gb: memory that all training images take at ``spacing``.
        may_be_absent: landmarks that are absent in some training case.
        normalization: of each channel: scheme (``zscore``, ``ct``, ``none``, ``rescale``, ``rgb``), whether
            zero voxels are left out, and the dataset's intensity statistics.
        rotation_deg, rotation_prob: the spread of poses in the data, for recipes that turn training images
            accordingly: the largest angle, and the share of images to turn.
        thick_axis: the axis across thick slices, when patches are more than three times as wide as they are
            thick; nnU-Net turns and scales such patches within the slices only.
        network_def: MONAI config of the network.
        lowres: nnU-Net's low-resolution configuration, for those who want it: spacing, patch_size,
            batch_size.
        notes: what a user should know about the decisions above.
        frame: of the second of two stages: voxels of the landmarks' frame (``shape``), and how many more are
            kept at each side of it in training (``room``); where there is a chain, how many voxels further
            its next level lies (``level``), and how the frame is turned there (``level_turn_deg``, a rotation
            vector along its axes); axes are then those of the frame.
        coarse: the plan of the first of two stages.
    """

    network: str
    landmark_names: tuple[str, ...]
    modalities: tuple[str, ...]
    original_spacing: tuple[float, ...]
    spacing: tuple[float, ...]
    antialias: bool
    median_shape: tuple[float, ...]
    patch_size: tuple[int, ...]
    batch_size: int
    roi_size: tuple[int, ...]
    divisor: tuple[int, ...] | None
    cached_gb: float
    may_be_absent: tuple[str, ...]
    normalization: tuple[dict[str, Any], ...]
    rotation_deg: float
    rotation_prob: float
    thick_axis: int | None
    network_def: dict[str, Any]
    lowres: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    frame: dict[str, Any] | None = None
    coarse: Plan | None = None
    version: int = VERSION


def write_plan(path: str | os.PathLike, plan: Plan) -> None:
    """
    Write ``plan.json``.
    """
    write_json(path, dataclasses.asdict(plan))


def read_plan(path: str | os.PathLike) -> Plan:
    """
    Read ``plan.json``; a plan edited by hand is as good as one made by :func:`make_plan`.

    Raises:
        LandmarkError: when it is missing, broken, or of another version of this package.
    """
    return _plan(read_json(path), path)


def _plan(content: Any, path: str | os.PathLike) -> Plan:
    fields = {field.name for field in dataclasses.fields(Plan)}
    if not isinstance(content, dict) or set(content) != fields or content["version"] != VERSION:
        raise LandmarkError(f"{path}: is not a plan of this version. Run 'auto3dlandmark plan' again.")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    if values["coarse"] is not None:
        values["coarse"] = _plan(values["coarse"], path)
    return Plan(**values)
