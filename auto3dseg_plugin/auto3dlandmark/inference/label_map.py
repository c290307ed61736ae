# SPDX-License-Identifier: Apache-2.0
"""A trained bundle as Auto3DSeg's ensembles take it: a map of classes on the image's own grid."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor

from ..bundles.folder import BundleFolder
from .fusion import on_grid
from .predictor import LandmarkPredictor

__all__ = ["HeatmapInferer"]


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
        self.predictor = LandmarkPredictor([BundleFolder.around(path).path], device, trust=True)

    def infer(self, image_file: str | os.PathLike | Mapping[str, Any]) -> MetaTensor:
        """
        Args:
            image_file: a path, or a dictionary with it as ``image``.

        Returns:
            shape (1 + N, H, W, D) on the image's grid: 0.5, then every landmark's heatmap with a peak of 1,
            or all zero where the landmark is predicted absent.
        """
        path = image_file["image"] if isinstance(image_file, Mapping) else image_file
        if isinstance(path, (list, tuple)):
            (path,) = path
        heatmaps, radius = self.predictor.heatmaps(path)
        present = torch.from_numpy(self.predictor.landmarks(heatmaps, radius).present)
        affine, shape = (
            heatmaps.meta["original_affine"],
            [int(size) for size in heatmaps.meta["spatial_shape"]],
        )
        image = MetaTensor(torch.zeros(1, *shape), affine=torch.as_tensor(affine, dtype=torch.float64))
        channels = on_grid(heatmaps, image, "sigmoid")
        peaks = channels.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
        channels = torch.where(present[:, None, None, None], channels / peaks, torch.zeros(()))
        background = torch.full((1, *shape), 0.5)
        result = MetaTensor(torch.cat([background, channels]), meta=heatmaps.meta)
        result.affine = image.affine
        return result
