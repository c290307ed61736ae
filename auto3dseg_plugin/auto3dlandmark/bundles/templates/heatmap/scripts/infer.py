# SPDX-License-Identifier: Apache-2.0
"""Where Auto3DSeg looks for the inference class; it lives in the package."""

from auto3dlandmark.inference import HeatmapInferer as InferClass

__all__ = ["InferClass"]
