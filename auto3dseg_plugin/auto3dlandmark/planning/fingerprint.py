# SPDX-License-Identifier: Apache-2.0
"""What a dataset looks like, in numbers: all that planning needs to know, and nothing it does not.

Axes are those of the images turned to right, anterior, superior (without resampling), because that is how
training sees them.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from ..data.datalist import Datalist
from ..data.images import read_image, reorient_to_ras
from ..errors import LandmarkError
from ..files import read_json, write_json
from ..formats import read_landmarks
from ..geometry import fit_rotation, rotation_angle, voxel_spacing, world_to_voxel
from ..landmarks import ABSENT, PRESENT
from ..shapes.model import fit_shape

__all__ = ["Fingerprint", "compute_fingerprint", "read_fingerprint", "write_fingerprint"]

VERSION = 4
AROUND = 0.05  # of the landmarks' longest extent, to each side: what is around them
POSE_CASES = 40  # pairs grow with the square, and 780 pairs say enough about the spread of poses
SAMPLES_PER_CASE = 10_000  # voxels per image for the intensity statistics


@dataclass(frozen=True)
class Fingerprint:
    """
    Facts about the training cases of a dataset.

    Args:
        modalities: name of each channel of the images, such as ``CT`` or ``MRI``; decides its normalisation.
        landmark_names: in channel order.
        cases: ids, in the order of ``shapes`` and ``spacings``.
        shapes: voxels of each image, RAS axes.
        shapes_after_crop: the same after cropping to the box of voxels that are not zero in every channel.
        spacings: millimetres, RAS axes.
        median_relative_size_after_crop: cropped over full volume, median over cases.
        intensity: for each channel, over the foreground (voxels that are not zero in every channel) of all
            cases: mean, std, median, min, max and the percentiles 0.5 and 99.5.
        presence: per landmark, in how many cases it is present, absent, and unknown.
        nearest_landmark_mm: per landmark, median distance to the nearest other one; None with a single
            landmark.
        pose_angles_deg: how far cases are turned against each other, over pairs of cases: median, p95, max;
            None when fewer than three landmarks are shared.
        gradient: how much grey values around the landmarks change in a millimetre along each axis, root mean
            square over that of the steepest axis, median over cases; images of thick slices change slowly
            across them, whatever their header says.
        shape: the usual shape of the landmarks along the axes of their images, as
            :meth:`ShapeModel.to_json` gives it; None when unknown.
    """

    modalities: tuple[str, ...]
    landmark_names: tuple[str, ...]
    cases: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    shapes_after_crop: tuple[tuple[int, ...], ...]
    spacings: tuple[tuple[float, ...], ...]
    median_relative_size_after_crop: float
    intensity: tuple[dict[str, float], ...]
    presence: dict[str, dict[str, int]]
    nearest_landmark_mm: dict[str, float | None]
    pose_angles_deg: dict[str, float] | None
    gradient: tuple[float, ...] = (1.0, 1.0, 1.0)
    shape: dict[str, Any] | None = None
    version: int = VERSION


def compute_fingerprint(
    datalist: Datalist, modality: str | Sequence[str] = "MRI", progress: bool = True
) -> Fingerprint:
    """
    Read every training case once and sum it up.

    Args:
        modality: name of the images' channels, or of each of them.

    Raises:
        LandmarkError: when a file cannot be read, images have other numbers of channels or more than were
            named; run the checks first for a full list.
    """
    shapes, cropped, spacings, samples, points, statuses, gradients = [], [], [], [], [], [], []
    for case in tqdm(datalist.training, desc="analyze", unit="case", disable=not progress):
        array, affine = reorient_to_ras(*read_image(case.image))
        landmarks = read_landmarks(case.label).select(datalist.landmark_names)
        # Poses are compared as the network sees them: millimetres along the image's own axes.
        in_grid = (np.linalg.inv(affine[:3, :3]) @ landmarks.points.T).T * voxel_spacing(affine)
        channels = np.moveaxis(array, 3, 0) if array.ndim == 4 else array[None]
        foreground = (channels != 0).any(axis=0)
        shapes.append(tuple(int(size) for size in foreground.shape))
        cropped.append(_shape_of_nonzero(foreground))
        spacings.append(tuple(float(value) for value in np.round(voxel_spacing(affine), 6)))
        step = max(1, int(foreground.sum()) // SAMPLES_PER_CASE)
        samples.append(channels[:, foreground][:, ::step].astype(np.float64))
        gradients.append(_gradient(_around(landmarks.points, channels, affine), voxel_spacing(affine)))
        points.append(in_grid)
        statuses.append(landmarks.status)
        if len(samples[-1]) != len(samples[0]):
            raise LandmarkError(
                f"{case.image}: has {len(samples[-1])} channels, the images before it {len(samples[0])}."
            )
    status = np.array(statuses)
    return Fingerprint(
        modalities=_one_each(modality, len(samples[0])),
        landmark_names=datalist.landmark_names,
        cases=tuple(case.id for case in datalist.training),
        shapes=tuple(shapes),
        shapes_after_crop=tuple(cropped),
        spacings=tuple(spacings),
        median_relative_size_after_crop=float(
            np.median([np.prod(c) / np.prod(s) for c, s in zip(cropped, shapes)])
        ),
        intensity=tuple(_intensity_statistics(values) for values in np.concatenate(samples, axis=1)),
        presence={
            name: {
                "present": int((status[:, row] == PRESENT).sum()),
                "absent": int((status[:, row] == ABSENT).sum()),
                "unknown": int((~np.isin(status[:, row], (PRESENT, ABSENT))).sum()),
            }
            for row, name in enumerate(datalist.landmark_names)
        },
        nearest_landmark_mm=dict(zip(datalist.landmark_names, _nearest_distances(np.array(points)))),
        pose_angles_deg=_pose_angles(points),
        gradient=tuple(float(value) for value in np.round(np.median(gradients, axis=0), 3)),
        shape=fit_shape(np.array(points), datalist.landmark_names).to_json(),
    )


def _one_each(modality: str | Sequence[str], channels: int) -> tuple[str, ...]:
    names = (modality,) * channels if isinstance(modality, str) else tuple(modality)
    if len(names) != channels:
        raise LandmarkError(
            f"modality={','.join(names)!r} names {len(names)} channels, the images have {channels}. Name one "
            "or all."
        )
    return names


def _shape_of_nonzero(mask: np.ndarray) -> tuple[int, ...]:
    """Size of the smallest box that holds every voxel of the mask."""
    sizes = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        sizes.append(int(hit[-1] - hit[0] + 1) if len(hit) else mask.shape[axis])
    return tuple(sizes)


def _intensity_statistics(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.percentile(values, [0.5, 50, 99.5])
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "median": float(median),
        "min": float(values.min()),
        "max": float(values.max()),
        "percentile_00_5": float(low),
        "percentile_99_5": float(high),
    }


def _nearest_distances(points: np.ndarray) -> list[float | None]:
    """Median over cases of each landmark's distance to the nearest other one; ``points`` is (cases, N, 3)."""
    distances = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    distances[:, np.arange(points.shape[1]), np.arange(points.shape[1])] = np.nan
    distances = np.where(np.isnan(distances), np.inf, distances)
    nearest = distances.min(axis=-1, initial=np.inf)
    medians = (nearest[np.isfinite(nearest[:, row]), row] for row in range(points.shape[1]))
    return [float(np.median(values)) if len(values) else None for values in medians]


