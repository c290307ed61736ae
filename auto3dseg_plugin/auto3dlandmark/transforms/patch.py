# SPDX-License-Identifier: Apache-2.0
"""Draw a random patch of an image: where, how turned and how large, in one resampling.

Landmarks stay in world millimetres; the patch's affine says where it lies.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import LazyTransform, MapTransform, Randomizable, SpatialResample
from monai.utils import LazyAttr
from scipy.spatial.transform import Rotation

from ..geometry import part_affine, touched_box
from ..landmarks import UNKNOWN
from ..store.chunked_image import ChunkedImage

__all__ = ["RandPatchLandmarksd", "part_around", "random_rotation"]


def random_rotation(limit_deg: float, random_state: np.random.RandomState) -> np.ndarray:
    """
    A rotation drawn uniformly from all those whose angle is at most ``limit_deg``.

    Args:
        limit_deg: 0 to 180; 180 gives every orientation the same chance.

    Returns:
        rotation matrix, shape (3, 3).

    Source: the angle of a uniform random rotation has density (1 - cos angle) / pi (Shoemake, "Uniform random
        rotations", 1992); cut at the limit and inverted by bisection.
    """
    limit = float(np.radians(np.clip(limit_deg, 0.0, 180.0)))
    share = random_state.uniform() * (limit - np.sin(limit))
    low, high = 0.0, limit
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if middle - np.sin(middle) < share else (low, middle)
    axis = random_state.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(low) * cross + (1 - np.cos(low)) * cross @ cross)


def _exchanged(values: torch.Tensor, groups: Sequence[Sequence[int]], lost: float) -> torch.Tensor:
    """
    A copy in which the two rows of each pair have changed places.

    Args:
        values: shape (N, ...).
        groups: indices of rows: pairs, and rows alone that have no partner.
        lost: what those get.
    """
    order = list(range(len(values)))
    alone = [group[0] for group in groups if len(group) == 1]
    for first, second in (group for group in groups if len(group) == 2):
        order[first], order[second] = second, first
    result = values[order]
    result[alone] = lost
    return result


def part_around(
    image: MetaTensor | ChunkedImage, affine: np.ndarray, shape: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The part of an image from which a grid can be resampled linearly as from the whole, and its affine.

    Args:
        affine: of the grid, voxel to RAS millimetres, shape (4, 4).
        shape: voxels of the grid, shape (3,).
    """
    own = np.array(image.affine, dtype=np.float64)
    low, high = touched_box(affine, shape, own, image.shape[1:])
    if isinstance(image, ChunkedImage):
        part = torch.from_numpy(image.box(low, high))
    else:
        part = image.as_tensor()[(slice(None), *(slice(a, b) for a, b in zip(low, high)))].contiguous()
    return part, torch.as_tensor(part_affine(own, low))


class RandPatchLandmarksd(MapTransform, Randomizable, LazyTransform):
    """
    Resample a random patch around a landmark or anywhere, randomly turned, scaled and stretched.

    When the image is smaller than the patch, the patch is laid around its centre with a random shift and
    the rest is filled as ``padding_mode`` says.

    Args:
        keys: images as MetaTensor or on disk, shape (C, H, W, D), all of one grid.
        patch_size: voxels of the patch, shape (3,).
        landmarks_key: RAS millimetres, shape (N, 3), NaN where there is no point.
        landmark_prob: chance of a patch centred near a random present landmark, rather than anywhere.
        rotation_deg: largest rotation angle, drawn by :func:`random_rotation`.
        rotation_prob: chance of being turned at all.
        euler: turn about each axis by an angle of its own up to ``rotation_deg``, as nnU-Net does.
        scale_range: how many times its own size the patch covers, drawn between these; more makes things
            smaller.
        scale_prob: chance of being scaled at all.
        stretch: each axis is further scaled by a factor between 1 / (1 + stretch) and 1 + stretch.
        thick_axis: an axis across thick slices: patches turn about it by any angle, and scale in the others,
            as in nnU-Net; None for none.
        shift: how far, in voxels, the centre is moved at random from the drawn place, along each axis or
            all.
        centred: patches that are not around a landmark are laid around the image's centre, rather than
            anywhere.
        jump: voxels by which a patch is moved with ``jump_prob``, shape (3,), or the other way.
        jump_turn_deg: how it is turned then: a rotation vector along the image's axes, degrees, shape (3,).
        jump_prob: chance of that.
        flip_prob: chance of the mirror image, in which the landmarks of each pair exchange names.
        flip_pairs: indices of landmarks that mirror each other, twice of one that is its own partner, and of
            those alone that have none and so are unknown in the mirror; without any nothing is flipped.
        status_key: codes of the landmarks, which a flip exchanges too.
        padding_mode: what lies outside the image; ``zeros`` is the mean after z-scoring.
        lazy: leave the resampling to a lazy ``Compose``.
    """

    reads_chunks = True  # an image that is too large for the memory comes as a file, to take a part of
    PATCH, PART = "patch_affine", "part_affine"  # what :meth:`draw` leaves for :meth:`finish`

    def __init__(
        self,
        keys: KeysCollection,
        patch_size: Sequence[int],
        landmarks_key: str = "landmarks",
        landmark_prob: float = 1 / 3,
        rotation_deg: float = 30.0,
        rotation_prob: float = 1.0,
        euler: bool = False,
        scale_range: Sequence[float] = (1.0, 1.0),
        scale_prob: float = 1.0,
        stretch: float = 0.0,
        thick_axis: int | None = None,
        shift: float | Sequence[float] = 4.0,
        centred: bool = False,
        jump: Sequence[float] = (0.0, 0.0, 0.0),
        jump_turn_deg: Sequence[float] = (0.0, 0.0, 0.0),
        jump_prob: float = 0.0,
        flip_prob: float = 0.0,
        flip_pairs: Sequence[Sequence[int]] = (),
        status_key: str = "landmarks_status",
        padding_mode: str = "zeros",
        lazy: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        LazyTransform.__init__(self, lazy)
        self.patch_size = tuple(int(size) for size in patch_size)
        self.landmarks_key, self.landmark_prob = landmarks_key, landmark_prob
        self.rotation_deg, self.rotation_prob = rotation_deg, rotation_prob
        self.euler, self.thick_axis = euler, thick_axis
        self.scale_range, self.scale_prob = scale_range, scale_prob
        self.stretch, self.shift, self.centred = stretch, np.asarray(shift, dtype=float), centred
        self.jump, self.jump_turn_deg = np.asarray(jump, dtype=float), np.asarray(jump_turn_deg, dtype=float)
        self.jump_prob = jump_prob
        self.flip_prob, self.status_key = flip_prob, status_key
        self.flip_pairs = [tuple(pair) for pair in flip_pairs]
        self.resample = SpatialResample(mode="bilinear", padding_mode=padding_mode, dtype=np.float32)

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        result = dict(data)
        lazy_ = self.lazy if lazy is None else lazy
        patch_affine = self._place(result)
        for key in self.key_iterator(result):
            image = result[key]
            if isinstance(image, ChunkedImage):
                part, affine = part_around(image, patch_affine.numpy(), self.patch_size)
                image = MetaTensor(part, affine=affine)
            result[key] = self._resampled(image, patch_affine, lazy_)
            if lazy_:  # SpatialResample does not note its padding, and MONAI would then continue the border
                result[key].pending_operations[-1][LazyAttr.PADDING_MODE] = self.resample.padding_mode
        return result

    def draw(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """
        The first half of a call: draw a patch, and take what it needs of the images, as plain tensors that
        may go to another process and to another device; :meth:`finish` does the rest there.
        """
        result = dict(data)
        patch_affine = self._place(result)
        result[self.PATCH] = patch_affine
        for key in self.key_iterator(result):
            result[key], result[self.PART] = part_around(result[key], patch_affine.numpy(), self.patch_size)
        return result

    def finish(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The second half of a call: resample what :meth:`draw` took, on the device where it is now."""
        result = dict(data)
        patch_affine, part_affine = result.pop(self.PATCH).cpu(), result.pop(self.PART).cpu()
        for key in self.key_iterator(result):
            image = MetaTensor(result[key], affine=part_affine)
            result[key] = self._resampled(image, patch_affine, False)
        return result

    def _place(self, data: dict[Hashable, Any]) -> torch.Tensor:
        """The affine of a random patch; in a mirror the landmarks of ``data`` exchange names."""
        patch_affine = self._draw(data[self.first_key(data)], data.get(self.landmarks_key))
        if self.flip_pairs and self.R.uniform() < self.flip_prob:
            patch_affine = self._flip(patch_affine, data)
        return patch_affine

    def _resampled(self, image: MetaTensor, affine: torch.Tensor, lazy: bool) -> MetaTensor:
        patch = self.resample(image, dst_affine=affine, spatial_size=self.patch_size, lazy=lazy)
        return cast(MetaTensor, patch)

    def _draw(self, image: MetaTensor | ChunkedImage, landmarks: torch.Tensor | None) -> torch.Tensor:
        """Affine of a random patch: its voxels to RAS millimetres, shape (4, 4)."""
        if isinstance(image, ChunkedImage):
            affine, shape = image.affine, np.array(image.shape[1:], dtype=float)
        else:
            affine = image.peek_pending_affine().cpu().numpy().astype(np.float64)
            shape = np.array(image.peek_pending_shape(), dtype=float)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        patch = np.array(self.patch_size, dtype=float)
        turn = self._turn() if self.R.uniform() < self.rotation_prob else np.eye(3)
        scale = self._scale() if self.R.uniform() < self.scale_prob else np.ones(3)
        # Patch voxels -> image voxels. The turn is made in millimetres, so that voxels need not be cubes.
        still = np.array_equal(turn, np.eye(3)) and np.array_equal(scale, np.ones(3))
        linear = np.eye(3) if still else np.diag(1 / spacing) @ turn @ np.diag(spacing * scale)
        centre = self._centre(affine, shape, linear, landmarks)
        if self.jump_prob and self.R.uniform() < self.jump_prob:
            turned, moved = self._jump(spacing)
            linear, centre = turned @ linear, centre + moved
        to_image = np.eye(4)
        to_image[:3, :3] = linear
        to_image[:3, 3] = centre - linear @ ((patch - 1) / 2)
        if np.array_equal(linear, np.eye(3)):
            to_image[:3, 3] = np.round(
                to_image[:3, 3]
            )  # on the image's own voxels, so that nothing is blurred
        return torch.as_tensor(affine @ to_image)

    def _flip(self, patch_affine: torch.Tensor, data: dict[Hashable, Any]) -> torch.Tensor:
        """The affine of the same patch, seen in a mirror; what was left is called right."""
        flip = torch.eye(4, dtype=patch_affine.dtype)
        flip[0, 0], flip[0, 3] = -1, self.patch_size[0] - 1
        for key, lost in ((self.landmarks_key, float("nan")), (self.status_key, UNKNOWN)):
            if key in data:
                data[key] = _exchanged(data[key], self.flip_pairs, lost)
        return patch_affine @ flip

    def _turn(self) -> np.ndarray:
        """A random rotation matrix."""
        if self.thick_axis is not None:
            angles = np.zeros(3)
            angles[self.thick_axis] = self.R.uniform(-180, 180)
        elif self.euler:
            angles = self.R.uniform(-self.rotation_deg, self.rotation_deg, size=3)
        else:
            return random_rotation(self.rotation_deg, self.R)
        return np.asarray(Rotation.from_euler("xyz", angles, degrees=True).as_matrix())

    def _scale(self) -> np.ndarray:
        """How many times its own size the patch covers, along each axis."""
        scale = np.full(3, self.R.uniform(self.scale_range[0], self.scale_range[1]))
        scale *= np.exp(self.R.uniform(-1, 1, size=3) * np.log1p(self.stretch))
        if self.thick_axis is not None:
            scale[self.thick_axis] = 1
        return scale

    def _centre(
        self, affine: np.ndarray, shape: np.ndarray, linear: np.ndarray, landmarks: torch.Tensor | None
    ) -> np.ndarray:
        """The image voxel that the patch's centre falls on."""
        shift = self.R.uniform(-1, 1, size=3) * self.shift
        half = np.abs(np.array(self.patch_size) * np.linalg.norm(linear, axis=0)) / 2
        room = np.maximum(shape / 2 - half, 0)  # how far the centre may go without leaving the image
        middle = (shape - 1) / 2
        present = (
            None if landmarks is None else np.asarray(landmarks)[~np.isnan(np.asarray(landmarks)).any(axis=1)]
        )
        use_landmark = self.R.uniform() < self.landmark_prob
        if use_landmark and present is not None and len(present):
            point = np.linalg.inv(affine) @ np.append(present[self.R.randint(len(present))], 1.0)
            place = np.clip(point[:3], middle - room, middle + room)
        else:
            place = middle + self.R.uniform(-1, 1, size=3) * room * (not self.centred)
        return np.asarray(place + shift)

    def _jump(self, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How a jump turns the voxels of a patch, shape (3, 3), and moves its centre, in voxels."""
        side = self.R.choice([-1, 1])
        turn = Rotation.from_rotvec(side * self.jump_turn_deg, degrees=True).as_matrix()
        voxels = np.diag(1 / spacing) @ turn @ np.diag(spacing)
        return voxels, self.jump if side > 0 else -voxels @ self.jump
