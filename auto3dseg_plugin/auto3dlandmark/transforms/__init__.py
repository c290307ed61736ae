# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms and heatmap targets, each usable alone and named from bundle configs."""

from __future__ import annotations

from .decode import HeatmapToLandmarksd, decode_argmax, decode_centroid
from .intensity import RandLowResolution, RandPerChanneld
from .load import CheckImaged, LoadChannelsd
from .patch import RandPatchLandmarksd
from .points import LoadLandmarksd, SaveLandmarksd, VoxelLandmarksd
from .posterior_step import PosteriorLandmarksd
from .presence import predicted_landmarks
from .resample import AntiAliasd, SplineSpacingd, separate_axis
from .targets import ConeTarget, GaussianTarget, HeatmapTarget, PrepareHeatmapBatch

__all__ = [
    "AntiAliasd",
    "CheckImaged",
    "ConeTarget",
    "GaussianTarget",
    "HeatmapTarget",
    "HeatmapToLandmarksd",
    "LoadChannelsd",
    "LoadLandmarksd",
    "PosteriorLandmarksd",
    "PrepareHeatmapBatch",
    "RandLowResolution",
    "RandPatchLandmarksd",
    "RandPerChanneld",
    "SaveLandmarksd",
    "SplineSpacingd",
    "VoxelLandmarksd",
    "decode_argmax",
    "decode_centroid",
    "predicted_landmarks",
    "separate_axis",
]
