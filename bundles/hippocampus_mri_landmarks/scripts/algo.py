# SPDX-License-Identifier: Apache-2.0
"""Where Auto3DSeg looks for the algorithm; it lives in the package."""

from auto3dlandmark.auto3dseg.algo import HeatmapAlgo

__all__ = ["HeatmapAlgo"]
