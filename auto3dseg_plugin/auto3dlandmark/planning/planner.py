# SPDX-License-Identifier: Apache-2.0
"""From a fingerprint to a plan: every number a training needs, decided before it starts.

A plan is a pure function of its inputs. Whether there is a GPU is the caller's to find out and say, by the
choice of the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import LandmarkError
from .fingerprint import Fingerprint
from .nnunet_rules import (
    ANISOTROPY,
    Configuration,
    configure,
    low_resolution,
    median_shape,
    target_spacing,
    transpose_order,
)
from .plan import Plan
from .presets import PRESETS, Preset
from .presets import network_def as preset_def

__all__ = ["ARBITRARY_POSES_DEG", "make_plan", "resolution_note"]

USUAL_ROTATION_DEG, LEAST_ROTATION_DEG, ARBITRARY_POSES_DEG, USUAL_SHARE = 30.0, 15.0, 60.0, 0.3
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
Turn = Callable[[Sequence[Any]], tuple[Any, ...]]  # from planning order to (x, y, z)


def make_plan(
    fingerprint: Fingerprint,
    network: str = "plain",
    gpu_memory_gb: float | None = None,
    spacing: tuple[float, float, float] | None = None,
    network_def: Mapping[str, Any] | None = None,
    fit_memory: bool = False,
    sees: float | None = None,
) -> Plan:
    """
    Decide spacing, patch, batch, normalisation, network and rotations for a dataset.

    Args:
        fingerprint: of the training cases.
        network: a preset: ``small``, ``plain``, ``resenc_m`` or ``resenc_l``.
        gpu_memory_gb: memory to plan for; left out, what the preset was made for.
        spacing: millimetres (x, y, z) to use instead of the dataset's median.
        network_def: MONAI config of a network to train instead of the preset's, whose resolution and patch
            are kept as far as the network takes them; as for
            :func:`auto3dlandmark.planning.patch_fit.fit_patch`.
        fit_memory: count heatmaps and loss too, which nnU-Net's estimate leaves out.
        sees: share of the median image that a patch sees at least, of presets that make images coarser for
            it; left out, what the preset says.

    Raises:
        LandmarkError: for an unknown network, or memory too small for any patch.
    """
    preset, memory_gb = _preset(network, gpu_memory_gb, fit_memory)
    if sees is not None and preset.coarsen_below is not None:
        preset = dataclasses.replace(preset, coarsen_below=sees)
    saving = 2.0 if sees is None else 1.0
    resolutions = _resolutions(fingerprint, network, preset, memory_gb, spacing, saving)
    chosen, turn = resolutions.chosen, _back_to_xyz(resolutions.order)
    built, patch_size, divisor, notes = _network(fingerprint, preset, chosen, turn, network_def)
    if chosen is not resolutions.full:
        notes.insert(0, resolution_note(turn(resolutions.full.spacing), turn(chosen.spacing)))
    resampled = np.array(fingerprint.shapes) * np.array(fingerprint.spacings) / np.array(turn(chosen.spacing))
    window = _whole_image(preset, resampled.max(axis=0), patch_size, divisor)
    rotation_deg, rotation_prob = _rotation(fingerprint)
    return Plan(
        network=network,
        landmark_names=fingerprint.landmark_names,
        modalities=fingerprint.modalities,
        original_spacing=turn(resolutions.full.spacing),
        spacing=turn(chosen.spacing),
        antialias=chosen is not resolutions.full,
        median_shape=turn(chosen.median_shape),
        patch_size=patch_size,
        batch_size=min(chosen.batch_size, preset.most_batch or chosen.batch_size),
        roi_size=window or patch_size,
        divisor=divisor if window else None,
        cached_gb=round(float(resampled.prod(axis=1).sum()) * 4 * len(fingerprint.modalities) / 1e9, 3),
        may_be_absent=tuple(name for name, counts in fingerprint.presence.items() if counts["absent"]),
        normalization=_normalization(fingerprint),
        rotation_deg=rotation_deg,
        rotation_prob=rotation_prob,
        thick_axis=_thick_axis(patch_size, 2 - resolutions.order[0]),
        network_def=dict(built),
        lowres=_low_resolution_entry(resolutions.low, turn),
        notes=tuple(notes),
    )


def _preset(network: str, gpu_memory_gb: float | None, fit_memory: bool) -> tuple[Preset, float]:
    """The preset, and the memory to plan it for."""
    if network not in PRESETS:
        raise LandmarkError(f"network={network!r} is unknown. Choose one of {', '.join(PRESETS)}.")
    preset = PRESETS[network]
    memory_gb = preset.reference_gb if gpu_memory_gb is None else float(gpu_memory_gb)
    if memory_gb <= 0:
        raise LandmarkError(f"gpu_memory_gb={gpu_memory_gb} must be greater than 0.")
    if fit_memory:
        preset = dataclasses.replace(preset, heatmap_bytes=HEATMAP_BYTES)
    return preset, memory_gb


@dataclass(frozen=True)
class _Resolutions:
    """nnU-Net's full and low resolution of a dataset, the one to train at, and the order of their axes."""

    full: Configuration
    low: Configuration | None
    chosen: Configuration
    order: list[int]


