# SPDX-License-Identifier: Apache-2.0
"""From a fingerprint to a plan: every number a training needs, decided before it starts.

A plan is a pure function of its inputs. Whether there is a GPU is the caller's to find out and say, by the
choice of the network.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .files import read_json, write_json
from .fingerprint import Fingerprint
from .landmarks import LandmarkError
from .networks.presets import PRESETS
from .networks.presets import network_def as preset_def
from .topology import (
    ANISOTROPY,
    Configuration,
    configure,
    low_resolution,
    median_shape,
    target_spacing,
    transpose_order,
)

__all__ = ["Plan", "make_plan", "read_plan", "write_plan"]

VERSION = 3
USUAL_ROTATION_DEG, LEAST_ROTATION_DEG, ARBITRARY_POSES_DEG, USUAL_SHARE = 30.0, 10.0, 60.0, 0.3
NORMALIZATIONS = {
    "ct": "ct",
    "nonorm": "none",
    "zscore": "zscore",
    "rescale_to_0_1": "rescale",
    "rgb_to_0_1": "rgb",
}
MASKED_NORMALIZATION_BELOW = 0.75
WHOLE_IMAGE_PATCHES = 6
HEATMAP_BYTES = (
    16  # of a heatmap voxel beyond its logit, for the largest loss; tests/benchmarks/loss_memory.py
)


@dataclass(frozen=True)
class Plan:
    """
    What to train, in numbers. Axes are (x, y, z) of images turned to RAS.

    Args:
        network: name of the preset.
        landmark_names: in channel order.
        modalities: name of each channel of the images; decided its normalisation.
        original_spacing: millimetres, nnU-Net's target spacing for this dataset.
        spacing: millimetres the images are resampled to; coarser than ``original_spacing`` only for ``small``.
        antialias: smooth images before making them coarser.
        median_shape: voxels of the median image at ``spacing``.
        patch_size, batch_size: voxels, and patches per training step.
        roi_size: the most voxels the network sees at once in inference: the largest training image when that is
            not much more than a patch, which a CPU does faster than many patches; else the patch.
        divisor: the window shrinks to smaller images in steps of this; None: it does not, as in nnU-Net.
        cached_gb: memory that all training images take at ``spacing``.
        may_be_absent: landmarks that are absent in some training case.
        normalization: of each channel: scheme (``zscore``, ``ct``, ``none``, ``rescale``, ``rgb``), whether zero
            voxels are left out, and the dataset's intensity statistics.
        rotation_deg, rotation_prob: the spread of poses in the data, for recipes that turn training images
            accordingly: the largest angle, and the share of images to turn.
        thick_axis: the axis across thick slices, when patches are more than three times as wide as they are thick;
            nnU-Net turns and scales such patches within the slices only.
        network_def: MONAI config of the network.
        lowres: nnU-Net's low-resolution configuration, for those who want it: spacing, patch_size, batch_size.
        notes: what a user should know about the decisions above.
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
    version: int = VERSION


def make_plan(
    fingerprint: Fingerprint,
    network: str = "plain",
    gpu_memory_gb: float | None = None,
    spacing: tuple[float, float, float] | None = None,
    network_def: Mapping[str, Any] | None = None,
    fit_memory: bool = False,
) -> Plan:
    """
    Decide spacing, patch, batch, normalisation, network and rotations for a dataset.

    Args:
        fingerprint: of the training cases.
        network: a preset: ``small``, ``plain``, ``resenc_m`` or ``resenc_l``.
        gpu_memory_gb: memory to plan for; left out, what the preset was made for.
        spacing: millimetres (x, y, z) to use instead of the dataset's median.
        network_def: MONAI config of a network to train instead of the preset's, whose resolution and patch are kept
            as far as the network takes them; as for :func:`auto3dlandmark.networks.fitting.fit_patch`.
        fit_memory: count heatmaps and loss too, which nnU-Net's estimate leaves out.

    Raises:
        LandmarkError: for an unknown network, or memory too small for any patch.
    """
    if network not in PRESETS:
        raise LandmarkError(f"network={network!r} is unknown. Choose one of {', '.join(PRESETS)}.")
    preset = PRESETS[network]
    memory_gb = preset.reference_gb if gpu_memory_gb is None else float(gpu_memory_gb)
    if memory_gb <= 0:
        raise LandmarkError(f"gpu_memory_gb={gpu_memory_gb} must be greater than 0.")
    # nnU-Net's order is (z, y, x); its ties are decided in it.
    spacings = np.array(fingerprint.spacings)[:, ::-1]
    shapes = np.array(fingerprint.shapes_after_crop)[:, ::-1]
    target = target_spacing(spacings, shapes) if spacing is None else np.array(spacing, dtype=float)[::-1]
    order = transpose_order(target)
    cases, landmarks = len(fingerprint.cases), len(fingerprint.landmark_names)
    median = median_shape(spacings, shapes, target)[order]
    if fit_memory:
        preset = dataclasses.replace(preset, heatmap_bytes=HEATMAP_BYTES)
    full = configure(preset, target[order], median, cases, landmarks, memory_gb)
    reference = preset.reference_memory * memory_gb / preset.reference_gb
    if full.memory > reference:
        raise LandmarkError(
            f"gpu_memory_gb={memory_gb:g} is too small for network={network!r} with {landmarks} landmarks. "
            f"Use a smaller network, or plan for at least {memory_gb * full.memory / reference:.0f} GB."
        )
    lowres = low_resolution(preset, full, cases, landmarks, memory_gb)
    chosen, notes = full, []
    if preset.coarsen_below is not None:
        coarse = low_resolution(preset, full, cases, landmarks, memory_gb, preset.coarsen_below)
        chosen = coarse or full
        if coarse is not None:
            notes.append(_resolution_note(full, coarse, order))
    turn = _back_to_xyz(order)
    resampled = np.array(fingerprint.shapes) * np.array(fingerprint.spacings) / np.array(turn(chosen.spacing))
    patch_size = turn(chosen.patch_size)
    divisor: tuple[int, ...] | None = tuple(
        int(step) for step in np.prod([turn(stride) for stride in chosen.strides], axis=0)
    )
    built: Mapping[str, Any]
    if network_def is None:
        strides, kernels = [turn(s) for s in chosen.strides], [turn(k) for k in chosen.kernel_sizes]
        built = preset_def(preset, strides, kernels, landmarks, len(fingerprint.modalities))
    else:
        built = network_def
        patch_size, divisor, note = _fit(network_def, fingerprint, patch_size)
        notes.append(note)
    window = None
    if preset.coarsen_below is not None and divisor is not None:
        whole = np.ceil(np.round(resampled.max(axis=0), 6) / divisor) * divisor
        if np.prod(whole) <= WHOLE_IMAGE_PATCHES * np.prod(patch_size):
            window = tuple(int(size) for size in whole)
    rotation_deg, rotation_prob = _rotation(fingerprint)
    return Plan(
        network=network,
        landmark_names=fingerprint.landmark_names,
        modalities=fingerprint.modalities,
        original_spacing=turn(full.spacing),
        spacing=turn(chosen.spacing),
        antialias=chosen is not full,
        median_shape=turn(chosen.median_shape),
        patch_size=patch_size,
        batch_size=(
            chosen.batch_size if preset.most_batch is None else min(chosen.batch_size, preset.most_batch)
        ),
        roi_size=window or patch_size,
        divisor=divisor if window else None,
        cached_gb=round(float(resampled.prod(axis=1).sum()) * 4 * len(fingerprint.modalities) / 1e9, 3),
        may_be_absent=tuple(name for name, counts in fingerprint.presence.items() if counts["absent"]),
        normalization=_normalization(fingerprint),
        rotation_deg=rotation_deg,
        rotation_prob=rotation_prob,
        thick_axis=_thick_axis(patch_size, 2 - order[0]),
        network_def=dict(built),
        lowres=(
            None
            if lowres is None
            else {
                "spacing": list(turn(lowres.spacing)),
                "patch_size": list(turn(lowres.patch_size)),
                "batch_size": lowres.batch_size,
            }
        ),
        notes=tuple(notes),
    )


