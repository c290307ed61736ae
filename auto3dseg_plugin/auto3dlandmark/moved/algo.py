# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.auto3dseg.algo; this name works until version 1.0."""

from auto3dlandmark.auto3dseg.algo import HeatmapAlgo as HeatmapAlgo
