# SPDX-License-Identifier: Apache-2.0
"""A box around the mean shape: where a second network looks for the landmarks a first one found.

Where poses vary, the box is turned as the shape is. Where images lie alike it keeps to their axes, because
annotations do: what is highest, or lies in a sagittal slice, is so in the image and not in the anatomy.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..errors import LandmarkError
from ..files import read_json, write_json
from ..geometry import rigid, rotation_angle, voxel_to_world
from ..shapes.hypotheses import Hypothesis, hypotheses_for
from ..shapes.model import ShapeModel
from ..shapes.peaks import Peaks
from ..shapes.posterior import ShapePosterior, shape_posterior

__all__ = ["ShapeFrame", "along_axes", "box_around", "flatness", "frame_around"]

VERSION, OLDEST_VERSION = 2, 1
MARGIN = 0.1  # of the shape's largest extent, at each side
DEVIATIONS = 2.0  # of the landmarks from the mean shape, at each side
FOLLOWED, MOST_POSES = 6, 4  # ways to lay the shape on what was found, and how many are looked into
APART = 0.25  # of the shape's size, by which poses differ
DOUBT = 2.0  # nats by which another explanation may be worse, to be looked into


@dataclass(frozen=True)
class ShapeFrame:
    """
    A grid of voxels around a mean shape.

    Args:
        model: the shape.
        affine: voxel indices to millimetres in the model's frame, shape (4, 4).
        shape: voxels along each axis.
        noise_mm: standard deviation of a first network's right peaks along an axis.
        upright_deg: the model lies along the axes of images, and one that is turned by no more than this
            against them is looked at as it lies; None: every frame is turned with its shape.
    """

    model: ShapeModel
    affine: np.ndarray
    shape: tuple[int, ...]
    noise_mm: float
    upright_deg: float | None = None

    def pose(self, peaks: Peaks) -> np.ndarray:
        """
        The likeliest pose of the shape for what was found: from the model's frame to RAS millimetres, shape
        (4, 4).
        """
        return self._laid(self._posterior(peaks, hypotheses_for(self.model.names), FOLLOWED).pose, peaks.affine)

    def poses(self, peaks: Peaks) -> list[tuple[np.ndarray, float]]:
        """
        The likeliest pose, and others that explain what was found nearly as well: another way to lay the
        shape on the peaks; chains of landmarks found one level off; left taken for right. Each with its
        misfit.
        """
        found: list[tuple[np.ndarray, float]] = []
        for one in hypotheses_for(self.model.names):
            fit = self._posterior(peaks, [dataclasses.replace(one, chance=1.0)], FOLLOWED)
            fits = ((fit.pose, fit.misfit), *fit.others)
            found += [(self._laid(pose, peaks.affine), misfit) for pose, misfit in fits]
        found.sort(key=lambda one: one[1])
        doubt = DOUBT / len(self.model.names)
        chosen: list[tuple[np.ndarray, float]] = []
        for pose, misfit in found:
            if misfit <= found[0][1] + doubt and all(self.apart(pose, other) > APART for other, _ in chosen):
                chosen.append((pose, misfit))
        return chosen[:MOST_POSES]

    def pose_as_found(self, peaks: Peaks) -> np.ndarray:
        """The pose, as from :meth:`pose`, when every peak is taken for the landmark it was found as."""
        return self._laid(self._posterior(peaks, hypotheses_for(self.model.names)[:1]).pose, peaks.affine)

    def _laid(self, pose: np.ndarray, affine: np.ndarray) -> np.ndarray:
        """The pose in which an image is looked at: turned only where it lies unusually."""
        if self.upright_deg is None:
            return pose
        axes = _image_axes(affine)
        if rotation_angle(axes.T @ pose[:3, :3]) > self.upright_deg:
            return pose
        middle = self.model.mean.mean(axis=0)
        return rigid(axes, voxel_to_world(middle[None], pose)[0] - axes @ middle)

    def apart(self, pose: np.ndarray, other: np.ndarray) -> float:
        """How far apart two poses put the landmarks: root mean square, of the shape's size."""
        offset = voxel_to_world(self.model.mean, pose) - voxel_to_world(self.model.mean, other)
        return float(np.sqrt((offset**2).sum(axis=1).mean())) / self.model.size_mm

    def misfit(self, peaks: Peaks) -> float:
        """How badly peaks and shape go together, as for :class:`ShapePosterior`."""
        return self._posterior(peaks, hypotheses_for(self.model.names)[:1]).misfit

    def signs(self, coarse: Peaks, fine: Peaks) -> dict[str, float]:
        """
        Numbers that tell a case in which the first network went wrong.

        Returns:
            ``coarse_misfit``: how badly its peaks go together; ``stages_apart_mm``: the median distance of
            what the second network found from what the shape makes of the first one's peaks.
        """
        posterior = self._posterior(coarse, hypotheses_for(self.model.names), FOLLOWED)
        apart = np.linalg.norm(fine.first - posterior.points, axis=1)
        return {"coarse_misfit": posterior.misfit, "stages_apart_mm": float(np.nanmedian(apart))}

    def is_like(self, other: ShapeFrame) -> bool:
        """Whether another frame is the same grid around the same shape."""
        same = self.model.names == other.model.names and self.shape == other.shape
        return (
            same and np.allclose(self.affine, other.affine) and np.allclose(self.model.mean, other.model.mean)
        )

    def _posterior(self, peaks: Peaks, tried: Sequence[Hypothesis], followed: int = 2) -> ShapePosterior:
        noise = np.full(len(self.model.names), self.noise_mm)
        return shape_posterior(self.model, peaks, noise, tried, followed)

    def true_pose(self, points: np.ndarray, affine: np.ndarray) -> np.ndarray:
        """
        The pose of annotated landmarks, by the same rules as that of found ones.

        Args:
            points: RAS millimetres, shape (N, 3), NaN where there is none.
            affine: voxel to RAS millimetres of their image, shape (4, 4).
        """
        known = np.isfinite(points).all(axis=1)
        positions = np.where(known[:, None], points, np.nan)[:, None]
        masses = known[:, None].astype(float)
        peaks = Peaks(positions, masses, np.zeros_like(masses), affine, (1, 1, 1))
        return self.pose_as_found(peaks)

    def grid(self, pose: np.ndarray, room: Sequence[int] = (0, 0, 0)) -> tuple[np.ndarray, tuple[int, ...]]:
        """
        The frame's grid in an image.

        Args:
            pose: as from :meth:`pose`.
            room: further voxels at each side of each axis.

        Returns:
            affine: voxel indices to RAS millimetres, shape (4, 4).
            shape: voxels along each axis.
        """
        first = np.eye(4)
        first[:3, 3] = -np.asarray(room)
        return pose @ self.affine @ first, tuple(size + 2 * more for size, more in zip(self.shape, room))

    def write(self, path: str | os.PathLike) -> None:
        """Write one readable file, whole or not at all."""
        grid = {"affine": np.round(self.affine, 6).tolist(), "shape": list(self.shape)}
        lies = {"upright_deg": self.upright_deg, "noise_mm": self.noise_mm}
        write_json(path, {"version": VERSION, "grid": grid, **lies, "shape": self.model.to_json()})

    @classmethod
    def read(cls, path: str | os.PathLike) -> ShapeFrame:
        """
        Raises:
            LandmarkError: when the file is missing, damaged, or of another version.
        """
        content = read_json(path)
        known = range(OLDEST_VERSION, VERSION + 1)
        if not isinstance(content, Mapping) or content.get("version") not in known:
            raise LandmarkError(f"{path}: is not a frame of version {VERSION}. Build the bundle again.")
        model = ShapeModel.from_json(content.get("shape", {}), str(path))
        try:
            grid = content["grid"]
            affine, shape = np.array(grid["affine"], dtype=float).reshape(4, 4), tuple(grid["shape"])
            return cls(model, affine, shape, float(content["noise_mm"]), content.get("upright_deg"))
        except (KeyError, TypeError, ValueError) as error:
            raise LandmarkError(f"{path}: is damaged ({error}). Build the bundle again.") from error


