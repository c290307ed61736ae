# SPDX-License-Identifier: Apache-2.0
"""Dictionary transforms and heatmap targets, each usable alone and named from bundle configs."""

from __future__ import annotations

from .decode import HeatmapToLandmarksd, decode_argmax, decode_centroid
from .framing import FrameByShaped
from .intensity import RandLowResolution, RandNoised, RandPerChanneld
from .load import CheckImaged, LoadChannelsd
from .other_scanners import RandConvolution, RandFieldOfViewd, RandTapered
from .patch import RandPatchLandmarksd
from .points import LoadLandmarksd, RandSpreadd, SaveLandmarksd, VoxelLandmarksd
from .posterior_step import PosteriorLandmarksd
from .presence import predicted_landmarks
from .resample import AntiAliasd, SplineSpacingd, separate_axis
from .targets import ConeTarget, GaussianTarget, HeatmapTarget, PrepareHeatmapBatch

__all__ = [
    "AntiAliasd",
    "CheckImaged",
    "ConeTarget",
    "FrameByShaped",
    "GaussianTarget",
    "HeatmapTarget",
    "HeatmapToLandmarksd",
    "LoadChannelsd",
    "LoadLandmarksd",
    "PosteriorLandmarksd",
    "PrepareHeatmapBatch",
    "RandConvolution",
    "RandFieldOfViewd",
    "RandLowResolution",
    "RandNoised",
    "RandPatchLandmarksd",
    "RandPerChanneld",
    "RandSpreadd",
    "RandTapered",
    "SaveLandmarksd",
    "SplineSpacingd",
    "VoxelLandmarksd",
    "decode_argmax",
    "decode_centroid",
    "predicted_landmarks",
    "separate_axis",
]
