# SPDX-License-Identifier: Apache-2.0
"""Show a network nothing but the landmarks' surroundings, in one pose: resample an image into the frame of a
shape."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, SpatialResample

from ..errors import LandmarkError
from ..frames.shape_frame import ShapeFrame
from ..frames.verdict import disagreement
from ..geometry import part_affine, touched_box, voxel_along, voxel_spacing
from ..shapes.oddness import DOUBT
from ..shapes.peaks import Peaks, merged
from .load import source_file
from .resample import smoothed

__all__ = ["ELSEWHERE", "FIELD", "POSE", "SIGNS", "Finder", "FrameByShaped", "field_of"]

FIELD = "field"  # of an image's meta data: affine and voxels of the image before it was cropped
SIGNS = "signs"  # of it: numbers that may tell how the image differs from others, by name
ELSEWHERE = "elsewhere_mm"  # of it: how far off those who disagree put each landmark, shape (N,)
POSE = "pose"  # of a dictionary: the pose to take, whatever is found
NO_ROOM = (0, 0, 0)
AROUND = 4  # voxels kept around a frame before it is resampled


class Finder(Protocol):
    """A first network, which finds roughly where landmarks are."""

    def views(self, image: str | os.PathLike, alone: int | None = None) -> list[Peaks]:
        """The places at which the landmarks of an image file were found, in each of several views of it; by
        one of its networks alone."""


class FrameByShaped(MapTransform):
    """
    Resample images once into the grid of a shape's frame, laid where the landmarks are: by their true points
    where the dictionary holds them, as in training, else by what a first network finds.

    The result's affine says where the grid lies, so points stay in RAS millimetres; its meta data keeps the
    image's own affine and size as ``field``, and where a first network found the pose, how well that
    fits and how far its views disagree, as ``signs`` and ``elsewhere_mm``.

    Args:
        keys: images as MetaTensor, shape (C, H, W, D), all of one grid, as they were loaded.
        frame: a file written by :meth:`ShapeFrame.write`.
        finder: the first network.
        room: further voxels at each side of a frame that was laid by true points, for random patches: of
            each axis, shape (3,), or of all.
        landmarks_key: true points, RAS millimetres, shape (N, 3), NaN where there is none.
        pose_key: a pose to take as it is, shape (4, 4), from the model's frame to RAS millimetres.

    Raises:
        LandmarkError: when there are neither points nor a first network, or the latter has not been trained.
    """

    def __init__(
        self,
        keys: KeysCollection,
        frame: str | os.PathLike,
        finder: Finder | None = None,
        room: int | Sequence[int] = 0,
        landmarks_key: str = "landmarks",
        pose_key: str = POSE,
    ) -> None:
        super().__init__(keys)
        self.frame, self.finder = ShapeFrame.read(frame), finder
        self.room = tuple(int(more) for more in np.broadcast_to(room, 3))
        self.landmarks_key, self.pose_key = landmarks_key, pose_key
        self.resample = SpatialResample(mode="bilinear", padding_mode="border", dtype=np.float32)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        pose, room, found = self._pose(result)
        affine, shape = self.frame.grid(pose, room)
        for key in self.key_iterator(result):
            image: MetaTensor = result[key]
            field = (np.asarray(image.affine.cpu(), dtype=np.float64), tuple(image.shape[1:]))
            axes = field[0][:3, :3] / voxel_spacing(field[0])
            near = smoothed(_cropped(image, affine, shape), voxel_along(affine, axes))
            framed = cast(
                MetaTensor, self.resample(near, dst_affine=torch.as_tensor(affine), spatial_size=shape)
            )
            framed.meta.update({FIELD: field, **found})
            result[key] = framed
        return result

    def _pose(self, data: Mapping[Hashable, Any]) -> tuple[np.ndarray, tuple[int, ...], dict[str, Any]]:
        """The pose, how much room is left around the frame, and what meta data says of it."""
        if self.pose_key in data:
            return np.asarray(data[self.pose_key], dtype=np.float64), NO_ROOM, {}
        if self.landmarks_key in data:
            return self.frame.true_pose(np.asarray(data[self.landmarks_key], dtype=np.float64)), self.room, {}
        views = self.found(source_file(data[self.first_key(dict(data))]))
        coarse = merged(views)
        pose = self.frame.pose(coarse)
        doubt, far = disagreement(self.frame, pose, [[self.frame.pose(view) for view in views]])
        told: dict[str, Any] = {SIGNS: {**self.frame.signs(coarse), DOUBT: doubt}}
        return pose, NO_ROOM, told if far is None else {**told, ELSEWHERE: far}

    def identity(self) -> dict[str, Any]:
        """What decides how an image is framed, where its pose is known."""
        return {**vars(self), "finder": None}

    def found(self, image: str | os.PathLike, alone: int | None = None) -> list[Peaks]:
        """
        What the first network finds in each view of an image file.

        Args:
            alone: which of several first networks looks; left out, all do.

        Raises:
            LandmarkError: when there is none, or it has not been trained.
        """
        if self.finder is None:
            raise LandmarkError(
                f"{image}: no coarse stage is named that could find the pose. Build the bundle again."
            )
        return self.finder.views(image, alone)


def field_of(image: MetaTensor) -> tuple[np.ndarray, tuple[int, ...]]:
    """
    The affine and the voxels of the image that was searched: of the whole one, where only a part was looked
    at.
    """
    affine, shape = image.meta.get(FIELD) or (image.affine, image.shape[1:])
    return np.asarray(torch.as_tensor(affine, dtype=torch.float64).cpu()), tuple(int(size) for size in shape)


def _cropped(image: MetaTensor, affine: np.ndarray, shape: tuple[int, ...]) -> MetaTensor:
    """The part of an image around a grid: smoothing and resampling need no more of it."""
    own = np.asarray(image.affine.cpu(), dtype=np.float64)
    spacing = np.linalg.norm(own[:3, :3], axis=0)
    around = AROUND + np.linalg.norm(affine[:3, :3], axis=0).max() / spacing * AROUND
    low, high = touched_box(affine, shape, own, image.shape[1:], around)
    part = image.as_tensor()[(slice(None), *(slice(a, b) for a, b in zip(low, high)))]
    cropped = MetaTensor(part.float(), meta=image.meta)
    cropped.affine = torch.as_tensor(part_affine(own, low))
    return cropped
