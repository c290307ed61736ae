# SPDX-License-Identifier: Apache-2.0
"""What another scanner, another protocol or another way of lying in it does to an image.

Each disturbance is a pure function of an image, a severity and a random generator, and gives another image
with its affine. Where things are in the world never changes: landmarks stay as they were annotated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial.transform import Rotation

from ..files import digest
from ..geometry import voxel_spacing, voxel_to_world, world_to_voxel

__all__ = ["DISTURBANCES", "Disturbance", "disturb"]

Changed = tuple[np.ndarray, np.ndarray]

DARKEST, BRIGHTEST = 1, 99  # percentiles of a channel: what is beyond is an outlier
FOREGROUND = 0.1  # of the way from the darkest to the brightest
KNOTS = 7  # of a random intensity curve
FIELD_DEGREE = 3  # of a bias field's polynomials
AIR_NOISE = 0.02  # of the way from the darkest to the brightest
FLATTEST = 0.25  # a box of landmarks counts as at least so thick, as a share of its longest side


@dataclass(frozen=True)
class Disturbance:
    """
    One way in which images can look otherwise.

    Args:
        name: for tables.
        change: from ``(array, affine, severity, rng, points)`` to the other array and affine. The array is
            float32 of shape (H, W, D) or (H, W, D, C), points are the landmarks in RAS millimetres, (N, 3).
        severities: three of them, the mildest first.
        meaning: what a severity is.
    """

    name: str
    change: Callable[[np.ndarray, np.ndarray, float, np.random.Generator, np.ndarray], Changed]
    severities: tuple[float, float, float]
    meaning: str


def disturb(
    disturbance: Disturbance,
    severity: float,
    array: np.ndarray,
    affine: np.ndarray,
    case: str,
    points: np.ndarray,
) -> Changed:
    """
    Disturb the image of a case: always in the same way, and in the same direction for every severity.

    Args:
        array: shape (H, W, D) or (H, W, D, C).
        affine: voxel to RAS millimetres, shape (4, 4).
        case: its id, which the random numbers are drawn by.
        points: its landmarks, RAS millimetres, shape (N, 3); NaN where one has no point.

    Returns:
        the disturbed image as float32, and its affine.
    """
    rng = np.random.default_rng(int(digest([case, disturbance.name]), 16))
    changed, moved = disturbance.change(np.asarray(array, np.float32), affine, severity, rng, points)
    return np.asarray(changed, np.float32), moved


def _channels(array: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A function of a volume for each channel on its own."""
    if array.ndim == 3:
        return function(array)
    return np.stack([function(array[..., channel]) for channel in range(array.shape[3])], axis=-1)


def _levels(volume: np.ndarray) -> tuple[float, float]:
    """What is dark and what is bright in a volume; never the same."""
    low, high = np.percentile(volume, (DARKEST, BRIGHTEST))
    if high <= low:
        low, high = volume.min(), volume.max()
    return float(low), float(high) if high > low else float(low) + 1.0


