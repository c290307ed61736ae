# SPDX-License-Identifier: Apache-2.0
"""Let the landmarks of a case decide together: peaks in, landmarks with what is known of them out."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..errors import LandmarkError
from ..estimates import POSTERIOR_MODES
from ..landmarks import LandmarkSet
from ..shapes.estimator import ShapeEstimator
from ..shapes.peaks import Peaks

__all__ = ["PosteriorLandmarksd"]


class PosteriorLandmarksd(MapTransform):
    """
    Replace points by what all landmarks say together, where the bundle's held-out cases say that this helps,
    and put the whole :class:`LandmarkSet` with its estimates beside them. Without a shape model nothing
    happens.

    Args:
        keys: hold points in RAS millimetres, shape (N, 3), as :class:`HeatmapToLandmarksd` leaves them.
        names: of the N landmarks.
        shape_model: a file made by ``run`` or ``calibrate``; it may be missing unless ``posterior`` is
            ``on``.
        posterior: ``auto``, ``on`` or ``off``; see :class:`auto3dlandmark.shapes.estimator.ShapeEstimator`.
        peaks_postfix: ``<key><peaks_postfix>`` holds the :class:`Peaks`.
        landmarks_postfix: ``<key><landmarks_postfix>`` gets the landmarks.

    Raises:
        LandmarkError: for another mode, or when the shape model is damaged, of other landmarks, or missing
            though asked for.
    """

    def __init__(
        self,
        keys: KeysCollection,
        names: Sequence[str],
        shape_model: str | os.PathLike,
        posterior: str = "auto",
        peaks_postfix: str = "_peaks",
        landmarks_postfix: str = "_landmarks",
    ) -> None:
        super().__init__(keys)
        if posterior not in POSTERIOR_MODES:
            raise LandmarkError(
                f"posterior={posterior!r} is unknown. Choose one of {', '.join(POSTERIOR_MODES)}."
            )
        self.mode, self.peaks_postfix, self.landmarks_postfix = posterior, peaks_postfix, landmarks_postfix
        if posterior == "on" and not Path(shape_model).is_file():
            raise LandmarkError(
                f"{shape_model}: there is no shape model, so landmarks cannot decide together. Make one: "
                "auto3dlandmark calibrate BUNDLE DATASET."
            )
        self.estimator = ShapeEstimator.read(shape_model, names) if Path(shape_model).is_file() else None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            landmarks = self.landmarks(result[f"{key}{self.peaks_postfix}"])
            if landmarks is not None:
                result[key] = torch.from_numpy(landmarks.points.copy())
                result[f"{key}{self.landmarks_postfix}"] = landmarks
        return result

    def landmarks(self, peaks: Peaks) -> LandmarkSet | None:
        """
        The landmarks of a case; None without a shape model.
        """
        return None if self.estimator is None else self.estimator.landmarks(peaks, self.mode)