def _resolutions(
    fingerprint: Fingerprint,
    network: str,
    preset: Preset,
    memory_gb: float,
    spacing: tuple[float, float, float] | None,
    saving: float,
) -> _Resolutions:
    # nnU-Net's order is (z, y, x); its ties are decided in it.
    spacings = np.array(fingerprint.spacings)[:, ::-1]
    shapes = np.array(fingerprint.shapes_after_crop)[:, ::-1]
    target = target_spacing(spacings, shapes) if spacing is None else np.array(spacing, dtype=float)[::-1]
    order = transpose_order(target)
    cases, landmarks = len(fingerprint.cases), len(fingerprint.landmark_names)
    median = median_shape(spacings, shapes, target)[order]
    full = configure(preset, target[order], median, cases, landmarks, memory_gb)
    reference = preset.reference_memory * memory_gb / preset.reference_gb
    if full.memory > reference:
        raise LandmarkError(
            f"gpu_memory_gb={memory_gb:g} is too small for network={network!r} with {landmarks} landmarks. "
            f"Use a smaller network, or plan for at least {memory_gb * full.memory / reference:.0f} GB."
        )
    low = low_resolution(preset, full, cases, landmarks, memory_gb)
    coarse = None
    if preset.coarsen_below is not None:
        coarse = low_resolution(preset, full, cases, landmarks, memory_gb, preset.coarsen_below, saving)
    return _Resolutions(full, low, coarse or full, order)


def _network(
    fingerprint: Fingerprint,
    preset: Preset,
    chosen: Configuration,
    turn: Turn,
    network_def: Mapping[str, Any] | None,
) -> tuple[Mapping[str, Any], tuple[int, ...], tuple[int, ...] | None, list[str]]:
    """The network's config, its patch, what the patch's sizes are multiples of, and what to know of them."""
    patch_size = turn(chosen.patch_size)
    if network_def is not None:
        patch_size, divisor, note = _fit(network_def, fingerprint, patch_size)
        return network_def, patch_size, divisor, [note]
    strides, kernels = [turn(s) for s in chosen.strides], [turn(k) for k in chosen.kernel_sizes]
    landmarks, channels = len(fingerprint.landmark_names), len(fingerprint.modalities)
    built = preset_def(preset, strides, kernels, landmarks, channels)
    return built, patch_size, tuple(int(step) for step in np.prod(strides, axis=0)), []


def _whole_image(
    preset: Preset, largest: np.ndarray, patch_size: tuple[int, ...], divisor: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """A window that takes the largest training image at once, where that is not much more than a patch."""
    if preset.coarsen_below is None or divisor is None:
        return None
    whole = np.ceil(np.round(largest, 6) / divisor) * divisor
    if np.prod(whole) > WHOLE_IMAGE_PATCHES * np.prod(patch_size):
        return None
    return tuple(int(size) for size in whole)


def _low_resolution_entry(low: Configuration | None, turn: Turn) -> dict[str, Any] | None:
    """nnU-Net's low-resolution configuration, as it stands in a plan."""
    if low is None:
        return None
    spacing, patch_size = list(turn(low.spacing)), list(turn(low.patch_size))
    return {"spacing": spacing, "patch_size": patch_size, "batch_size": low.batch_size}


def _fit(
    network_def: Mapping[str, Any], fingerprint: Fingerprint, wanted: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...] | None, str]:
    """Patch and divisor for a user's own network, and what to know about them."""
    from .patch_fit import fit_patch  # torch, which planning needs for nothing else

    names, channels = fingerprint.landmark_names, len(fingerprint.modalities)
    patch_size, divisor = fit_patch(network_def, names, wanted, channels)
    note = f"The network is {network_def['_target_']}; its memory is not estimated, the patch is as for the "
    note += "preset"
    if patch_size != wanted:
        note += f", but {' x '.join(map(str, patch_size))} for {' x '.join(map(str, wanted))}"
    return patch_size, divisor, f"{note}."


def _back_to_xyz(order: list[int]) -> Turn:
    """A function that turns a triple in planning order into (x, y, z)."""

    def turn(triple: Sequence[Any]) -> tuple[Any, ...]:
        zyx: list[Any] = [None] * 3
        for position, axis in enumerate(order):
            zyx[axis] = triple[position]
        return tuple(zyx[::-1])

    return turn


def resolution_note(before: Sequence[float], after: Sequence[float]) -> str:
    """
    What a plan says of images that are made coarser.

    Args:
        before, after: millimetres (x, y, z).
    """
    text = " x ".join(f"{value:.3g}" for value in after)
    return (
        f"Images are resampled from {' x '.join(f'{value:.3g}' for value in before)} to {text} mm, so that a "
        f"patch on a CPU sees most of an image: details below {max(after):.2g} mm are lost. Use "
        "network='plain' with a GPU for full resolution."
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
