# SPDX-License-Identifier: Apache-2.0
"""From an image to landmarks: ``predictor`` runs bundles, ``fusion`` lays heatmaps over each other.

``label_map`` is the form in which Auto3DSeg's ensembles take a bundle, ``confidence`` says how sure one is of
a case.
"""

from __future__ import annotations

from ..errors import readable_error
from .label_map import HeatmapInferer
from .predictor import LandmarkPredictor, predict_images

__all__ = ["HeatmapInferer", "LandmarkPredictor", "predict_images", "readable_error"]
