# SPDX-License-Identifier: Apache-2.0
"""How one image lies to another, whatever pose they lie in: a search over all rotations, on a few points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from ..geometry import voxel_spacing, voxel_to_world, world_to_voxel

__all__ = ["Pose", "Volume", "search_pose", "super_fibonacci"]

CLIP = (0.5, 99.5)  # percentiles of grey values
COARSE_VOXELS = 48  # along the longest side, for the search
BLUR_VOXELS = 1.0
POINTS, ROTATIONS, BEST = 2000, 3000, 12
SHIFTS = 5  # along each axis, where images lie alike
SHIFT_SHARE = 0.3  # of the extent, that images which lie alike may be shifted
TURN_MUST_WIN = 0.08  # of correlation, for a pose far from how the images lie
ELSEWHERE = 0.1  # of the image's size: poses that far apart are two answers
SEED = 0


@dataclass(frozen=True)
class Volume:
    """
    One channel of an image, grey values in [0, 1].

    Args:
        values: float32, shape (H, W, D).
        affine: voxel to RAS millimetres, shape (4, 4).
    """

    values: np.ndarray
    affine: np.ndarray

    @classmethod
    def of(cls, array: np.ndarray, affine: np.ndarray) -> Volume:
        """Of grey values of any scale."""
        low, high = np.percentile(array, CLIP)
        values = np.clip((array.astype(np.float32) - low) / max(float(high - low), 1e-12), 0, 1)
        return cls(values.astype(np.float32), np.asarray(affine, dtype=float))

    def coarser(self, voxels: int) -> Volume:
        """At most so many voxels along its longest side, all of them of the same length."""
        spacing = voxel_spacing(self.affine)
        extent = spacing * self.values.shape
        voxel = max(extent.max() / voxels, spacing.min())
        factor = np.minimum(1.0, spacing / voxel)
        if np.allclose(factor, 1):
            return self
        smooth = ndimage.gaussian_filter(self.values, np.where(factor < 1, 0.5 / factor, 0))
        size = np.maximum(1, np.round(np.array(self.values.shape) * factor)).astype(int)
        step = np.array(self.values.shape) / size
        affine = self.affine @ np.block(
            [[np.diag(step), (step[:, None] - 1) / 2], [np.zeros((1, 3)), np.ones((1, 1))]]
        )
        grid = np.meshgrid(*((np.arange(n) + 0.5) * s - 0.5 for n, s in zip(size, step)), indexing="ij")
        return Volume(ndimage.map_coordinates(smooth, grid, order=1, mode="nearest"), affine)

    def centre(self) -> np.ndarray:
        """Of mass, RAS millimetres."""
        return voxel_to_world(np.array(ndimage.center_of_mass(self.values + 1e-9)), self.affine)

    def middle(self) -> np.ndarray:
        """Of the image, RAS millimetres."""
        return voxel_to_world((np.array(self.values.shape) - 1) / 2, self.affine)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Grey values at RAS millimetres, shape (..., 3); 0 outside."""
        voxels = np.moveaxis(world_to_voxel(points, self.affine), -1, 0)
        return np.asarray(ndimage.map_coordinates(self.values, voxels, order=1, mode="constant"))


def super_fibonacci(count: int) -> np.ndarray:
    """
    Rotations that cover all of them evenly, as unit quaternions (x, y, z, w), shape (count, 4).

    Source: Alexa, "Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3)", CVPR 2022.
    """
    phi, psi = np.sqrt(2.0), 1.533751168755204288118041
    s = np.arange(count) + 0.5
    t, angle = s / count, 2 * np.pi * s
    return np.stack(
        [
            np.sqrt(t) * np.sin(angle / phi),
            np.sqrt(t) * np.cos(angle / phi),
            np.sqrt(1 - t) * np.sin(angle / psi),
            np.sqrt(1 - t) * np.cos(angle / psi),
        ],
        axis=1,
    )


@dataclass(frozen=True)
class Pose:
    """
    How an image lies to another.

    Args:
        matrix: a similarity, from millimetres of the fixed image to those of the moving one, shape (4, 4).
        correlation: of grey values, there.
        margin: how much better that is than in the best pose that lies clearly elsewhere.
    """

    matrix: np.ndarray
    correlation: float
    margin: float