def _pose_angles(points: Sequence[np.ndarray]) -> dict[str, float] | None:
    """How far pairs of cases are turned against each other, from the landmarks they share."""
    step = max(1, len(points) // POSE_CASES)
    angles = []
    for first, second in itertools.combinations(points[::step], 2):
        shared = ~(np.isnan(first).any(axis=1) | np.isnan(second).any(axis=1))
        if (
            shared.sum() >= 3
            and np.linalg.matrix_rank(first[shared] - first[shared].mean(axis=0), tol=1e-3) >= 2
        ):
            angles.append(rotation_angle(fit_rotation(first[shared], second[shared])))
    if not angles:
        return None
    return {
        "median": float(np.median(angles)),
        "p95": float(np.percentile(angles, 95)),
        "max": float(np.max(angles)),
    }


def _around(points: np.ndarray, channels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The part of an image in which its landmarks lie, and some voxels more; all of it where it has none."""
    voxels = world_to_voxel(points[np.isfinite(points).all(axis=1)], affine)
    if not len(voxels):
        return channels
    more = 2 + AROUND * np.ptp(voxels, axis=0).max()
    shape = np.array(channels.shape[1:])
    low = np.clip(np.floor(voxels.min(axis=0) - more), 0, shape - 1).astype(int)
    high = np.clip(np.ceil(voxels.max(axis=0) + more), low, shape - 1).astype(int)
    return np.asarray(channels[(slice(None), *(slice(a, b + 1) for a, b in zip(low, high)))])


def _gradient(channels: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """How much grey values change in a millimetre along each axis, over the most; 1 across a single slice,
    and where nothing changes."""
    values, rms = channels.astype(np.float32), np.full(3, np.nan)  # differences of whole numbers wrap around
    for axis in np.flatnonzero(np.array(values.shape[1:]) > 1):
        rms[axis] = np.sqrt(np.mean(np.diff(values, axis=1 + axis) ** 2, dtype=np.float64)) / spacing[axis]
    most = float(np.nanmax(rms, initial=0.0))
    return np.asarray(np.nan_to_num(rms / most, nan=1.0)) if most > 0 else np.ones(3)


def write_fingerprint(path: str | os.PathLike, fingerprint: Fingerprint) -> None:
    """
    Write ``fingerprint.json``.
    """
    write_json(path, dataclasses.asdict(fingerprint))


def read_fingerprint(path: str | os.PathLike) -> Fingerprint:
    """
    Read ``fingerprint.json``.

    Raises:
        LandmarkError: when it is missing, broken, or of another version of this package.
    """
    content = read_json(path)
    fields = {field.name for field in dataclasses.fields(Fingerprint)}
    if not isinstance(content, dict) or set(content) != fields or content["version"] != VERSION:
        raise LandmarkError(
            f"{path}: is not a fingerprint of this version. Run 'auto3dlandmark analyze' again."
        )
    for key in ("shapes", "shapes_after_crop", "spacings"):
        content[key] = tuple(tuple(row) for row in content[key])
    for key in ("landmark_names", "cases", "modalities", "intensity", "gradient"):
        content[key] = tuple(content[key])
    return Fingerprint(**content)