def _by_curve(volume: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A volume seen through a curve from [0, 1] to [0, 1]; outliers keep how far they lie beyond."""
    low, high = _levels(volume)
    scaled = (volume - low) / (high - low)
    inside = np.clip(scaled, 0, 1)
    return low + (high - low) * (curve(inside) + scaled - inside)


def gamma(
    array: np.ndarray, affine: np.ndarray, severity: float, rng: np.random.Generator, points: np.ndarray
) -> Changed:
    """Darker or brighter greys in between: a power of the intensity, or its inverse."""
    exponent = severity if rng.random() < 0.5 else 1 / severity
    return _channels(array, lambda volume: _by_curve(volume, lambda grey: grey**exponent)), affine


def other_contrast(
    array: np.ndarray, affine: np.ndarray, severity: float, rng: np.random.Generator, points: np.ndarray
) -> Changed:
    """Tissues change places in brightness, by a random curve for each channel; what is black stays black."""

    def change(volume: np.ndarray) -> np.ndarray:
        heights = np.concatenate([[0.0], rng.uniform(0, 1, KNOTS - 1)])
        curve = PchipInterpolator(np.linspace(0, 1, KNOTS), heights)
        return _by_curve(volume, lambda grey: (1 - severity) * grey + severity * curve(grey))

    return _channels(array, change), affine


def inversion(
    array: np.ndarray, affine: np.ndarray, severity: float, rng: np.random.Generator, points: np.ndarray
) -> Changed:
    """Bright becomes dark as T2 beside T1, and what is black stays black; a half is no contrast at all."""

    def change(grey: np.ndarray) -> np.ndarray:
        inverted = np.interp(grey, (0, FOREGROUND, 1), (0, 1, FOREGROUND))
        return np.asarray((1 - severity) * grey + severity * inverted)

    return _channels(array, lambda volume: _by_curve(volume, change)), affine


def bias_field(
    array: np.ndarray, affine: np.ndarray, severity: float, rng: np.random.Generator, points: np.ndarray
) -> Changed:
    """
    A smooth field over the image, so many times stronger at its brightest place than at its darkest.

    Source: Legendre polynomials as in NiftyNet and MONAI's RandBiasField, scaled to a known range.
    """
    degrees = np.indices((FIELD_DEGREE + 1,) * 3).sum(axis=0)
    weights = rng.normal(size=degrees.shape) * ((degrees > 0) & (degrees <= FIELD_DEGREE))
    x, y, z = (np.linspace(-1, 1, size) for size in array.shape[:3])
    field = np.polynomial.legendre.leggrid3d(x, y, z, weights)
    field = (field - field.min()) / max(np.ptp(field), 1e-9) - 0.5
    gain = np.exp(np.log(severity) * field).astype(np.float32)

    def change(volume: np.ndarray) -> np.ndarray:
        low, _ = _levels(volume)
        return np.asarray(low + (volume - low) * gain)

    return _channels(array, change), affine


def noise(
    array: np.ndarray, affine: np.ndarray, severity: float, rng: np.random.Generator, points: np.ndarray
) -> Changed:
    """Gaussian noise, by the range of intensities."""

    def change(volume: np.ndarray) -> np.ndarray:
        low, high = _levels(volume)
        grain = rng.standard_normal(volume.shape, dtype=np.float32)
        return np.asarray(volume + severity * (high - low) * grain)

    return _channels(array, change), affine


def coarse_voxels(
    array: np.ndarray, affine: np.ndarray, severity: float, rng: np.random.Generator, points: np.ndarray
) -> Changed:
    """Voxels of one length along all axes, so many times the mean; an axis that is coarser stays so."""
    spacing = voxel_spacing(affine)
    return _coarser(array, affine, np.maximum(1, severity * np.prod(spacing) ** (1 / 3) / spacing))


def thick_slices(
    array: np.ndarray, affine: np.ndarray, severity: float, rng: np.random.Generator, points: np.ndarray
) -> Changed:
    """Voxels so many times longer along one axis."""
    factors = np.ones(3)
    factors[rng.integers(3)] = severity
    return _coarser(array, affine, factors)


def tight_crop(
    array: np.ndarray, affine: np.ndarray, severity: float, rng: np.random.Generator, points: np.ndarray
) -> Changed:
    """Only the box of the landmarks, with a margin of so much of its side; a negative one cuts into it."""
    known = world_to_voxel(points[np.isfinite(points).all(axis=1)], affine)
    if not len(known):
        return array, affine
    shape, spacing = np.array(array.shape[:3]), voxel_spacing(affine)
    low, high = known.min(axis=0), known.max(axis=0)
    sides = (high - low) * spacing
    sides = np.maximum(sides, max(FLATTEST * sides.max(), 1.0)) / spacing
    half = sides * (0.5 + severity)
    first = np.clip(np.floor((low + high) / 2 - half), 0, shape - 1).astype(int)
    last = np.clip(np.ceil((low + high) / 2 + half), first, shape - 1).astype(int)
    cut = tuple(slice(start, stop + 1) for start, stop in zip(first, last))
    return array[cut], _shifted(affine, first)


def wide_field(
    array: np.ndarray, affine: np.ndarray, severity: float, rng: np.random.Generator, points: np.ndarray
) -> Changed:
    """Noisy air at each side, so much of the image's own side."""
    width = np.ceil(severity * np.array(array.shape[:3])).astype(int)

    def change(volume: np.ndarray) -> np.ndarray:
        low, high = _levels(volume)
        air = rng.standard_normal(np.array(volume.shape) + 2 * width, dtype=np.float32)
        wide = np.asarray(low + AIR_NOISE * (high - low) * np.abs(air))
        wide[tuple(slice(start, start + size) for start, size in zip(width, volume.shape))] = volume
        return wide

    return _channels(array, change), _shifted(affine, -width)


def storage_order(
    array: np.ndarray, affine: np.ndarray, severity: float, rng: np.random.Generator, points: np.ndarray
) -> Changed:
    """The same voxels stored otherwise: one axis flipped (1), axes swapped round (2), both (3)."""
    order = [0, 1, 2] if severity < 2 else [1, 2, 0]
    flips = {1: [-1, 1, 1], 2: [1, 1, 1], 3: [-1, -1, -1]}[round(severity)]
    orientation = np.array([order, flips]).T
    stored = nib.orientations.apply_orientation(array, orientation)
    return stored, affine @ nib.orientations.inv_ornt_aff(orientation, array.shape[:3])


def rotation(
    array: np.ndarray, affine: np.ndarray, severity: float, rng: np.random.Generator, points: np.ndarray
) -> Changed:
    """
    The patient lies askew: the grid is turned about the image's middle, by degrees about a random axis.

    The turned grid holds all of the image; beside it, what is at the image's edge goes on: air, or tissue.
    """
    shape = np.array(array.shape[:3])
    axis = rng.normal(size=3)
    turn = Rotation.from_rotvec(np.radians(severity) * axis / np.linalg.norm(axis)).as_matrix()
    middle = voxel_to_world((shape - 1) / 2, affine)
    turned = np.eye(4)
    turned[:3, :3] = turn @ affine[:3, :3]
    turned[:3, 3] = middle
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (shape - 1)
    seen = world_to_voxel(voxel_to_world(corners, affine), turned)
    first = np.floor(seen.min(axis=0) + 1e-6)
    size = np.ceil(seen.max(axis=0) - 1e-6) - first + 1
    turned = _shifted(turned, first)
    return _resampled(array, affine, turned, size.astype(int)), turned


DISTURBANCES: Sequence[Disturbance] = (
    Disturbance("gamma", gamma, (1.5, 2.5, 4), "exponent, or its inverse"),
    Disturbance("other contrast", other_contrast, (0.3, 0.6, 1), "share of a random curve"),
    Disturbance("inversion", inversion, (0.25, 0.75, 1), "share of the inverted image"),
    Disturbance("bias field", bias_field, (2, 4, 8), "brightest over darkest place"),
    Disturbance("noise", noise, (0.05, 0.15, 0.3), "deviation over range"),
    Disturbance("coarse voxels", coarse_voxels, (1.5, 2.5, 4), "times the voxel"),
    Disturbance("thick slices", thick_slices, (2, 4, 6), "times the voxel, one axis"),
    Disturbance("tight crop", tight_crop, (0.25, 0.1, -0.1), "margin over box of landmarks"),
    Disturbance("wide field", wide_field, (0.1, 0.2, 0.35), "air at each side over image"),
    Disturbance("storage order", storage_order, (1, 2, 3), "flipped, swapped, both"),
    Disturbance("rotation", rotation, (10, 25, 45), "degrees"),
)


def _shifted(affine: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """The affine of a grid that begins at another voxel."""
    moved = affine.copy()
    moved[:3, 3] = voxel_to_world(voxels, affine)
    return moved


def _coarser(array: np.ndarray, affine: np.ndarray, factors: np.ndarray) -> Changed:
    """Voxels so many times longer, each the mean of what it covers; the outer faces stay where they are."""
    size = np.maximum(1, np.round(np.array(array.shape[:3]) / factors)).astype(int)
    coarse = _shifted(affine, (factors - 1) / 2)
    coarse[:3, :3] = affine[:3, :3] * factors
    # As skimage's resize, whose deviation leaves no more than a trace of what the coarse grid cannot show.
    smooth = _channels(array, lambda volume: gaussian_filter(volume, (factors - 1) / 2, mode="nearest"))
    return _resampled(smooth, affine, coarse, size), coarse


def _resampled(array: np.ndarray, affine: np.ndarray, other: np.ndarray, size: np.ndarray) -> np.ndarray:
    """An image on another grid, linearly; beyond its edge it goes on as it is there."""
    matrix = np.linalg.inv(affine) @ other

    def change(volume: np.ndarray) -> np.ndarray:
        return np.asarray(affine_transform(volume, matrix, output_shape=tuple(size), order=1, mode="nearest"))

    return _channels(array, change)