def search_pose(fixed: Volume, moving: Volume) -> Pose:
    """
    The similarity transform under which two images correlate best.

    Images mostly lie alike; a pose far from that has to correlate clearly better.

    Args:
        fixed, moving: of the same kind of anatomy, in any pose.
    """
    fixed, moving = fixed.coarser(COARSE_VOXELS), moving.coarser(COARSE_VOXELS)
    fixed, moving = (
        Volume(ndimage.gaussian_filter(one.values, BLUR_VOXELS), one.affine) for one in (fixed, moving)
    )
    points, values = _sample(fixed)
    pivot = points.mean(axis=0)
    search = _Search(moving, points - pivot, values)
    extent = voxel_spacing(moving.affine) * moving.values.shape
    near = _refined(search, _alike(search, moving, fixed, pivot, extent), extent)
    onto = pivot - fixed.centre() + moving.centre()
    turned = [
        np.concatenate([Rotation.from_quat(one).as_rotvec(), onto, [0.0]])
        for one in super_fibonacci(ROTATIONS)
    ]
    far = _refined(search, _best(search, turned), extent)
    best = far[0] if far[0][1] > near[0][1] + TURN_MUST_WIN else near[0]
    apart = ELSEWHERE * float(np.prod(extent) ** (1 / 3))
    others = [score for pose, score in (*near, *far) if search.distance(pose, best[0]) > apart]
    return Pose(_matrix(best[0], pivot), best[1], best[1] - max(others, default=-1.0))


class _Search:
    """Correlation of fixed values with a moving image under a similarity: rotation vector, where the pivot
    goes, and the logarithm of the scale."""

    def __init__(self, moving: Volume, offsets: np.ndarray, values: np.ndarray) -> None:
        self.moving, self.offsets = moving, offsets
        self.values = (values - values.mean()) / max(float(values.std()), 1e-9)

    def correlation(self, pose: np.ndarray) -> float:
        turned = Rotation.from_rotvec(pose[:3]).apply(self.offsets) * np.exp(pose[6])
        seen = self.moving.at(turned + pose[3:6])
        spread = float(seen.std())
        return float((self.values * (seen - seen.mean())).mean() / spread) if spread > 1e-9 else -1.0

    def distance(self, pose: np.ndarray, other: np.ndarray) -> float:
        """Root mean square of how far points lie apart in two poses, mm."""
        one, two = (
            Rotation.from_rotvec(each[:3]).apply(self.offsets) * np.exp(each[6]) + each[3:6]
            for each in (pose, other)
        )
        return float(np.sqrt(((one - two) ** 2).sum(axis=1).mean()))


def _sample(fixed: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Points of an image, RAS millimetres, shape (P, 3), and their grey values: half of them where it is
    bright."""
    random = np.random.default_rng(SEED)
    count = fixed.values.size
    anywhere = random.integers(count, size=POINTS // 2)
    weights = fixed.values.ravel().astype(float) + 1e-9
    bright = random.choice(count, size=POINTS // 2, p=weights / weights.sum())
    index = np.concatenate([anywhere, bright])
    voxels = np.stack(np.unravel_index(index, fixed.values.shape), axis=1)
    return voxel_to_world(voxels.astype(float), fixed.affine), fixed.values.ravel()[index]


def _alike(
    search: _Search, moving: Volume, fixed: Volume, pivot: np.ndarray, extent: np.ndarray
) -> list[np.ndarray]:
    """The best poses without a turn: centres or middles laid on each other, and shifts from there."""
    steps = np.linspace(-SHIFT_SHARE, SHIFT_SHARE, SHIFTS)
    shifts = np.stack(np.meshgrid(*(steps * length for length in extent), indexing="ij"), axis=-1).reshape(
        -1, 3
    )
    starts = [pivot - fixed.centre() + moving.centre(), pivot - fixed.middle() + moving.middle()]
    return _best(
        search, [np.concatenate([np.zeros(3), at + shift, [0.0]]) for at in starts for shift in shifts]
    )


def _best(search: _Search, poses: Sequence[np.ndarray]) -> list[np.ndarray]:
    scores = [search.correlation(pose) for pose in poses]
    return [poses[number] for number in np.argsort(scores)[::-1][:BEST]]


def _refined(
    search: _Search, poses: Sequence[np.ndarray], extent: np.ndarray
) -> list[tuple[np.ndarray, float]]:
    """Poses moved to where they are best, and their correlations, best first."""
    size = np.array([0.2, 0.2, 0.2, *(0.05 * extent), 0.05])
    results = []
    for pose in poses:
        found = minimize(
            lambda one: -search.correlation(one),
            pose,
            method="Nelder-Mead",
            options={
                "initial_simplex": np.vstack([pose, pose + np.diag(size)]),
                "maxfev": 250,
                "xatol": 1e-3,
                "fatol": 1e-4,
            },
        )
        results.append((found.x, -float(found.fun)))
    return sorted(results, key=lambda one: -one[1])


def _matrix(pose: np.ndarray, pivot: np.ndarray) -> np.ndarray:
    linear = Rotation.from_rotvec(pose[:3]).as_matrix() * np.exp(pose[6])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, pose[3:6] - linear @ pivot
    return matrix
