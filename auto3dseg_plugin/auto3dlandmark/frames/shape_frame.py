# SPDX-License-Identifier: Apache-2.0
"""A box around the mean shape, turned along its principal axes: where a second network looks for the
landmarks, in whatever pose a first one found them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import LandmarkError
from ..files import read_json, write_json
from ..geometry import ordered_axes, radial_error, voxel_to_world
from ..shapes.hypotheses import Hypothesis, hypotheses_for, level_move
from ..shapes.model import ShapeModel
from ..shapes.peaks import Peaks
from ..shapes.posterior import ShapePosterior, shape_posterior
from .field_of_view import FieldOfView, fit_field_of_view

__all__ = ["ShapeFrame", "box_around", "flatness", "frame_around"]

VERSION = 1
MARGIN = 0.1  # of the shape's largest extent, at each side
DEVIATIONS = 2.0  # of the landmarks from the mean shape, at each side
FOLLOWED, MOST_POSES = 6, 4  # ways to lay the shape on what was found, and how many are looked into
APART = 0.25  # of the shape's size, by which poses differ
NEARLY = 2.0  # nats by which another explanation may be worse, to be looked into


@dataclass(frozen=True)
class ShapeFrame:
    """
    A grid of voxels around a mean shape.

    Args:
        model: the shape.
        affine: voxel indices to millimetres in the model's frame, shape (4, 4).
        shape: voxels along each axis.
        noise_mm: standard deviation of a first network's right peaks along an axis.
        field_of_view: where images of a chain of landmarks usually end; None where that is not known.
    """

    model: ShapeModel
    affine: np.ndarray
    shape: tuple[int, ...]
    noise_mm: float
    field_of_view: FieldOfView | None = None

    def pose(self, peaks: Peaks) -> np.ndarray:
        """
        The likeliest pose of the shape for what was found: from the model's frame to RAS millimetres, shape
        (4, 4).
        """
        return self._posterior(peaks, hypotheses_for(self.model.names), FOLLOWED).pose

    def poses(self, peaks: Peaks) -> list[np.ndarray]:
        """
        The likeliest pose, and others that explain what was found nearly as well: another way to lay the
        shape on the peaks; chains of landmarks found one level off; left taken for right.
        """
        found: list[tuple[np.ndarray, float]] = []
        for one in hypotheses_for(self.model.names):
            fit = self._posterior(peaks, [dataclasses.replace(one, chance=1.0)], FOLLOWED)
            found += [(way.pose, way.seen_misfit) for way in (fit, *fit.others)]
        found.sort(key=lambda one: one[1])
        nearly = NEARLY / len(self.model.names)
        chosen: list[np.ndarray] = []
        for pose, misfit in found:
            if misfit <= found[0][1] + nearly and not any(self.alike(pose, other) for other in chosen):
                chosen.append(pose)
        return chosen[:MOST_POSES]

    def a_level_off(self, pose: np.ndarray) -> list[np.ndarray]:
        """The poses that lay each level of a chain where this one lays the next, or the one before; none
        without a chain."""
        move = level_move(self.model.names, self.model.mean)
        return [] if move is None else [pose @ move, pose @ np.linalg.inv(move)]

    def pose_as_found(self, peaks: Peaks) -> np.ndarray:
        """The pose, as from :meth:`pose`, when every peak is taken for the landmark it was found as."""
        return self._posterior(peaks, hypotheses_for(self.model.names)[:1]).pose

    def apart(self, pose: np.ndarray, other: np.ndarray) -> float:
        """How far apart two poses put the landmarks: root mean square, of the shape's size."""
        return float(np.sqrt((self.offsets_mm(pose, other) ** 2).mean())) / self.model.size_mm

    def offsets_mm(self, pose: np.ndarray, other: np.ndarray) -> np.ndarray:
        """How far apart two poses put each landmark, shape (N,)."""
        return radial_error(voxel_to_world(self.model.mean, pose), voxel_to_world(self.model.mean, other))

    def alike(self, pose: np.ndarray, other: np.ndarray) -> bool:
        """Whether two poses are the same explanation of a case."""
        return self.apart(pose, other) <= APART

    def misfit(self, peaks: Peaks) -> float:
        """
        How badly peaks and shape go together, of what can be seen: ``seen_misfit`` of :class:`ShapeFit`.
        """
        return self._posterior(peaks, hypotheses_for(self.model.names)[:1]).seen_misfit

    def misplaced(self, image: Peaks, pose: np.ndarray) -> float:
        """
        How unlikely it is, by where the image ends, that the landmarks lie in this pose: 0 where they usually
        do, 1 far from there; 0 where it is not known.

        Args:
            image: whatever was found in the whole of it.
        """
        if self.field_of_view is None:
            return 0.0
        return self.field_of_view.unlikely(image.affine, image.shape, self._middle(pose))

    def seen_in(self, images: Sequence[tuple[Sequence[int], np.ndarray]], points: np.ndarray) -> ShapeFrame:
        """
        The same, that knows where images of a chain usually end.

        Args:
            images: shape (3,) and affine (4, 4) of each of K.
            points: annotated in each, RAS millimetres, shape (K, N, 3), NaN where there is none.
        """
        move = level_move(self.model.names, self.model.mean)
        known = np.isfinite(points).all(axis=2).sum(axis=1) >= 3
        if move is None or not known.any():
            return self
        poses = [self.true_pose(one) for one in points[known]]
        middles = np.array([self._middle(pose) for pose in poses])
        levels = np.array([self._middle(pose @ move) for pose in poses]) - middles
        usual = fit_field_of_view([one for one, use in zip(images, known) if use], middles, levels)
        return dataclasses.replace(self, field_of_view=usual)

    def _middle(self, pose: np.ndarray) -> np.ndarray:
        """Of the landmarks, RAS millimetres, shape (3,)."""
        return np.asarray(voxel_to_world(self.model.mean.mean(axis=0)[None], pose)[0])

    def signs(self, coarse: Peaks, fine: Peaks | None = None) -> dict[str, float]:
        """
        Numbers that tell a case in which the first network went wrong.

        Returns:
            ``coarse_misfit``: how badly its peaks go together; ``stages_apart_mm``: the median distance of
            what the second network found from what the shape makes of the first one's peaks, if it has
            looked.
        """
        posterior = self._posterior(coarse, hypotheses_for(self.model.names), FOLLOWED)
        signs = {"coarse_misfit": posterior.misfit}
        if fine is not None:
            signs["stages_apart_mm"] = float(np.nanmedian(radial_error(fine.first, posterior.points)))
        return signs

    def is_like(self, other: ShapeFrame) -> bool:
        """Whether another frame is the same grid around the same shape."""
        same = self.model.names == other.model.names and self.shape == other.shape
        return (
            same and np.allclose(self.affine, other.affine) and np.allclose(self.model.mean, other.model.mean)
        )

    def _posterior(self, peaks: Peaks, tried: Sequence[Hypothesis], followed: int = 2) -> ShapePosterior:
        noise = np.full(len(self.model.names), self.noise_mm)
        return shape_posterior(self.model, peaks, noise, tried, followed)

    def true_pose(self, points: np.ndarray) -> np.ndarray:
        """
        The pose of annotated landmarks, by the same rules as that of found ones.

        Args:
            points: RAS millimetres, shape (N, 3), NaN where there is none.
        """
        known = np.isfinite(points).all(axis=1)
        positions = np.where(known[:, None], points, np.nan)[:, None]
        masses = known[:, None].astype(float)
        peaks = Peaks(positions, masses, np.zeros_like(masses), np.eye(4), (1, 1, 1))
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
        content = {"version": VERSION, "grid": grid, "noise_mm": self.noise_mm, "shape": self.model.to_json()}
        if self.field_of_view is not None:
            content["field_of_view"] = self.field_of_view.to_json()
        write_json(path, content)

    @classmethod
    def read(cls, path: str | os.PathLike) -> ShapeFrame:
        """
        Raises:
            LandmarkError: when the file is missing, damaged, or of another version.
        """
        content = read_json(path)
        if not isinstance(content, Mapping) or content.get("version") != VERSION:
            raise LandmarkError(f"{path}: is not a frame of version {VERSION}. Build the bundle again.")
        model = ShapeModel.from_json(content.get("shape", {}), str(path))
        try:
            grid = content["grid"]
            affine, shape = np.array(grid["affine"], dtype=float).reshape(4, 4), tuple(grid["shape"])
            told = content.get("field_of_view")
            usual = None if told is None else FieldOfView.from_json(told)
            return cls(model, affine, shape, float(content["noise_mm"]), usual)
        except (KeyError, TypeError, ValueError) as error:
            raise LandmarkError(f"{path}: is damaged ({error}). Build the bundle again.") from error


def box_around(model: ShapeModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    The box that holds the landmarks of most cases, and some of what is around them.

    Returns:
        axes: of the box, unit columns in the model's frame, shape (3, 3).
        centre: in the model's frame, millimetres, shape (3,).
        size: along each axis, millimetres, shape (3,).
    """
    axes = ordered_axes(np.linalg.svd(model.mean - model.mean.mean(axis=0))[2].T)  # the principal ones
    along = model.mean @ axes
    modes = np.einsum("nik,ij->njk", model.modes, axes)
    deviation = np.sqrt((modes**2).sum(axis=2) + model.spread_mm**2)  # (N, 3)
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
    model: ShapeModel, spacing: Sequence[float], shape: Sequence[int], noise_mm: float
) -> ShapeFrame:
    """
    The frame of a shape.

    Args:
        spacing: millimetres along the box's axes, shape (3,).
        shape: voxels along them, around the box's centre.
        noise_mm: as for :class:`ShapeFrame`.
    """
    axes, centre, _ = box_around(model)
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(spacing, dtype=float)
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return ShapeFrame(model, affine, tuple(int(size) for size in shape), noise_mm)