def _fit(
    network_def: Mapping[str, Any], fingerprint: Fingerprint, wanted: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...] | None, str]:
    """Patch and divisor for a user's own network, and what to know about them."""
    from .networks.fitting import fit_patch  # torch, which planning needs for nothing else

    names, channels = fingerprint.landmark_names, len(fingerprint.modalities)
    patch_size, divisor = fit_patch(network_def, names, wanted, channels)
    note = f"The network is {network_def['_target_']}; its memory is not estimated, the patch is as for the preset"
    if patch_size != wanted:
        note += f", but {' x '.join(map(str, patch_size))} for {' x '.join(map(str, wanted))}"
    return patch_size, divisor, f"{note}."


def _back_to_xyz(order: list[int]):
    """A function that turns a triple in planning order into (x, y, z)."""

    def turn(triple):
        zyx = [None] * 3
        for position, axis in enumerate(order):
            zyx[axis] = triple[position]
        return tuple(zyx[::-1])

    return turn


def _resolution_note(full: Configuration, coarse: Configuration, order: list[int]) -> str:
    turn = _back_to_xyz(order)
    before, after = turn(full.spacing), turn(coarse.spacing)
    text = " x ".join(f"{value:.3g}" for value in after)
    return (
        f"Images are resampled from {' x '.join(f'{value:.3g}' for value in before)} to {text} mm, so that a patch "
        f"on a CPU sees most of an image: details below {max(after):.2g} mm are lost. Use network='plain' with a GPU "
        "for full resolution."
    )


def _normalization(fingerprint: Fingerprint) -> tuple[dict[str, Any], ...]:
    """Rule 11: by the channel's name; z-score for any name without a rule of its own."""
    small = fingerprint.median_relative_size_after_crop < MASKED_NORMALIZATION_BELOW
    schemes = [NORMALIZATIONS.get(name.casefold(), "zscore") for name in fingerprint.modalities]
    return tuple(
        {"scheme": scheme, "nonzero": scheme == "zscore" and small, "intensity": intensity}
        for scheme, intensity in zip(schemes, fingerprint.intensity)
    )


def _thick_axis(patch_size: tuple[int, ...], coarsest: int) -> int | None:
    return coarsest if max(patch_size) / patch_size[coarsest] > ANISOTROPY else None


def _rotation(fingerprint: Fingerprint) -> tuple[float, float]:
    """
    Largest angle in degrees to turn training images by, and how many of them.

    Images that all lie alike are learnt best mostly as they are; those in any orientation must all be turned.
    """
    if fingerprint.pose_angles_deg is None:
        return USUAL_ROTATION_DEG, USUAL_SHARE
    spread = fingerprint.pose_angles_deg["p95"]
    if spread > ARBITRARY_POSES_DEG:
        return 180.0, 1.0
    # Two cases that are far apart lie about half of that from the pose in their middle.
    return round(max(LEAST_ROTATION_DEG, spread / 2), 1), USUAL_SHARE


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
    content = read_json(path)
    fields = {field.name for field in dataclasses.fields(Plan)}
    if not isinstance(content, dict) or set(content) != fields or content["version"] != VERSION:
        raise LandmarkError(f"{path}: is not a plan of this version. Run 'auto3dlandmark plan' again.")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    return Plan(**values)
