# SPDX-License-Identifier: Apache-2.0
"""nnU-Net's planning rules: target spacing, patch size, pooling, batch size.

Everything here is in nnU-Net's axis order (z, y, x), because ties and "the first axis" are decided in it.
planner.py turns our (x, y, z) around on the way in and out.

Source: Isensee et al., "nnU-Net", Nature Methods 2021; the rules as docs/planning.md numbers them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .presets import Preset, estimate_memory

__all__ = [
    "Configuration",
    "configure",
    "low_resolution",
    "median_shape",
    "target_spacing",
    "transpose_order",
]

SMALLEST_FEATURE_MAP = 4
ANISOTROPY = 3.0
INITIAL_PATCH_VOXELS = 256**3
LOWRES_STEP = 1.03


@dataclass(frozen=True)
class Configuration:
    """One resolution's plan, axes (z, y, x)."""

    spacing: tuple[float, ...]
    median_shape: tuple[float, ...]
    patch_size: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    batch_size: int
    memory: int


def target_spacing(spacings: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """
    Rule 1: the median spacing, but finer along a very coarse axis.

    Args:
        spacings: millimetres, shape (cases, 3).
        shapes: voxels after cropping, shape (cases, 3).
    """
    target = np.percentile(spacings, 50, axis=0)
    size = np.percentile(shapes, 50, axis=0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != worst]
    if target[worst] > ANISOTROPY * target[others].max() and ANISOTROPY * size[worst] < size[others].min():
        finer = np.percentile(spacings[:, worst], 10)
        target[worst] = finer if finer >= target[others].max() else target[others].max() + 1e-5
    return np.asarray(target)


def transpose_order(target: np.ndarray) -> list[int]:
    """
    Rule 2: the coarsest axis first.
    """
    worst = int(np.argmax(target))
    return [worst] + [axis for axis in range(3) if axis != worst]


def median_shape(spacings: np.ndarray, shapes: np.ndarray, target: np.ndarray) -> np.ndarray:
    """
    Rule 3: median over cases of the shape after resampling to ``target``.
    """
    return np.asarray(np.median(np.round(spacings / target * shapes), axis=0))


def configure(
    preset: Preset, spacing: np.ndarray, median: np.ndarray, cases: int, landmarks: int, gpu_memory_gb: float
) -> Configuration:
    """
    Rules 4 to 10: the patch, the pooling and the batch that fit a spacing and a median shape.

    Args:
        spacing: millimetres, shape (3,).
        median: voxels of the median image at that spacing, shape (3,).
        cases: training cases.
        landmarks: output channels.
        gpu_memory_gb: the memory to plan for; the preset's own reference gives nnU-Net's default.
    """
    reference = preset.reference_memory * (gpu_memory_gb / preset.reference_gb)
    ratio = 1 / spacing
    initial = np.round(ratio * (INITIAL_PATCH_VOXELS / np.prod(ratio)) ** (1 / 3)).astype(int)
    patch = np.minimum(initial, median)  # half a voxel of an even number of cases is kept, and padded
    strides, kernels, patch, divisor = _pool(spacing, patch)
    memory = estimate_memory(preset, patch, strides, landmarks)
    while memory > reference:
        share = patch / median
        axis = max(range(3), key=lambda index: (share[index], index))
        smaller = patch.copy()
        smaller[axis] -= divisor[axis]
        if smaller[axis] < 1:
            break
        # The pooling, and with it the divisor, may change with the size: use the new one.
        new_divisor = _pool(spacing, smaller)[3]
        patch[axis] = max(patch[axis] - new_divisor[axis], 1)
        strides, kernels, patch, divisor = _pool(spacing, patch)
        memory = estimate_memory(preset, patch, strides, landmarks)
    patch_voxels = float(np.prod(patch, dtype=np.float64))
    dataset_voxels = float(np.prod(median, dtype=np.float64)) * cases
    batch = round(reference / memory * 2)
    batch = max(min(batch, round(dataset_voxels * preset.batch_coverage / patch_voxels)), 2)
    return Configuration(
        tuple(float(value) for value in spacing),
        tuple(float(value) for value in median),
        tuple(int(size) for size in patch),
        tuple(strides),
        tuple(kernels),
        int(batch),
        memory,
    )


def _pool(
    spacing: np.ndarray, patch: np.ndarray
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]], np.ndarray, np.ndarray]:
    """Rule 5: strides and kernels per stage, the patch padded to fit them, and the divisor of each axis."""
    current, size = np.array(spacing, dtype=np.float64), np.array(patch, dtype=np.float64)
    strides: list[tuple[int, ...]] = [(1, 1, 1)]
    kernels: list[tuple[int, ...]] = []
    kernel = np.ones(3, dtype=int)
    pools = np.zeros(3, dtype=int)
    while True:
        valid = [axis for axis in range(3) if size[axis] >= 2 * SMALLEST_FEATURE_MAP]
        if not valid:
            break
        finest = min(current[axis] for axis in valid)
        kept = [axis for axis in valid if current[axis] / finest < 2]
        if len(kept) == 1 and size[kept[0]] < ANISOTROPY * SMALLEST_FEATURE_MAP:
            break
        kernel[current / current.min() < 2] = 3
        stride = np.ones(3, dtype=int)
        stride[kept] = 2
        pools[kept] += 1
        current[kept] *= 2
        size[kept] = np.ceil(size[kept] / 2)
        strides.append(tuple(int(step) for step in stride))
        kernels.append(tuple(int(width) for width in kernel))
    kernels.append((3, 3, 3))
    divisor = 2**pools
    return strides, kernels, (np.ceil(np.array(patch) / divisor) * divisor).astype(int), divisor


def low_resolution(
    preset: Preset,
    full: Configuration,
    cases: int,
    landmarks: int,
    gpu_memory_gb: float,
    below: float = 0.25,
    saving: float = 2.0,
) -> Configuration | None:
    """
    Rule 13: a coarser configuration whose patch sees at least ``below`` of the median image; None when the
    full resolution's patch already does, or when the image would not have ``saving`` times fewer voxels.
    """
    spacing, shape = np.array(full.spacing), np.array(full.median_shape)
    lowres = full
    median = shape
    while np.prod(lowres.patch_size, dtype=np.float64) / np.prod(median) < below:
        uneven = spacing.max() / spacing > 2
        spacing = np.where(uneven, spacing * LOWRES_STEP, spacing) if uneven.any() else spacing * LOWRES_STEP
        median = shape * np.array(full.spacing) / spacing
        lowres = configure(preset, spacing, np.round(median), cases, landmarks, gpu_memory_gb)
    if lowres is full or np.prod(shape) / np.prod(median) < saving:
        return None
    return lowres
