# SPDX-License-Identifier: Apache-2.0
"""Smooth an image before it is resampled to coarser voxels, so that thin structures are averaged, not missed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy import ndimage

from ..geometry import voxel_spacing

__all__ = ["AntiAliasd"]


class AntiAliasd(MapTransform):
    """
    Blur each axis as much as the coming resampling makes its voxels larger; a finer or equal spacing changes nothing.

    Args:
        keys: images as MetaTensor, shape (C, H, W, D).
        spacing: millimetres (x, y, z) the image is going to be resampled to; axes as they are now.
        enabled: False leaves images as they are, as nnU-Net does.

    Source: voxels r times as large hold what a Gaussian of sqrt(r ** 2 - 1) / 2 voxels leaves.
    """

    def __init__(self, keys: KeysCollection, spacing: Sequence[float], enabled: bool = True) -> None:
        super().__init__(keys)
        self.spacing, self.enabled = np.asarray(spacing, dtype=float), enabled

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            ratio = self.spacing / voxel_spacing(image.affine.cpu().numpy())
            sigma = np.sqrt(np.maximum(ratio**2 - 1, 0)) / 2
            if self.enabled and (sigma > 0.05).any():
                voxels = np.asarray(image.as_tensor().cpu(), dtype=np.float32)
                smooth = np.stack(
                    [ndimage.gaussian_filter(channel, sigma, mode="nearest") for channel in voxels]
                )
                result[key] = type(image)(torch.as_tensor(smooth), meta=image.meta)
        return result