def along_axes(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """
    Points along the axes of their image, from left to right, back to front and up.

    Args:
        points: RAS millimetres, shape (N, 3).
        affine: voxel to RAS millimetres of the image, shape (4, 4).
    """
    return np.asarray(points @ _image_axes(affine))


def _image_axes(affine: np.ndarray) -> np.ndarray:
    """Along an image's axes: a rotation from (right, anterior, superior) in the image to RAS millimetres."""
    u, _, vt = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    return _ordered(u @ vt)


def _principal_axes(mean: np.ndarray) -> np.ndarray:
    """The shape's principal axes as columns, in the order and direction closest to those it lies in."""
    return _ordered(np.linalg.svd(mean - mean.mean(axis=0))[2].T)


def _ordered(columns: np.ndarray) -> np.ndarray:
    """Perpendicular unit columns, sorted and signed to be close to the axes they are given in; right-handed."""
    _, order = linear_sum_assignment(-np.abs(columns))
    axes = columns[:, order]
    axes = axes * np.where(np.diag(axes) < 0, -1.0, 1.0)
    if np.linalg.det(axes) < 0:
        axes[:, np.argmin(np.abs(np.diag(axes)))] *= -1
    return np.asarray(axes)


def box_around(
    model: ShapeModel, turns_deg: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    The box that holds the landmarks of most cases, and some of what is around them.

    Args:
        turns_deg: how far cases are usually turned about each of the model's axes, in a box that keeps to
            these, shape (3,); None: the box lies along the shape's principal axes, and is turned with it.

    Returns:
        axes: of the box, unit columns in the model's frame, shape (3, 3).
        centre: in the model's frame, millimetres, shape (3,).
        size: along each axis, millimetres, shape (3,).
    """
    axes = _principal_axes(model.mean) if turns_deg is None else np.eye(3)
    along = model.mean @ axes
    modes = np.einsum("nik,ij->njk", model.modes, axes)
    arms, turns = (along - along.mean(axis=0)) ** 2, np.radians(turns_deg or (0.0, 0.0, 0.0)) ** 2
    turned = arms[:, [2, 0, 1]] * turns[[1, 2, 0]] + arms[:, [1, 2, 0]] * turns[[2, 0, 1]]
    deviation = np.sqrt((modes**2).sum(axis=2) + model.spread_mm**2 + turned)  # (N, 3)
    low, high = (along - DEVIATIONS * deviation).min(axis=0), (along + DEVIATIONS * deviation).max(axis=0)
    margin = MARGIN * float(np.ptp(along, axis=0).max())
    return axes, axes @ ((low + high) / 2), high - low + 2 * margin


def flatness(model: ShapeModel) -> float:
    """
    How little the landmarks say about turns: their second extent over their first, 0 when all lie on a line.
    """
    values = np.linalg.svd(model.mean - model.mean.mean(axis=0), compute_uv=False)
    return float(values[1] / max(values[0], 1e-12))


def frame_around(
    model: ShapeModel,
    spacing: Sequence[float],
    shape: Sequence[int],
    noise_mm: float,
    upright_deg: float | None = None,
    turns_deg: Sequence[float] | None = None,
) -> ShapeFrame:
    """
    The frame of a shape.

    Args:
        spacing: millimetres along the box's axes, shape (3,).
        shape: voxels along them, around the box's centre.
        noise_mm, upright_deg: as for :class:`ShapeFrame`.
        turns_deg: as for :func:`box_around`.
    """
    axes, centre, _ = box_around(model, turns_deg)
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(spacing, dtype=float)
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return ShapeFrame(model, affine, tuple(int(size) for size in shape), noise_mm, upright_deg)
