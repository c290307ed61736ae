# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms and heatmap targets, each usable alone and named from bundle configs."""

from __future__ import annotations

from .augment import RandPatchLandmarksd
from .decode import HeatmapToLandmarksd, decode_argmax, decode_centroid
from .intensity import RandLowResolution, RandPerChanneld
from .io import (
    CheckImaged,
    LoadChannelsd,
    LoadLandmarksd,
    SaveLandmarksd,
    VoxelLandmarksd,
    predicted_landmarks,
    prediction_path,
)
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
    "prediction_path",
    "separate_axis",
]
