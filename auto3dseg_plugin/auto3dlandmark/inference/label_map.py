# SPDX-License-Identifier: Apache-2.0
"""A trained bundle as Auto3DSeg's ensembles take it: a map of classes on the image's own grid."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from ..bundles.folder import BundleFolder
from ..data.images import read_geometry
from ..geometry import radial_error, touched_box, voxel_spacing, voxel_to_world
from .predictor import LandmarkPredictor

__all__ = ["HeatmapInferer"]

REACH = 3.0  # standard deviations of a blob that are painted


class HeatmapInferer:
    """
    What Auto3DSeg's ensembles take: a trained bundle that turns an image into a map of probabilities per
    class.

    Class 0 is the background, class k the neighbourhood of landmark k. So the stock mean and argmax over
    several of these give a label map with a blob at each landmark, on the image's own grid. The points
    themselves, exact and with scores, come from :class:`auto3dlandmark.auto3dseg.ensemble.LandmarkEnsemble`.

    Args:
        config_file: the bundle, its folder of configs, one of its files, or several.
        device: where to run; left out, a GPU if there is one.
        unused: what Auto3DSeg passes for other algorithms.
    """

    def __init__(
        self,
        config_file: str | os.PathLike | Sequence[str | os.PathLike],
        device: str | None = None,
        **unused: Any,
    ) -> None:
        path = Path(config_file if isinstance(config_file, (str, os.PathLike)) else config_file[0])
        self.device = device
        bundle = BundleFolder.around(path)
        self.predictor = LandmarkPredictor([bundle.path], device, trust=True)
        voxel = float(np.mean(bundle.read_config("inference")["spacing"]))
        self.sigma_mm = voxel * self.predictor.members[0].decode.radius / 2

    def infer(self, image_file: str | os.PathLike | Mapping[str, Any]) -> MetaTensor:
        """
        Args:
            image_file: a path, or a dictionary with it as ``image``.

        Returns:
            shape (1 + N, H, W, D) on the image's grid: 0.5, then for every landmark a Gaussian of height 1
            around its point, or all zero where it is predicted absent.
        """
        path = image_file["image"] if isinstance(image_file, Mapping) else image_file
        if isinstance(path, (list, tuple)):
            (path,) = path
        landmarks = self.predictor.predict(path)
        shape, affine = read_geometry(path)
        channels = torch.zeros(1 + len(landmarks), *shape)
        channels[0] = 0.5
        for channel, point, present in zip(channels[1:], landmarks.points, landmarks.present):
            if present:
                _add_blob(channel, point, affine, self.sigma_mm)
        meta = {"filename_or_obj": str(path), "spatial_shape": np.array(shape), "original_affine": affine}
        return MetaTensor(channels, affine=torch.as_tensor(affine, dtype=torch.float64), meta=meta)


def _add_blob(channel: torch.Tensor, point: np.ndarray, affine: np.ndarray, sigma_mm: float) -> None:
    """
    A Gaussian of height 1 around a point, in the part of a volume where it counts.

    Args:
        channel: shape (H, W, D).
        point: RAS millimetres, shape (3,).
        affine: of the volume, voxel to RAS millimetres, shape (4, 4).
    """
    cube = np.eye(4)
    cube[:3, 3] = point
    low, high = touched_box(cube, (1, 1, 1), affine, channel.shape, REACH * sigma_mm / voxel_spacing(affine))
    grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
    distance = radial_error(voxel_to_world(grid, affine), point)
    part = tuple(slice(first, last) for first, last in zip(low, high))
    channel[part] = torch.as_tensor(np.exp(-(distance**2) / (2 * sigma_mm**2)), dtype=channel.dtype)
