# SPDX-License-Identifier: Apache-2.0
"""Where stock Auto3DSeg looks for the algorithm; the class lives in the package."""

from auto3dlandmark.algo import HeatmapAlgo

__all__ = ["HeatmapAlgo"]
