# SPDX-License-Identifier: Apache-2.0
"""What networks find in many images, kept as places beside each other: what is calibrated and decided on
later."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from ..data.folder import prediction_path
from ..files import write_json
from .predictor import LandmarkPredictor

__all__ = ["find_peaks"]


def find_peaks(
    bundles: Sequence[str | os.PathLike],
    images: Iterable[str | os.PathLike],
    folder: str | os.PathLike,
    alone: int | None = None,
    trust: bool = True,
    progress: bool = True,
) -> None:
    """
    Write ``<folder>/<case>.json`` for each image: the places at which its landmarks were found.

    Args:
        bundles: as for :class:`LandmarkPredictor`; their heatmaps are averaged.
        alone: as for :meth:`LandmarkPredictor.peaks`.
        trust: as for :class:`LandmarkPredictor`; left out, the bundles are ours.

    Raises:
        LandmarkError: for the first image that cannot be used; files of the images before it are there.
    """
    predictor = LandmarkPredictor(bundles, trust=trust)
    for image in tqdm(list(images), desc="predict", unit="image", disable=not progress):
        content = predictor.peaks(image, alone).to_json(predictor.names)
        write_json(prediction_path(Path(folder), image, ".json"), content)
