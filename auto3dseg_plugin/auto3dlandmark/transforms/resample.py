# SPDX-License-Identifier: Apache-2.0
"""Change the voxel size of an image: smoothing before it gets coarser, and nnU-Net's cubic resampling."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import ArrayLike
from scipy import ndimage

from ..geometry import voxel_spacing

__all__ = ["AntiAliasd", "SplineSpacingd", "separate_axis", "smoothed"]

ANISOTROPY = 3.0


class AntiAliasd(MapTransform):
    """
    Blur each axis as much as the coming resampling makes its voxels larger; a finer or equal spacing changes
    nothing.

    Args:
        keys: images as MetaTensor, shape (C, H, W, D).
        spacing: millimetres (x, y, z) the image is going to be resampled to; axes as they are now.
        enabled: False leaves images as they are, as nnU-Net does.
    """

    def __init__(self, keys: KeysCollection, spacing: Sequence[float], enabled: bool = True) -> None:
        super().__init__(keys)
        self.spacing, self.enabled = np.asarray(spacing, dtype=float), enabled

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            if self.enabled:
                result[key] = smoothed(result[key], self.spacing)
        return result


def smoothed(image: MetaTensor, spacing: ArrayLike) -> MetaTensor:
    """
    An image blurred as much as a coming resampling makes its voxels larger.

    Args:
        image: shape (C, H, W, D).
        spacing: millimetres along the image's axes, shape (3,), or one number for all.

    Source: voxels r times as large hold what a Gaussian of sqrt(r ** 2 - 1) / 2 voxels leaves.
    """
    ratio = np.asarray(spacing, dtype=float) / voxel_spacing(image.affine.cpu().numpy())
    sigma = np.sqrt(np.maximum(ratio**2 - 1, 0)) / 2
    if not (sigma > 0.05).any():
        return image
    voxels = np.asarray(image.as_tensor().cpu(), dtype=np.float32)
    smooth = np.stack([ndimage.gaussian_filter(channel, sigma, mode="nearest") for channel in voxels])
    return type(image)(torch.as_tensor(smooth), meta=image.meta)


def separate_axis(source: ArrayLike, target: ArrayLike) -> int | None:
    """
    The axis that nnU-Net resamples on its own, without blurring across slices; None: all three together.

    Args:
        source, target: voxel sizes in millimetres before and after, shape (3,), in one axis order.

    Returns:
        the coarsest axis of the first of the two whose voxels are more than three times as long as short;
        None when neither's are, or two axes are as coarse.
    """
    for spacing in (np.asarray(source, dtype=float), np.asarray(target, dtype=float)):
        if spacing.max() / spacing.min() > ANISOTROPY:
            coarsest = np.flatnonzero(spacing == spacing.max())
            return int(coarsest[0]) if len(coarsest) == 1 else None
    return None


class SplineSpacingd(MapTransform):
    """
    Resample to a spacing as nnU-Net does: cubic splines, and the nearest slice along a very coarse axis.

    Args:
        keys: images as MetaTensor, shape (C, H, W, D).
        pixdim: millimetres (x, y, z); axes as they are now.

    Source: the grids of both sizes span the same box, as in skimage's ``resize``; values stay in the image's
    range.
    """

    def __init__(self, keys: KeysCollection, pixdim: Sequence[float]) -> None:
        super().__init__(keys)
        self.pixdim = np.asarray(pixdim, dtype=float)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self._resample(result[key])
        return result

    def _resample(self, image: MetaTensor) -> MetaTensor:
        old = np.array(image.shape[1:])
        spacing = np.round(voxel_spacing(image.affine.cpu().numpy()), 6)
        new = np.maximum(1, np.round(old * spacing / self.pixdim)).astype(int)
        if np.array_equal(old, new):
            return image
        factor = new / old
        slices = separate_axis(spacing, self.pixdim)
        rest = np.array([axis != slices for axis in range(3)])
        channels = []
        for channel in np.asarray(image.as_tensor().cpu(), dtype=np.float32):
            zoomed = _zoom(channel, np.where(rest, factor, 1.0), order=3)
            zoomed = _zoom(zoomed, np.where(rest, 1.0, factor), order=0)
            channels.append(zoomed.clip(channel.min(), channel.max()))
        to_old = np.diag([*(1 / factor), 1.0])
        to_old[:3, 3] = (1 / factor - 1) / 2
        resampled = MetaTensor(torch.as_tensor(np.stack(channels)), meta=image.meta)
        resampled.affine = image.affine @ torch.as_tensor(to_old, dtype=image.affine.dtype)
        return resampled


def _zoom(array: np.ndarray, factor: np.ndarray, order: int) -> np.ndarray:
    if np.array_equal(factor, np.ones(3)):
        return array
    return np.asarray(ndimage.zoom(array, factor, order=order, mode="nearest", grid_mode=True))
