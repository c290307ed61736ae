# SPDX-License-Identifier: Apache-2.0
"""Landmarks between files and the dictionaries that flow through MONAI.

In a dictionary the landmarks of a case are two arrays: ``landmarks`` (N, 3) in RAS millimetres, NaN where
there is no point, and ``landmarks_status`` (N,) with the codes of landmarks.py. Spatial transforms never
touch them: they change the image's affine.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from ..data.folder import prediction_path
from ..formats import read_landmarks, write_landmarks
from ..landmarks import LandmarkSet
from .load import source_file
from .presence import predicted_landmarks

__all__ = ["LoadLandmarksd", "RandSpreadd", "SaveLandmarksd", "VoxelLandmarksd"]


class LoadLandmarksd(MapTransform):
    """
    Read landmark files and put ``landmarks`` and ``landmarks_status`` beside their paths.

    Args:
        keys: hold the path of a landmark file, or an empty text where nothing is known; they stay.
        names: the landmarks to take, in channel order; one that a file lacks is unknown.
        landmarks_key, status_key: where the two arrays go, as float64 (N, 3) and int64 (N,). Beside them
            ``<landmarks_key>_spread`` is, of a case that is ``taught``, the standard deviation of each point
            along an axis, mm, float64 (N,); zero for what people annotated.

    Raises:
        LandmarkError: when the file cannot be read.
    """

    def __init__(
        self,
        keys: KeysCollection,
        names: Sequence[str],
        landmarks_key: str = "landmarks",
        status_key: str = "landmarks_status",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.names, self.landmarks_key, self.status_key = list(names), landmarks_key, status_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            if result[key]:
                landmarks = read_landmarks(result[key]).select(self.names)
            else:
                landmarks = LandmarkSet(self.names, np.full((len(self.names), 3), np.nan))
            result[self.landmarks_key] = torch.tensor(np.array(landmarks.points), dtype=torch.float64)
            result[self.status_key] = torch.tensor(np.array(landmarks.status), dtype=torch.int64)
            spread = _spread_mm(landmarks) if result.get("taught") else np.zeros(len(self.names))
            result[f"{self.landmarks_key}_spread"] = torch.tensor(spread, dtype=torch.float64)
        return result


def _spread_mm(landmarks: LandmarkSet) -> np.ndarray:
    """Standard deviation along an axis, shape (N,); zero where none is known."""
    if landmarks.estimates is None:
        return np.zeros(len(landmarks))
    variance = np.trace(landmarks.estimates.covariance, axis1=1, axis2=2) / 3
    return np.asarray(np.sqrt(np.nan_to_num(variance)))


class RandSpreadd(RandomizableTransform, MapTransform):
    """
    Move each point of a case that a teacher annotated by as much as it may be off: over many draws, its
    target is as wide as the teacher was unsure. Points that people annotated stay.

    Args:
        keys: hold points in RAS millimetres, shape (N, 3).
        spread_postfix: ``<key><spread_postfix>`` holds the standard deviation along an axis, mm, shape (N,).
    """

    def __init__(self, keys: KeysCollection = "landmarks", spread_postfix: str = "_spread") -> None:
        RandomizableTransform.__init__(self)
        MapTransform.__init__(self, keys)
        self.spread_postfix = spread_postfix

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            spread = torch.as_tensor(result[f"{key}{self.spread_postfix}"])
            if bool((spread > 0).any()):
                points = torch.as_tensor(result[key])
                noise = torch.as_tensor(self.R.normal(size=tuple(points.shape)), dtype=points.dtype)
                result[key] = points + noise * spread[:, None].to(points)
        return result


class VoxelLandmarksd(MapTransform):
    """
    Add the landmarks' voxel indices in the image as it is now: the last step before batching.

    Args:
        keys: hold points in RAS millimetres, shape (N, 3).
        ref_key: the image whose affine counts.
        voxel_key: where the voxel indices go, float32 (N, 3), NaN where there is no point.
    """

    def __init__(
        self, keys: KeysCollection = "landmarks", ref_key: str = "image", voxel_key: str = "landmarks_voxel"
    ) -> None:
        super().__init__(keys)
        self.ref_key, self.voxel_key = ref_key, voxel_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            inverse = torch.linalg.inv(result[self.ref_key].affine.cpu().to(torch.float64))
            points = torch.as_tensor(result[key], dtype=torch.float64).cpu()
            result[self.voxel_key] = (points @ inverse[:3, :3].T + inverse[:3, 3]).float()
        return result


class SaveLandmarksd(MapTransform):
    """
    Write predicted points as ``<output_dir>/<case><suffix>``, in the frame of the image file they came from.

    Args:
        keys: hold RAS millimetres, shape (N, 3).
        names: of the N channels.
        output_dir: where the files go.
        ref_key: the image, whose file name gives the case.
        score_postfix: ``<key><score_postfix>`` holds the scores, shape (N,).
        landmarks_postfix: ``<key><landmarks_postfix>`` may hold a :class:`LandmarkSet`, which then is what
            is written.
        may_be_absent: names that were absent in some training cases; only these may be predicted as absent.
        min_score: a landmark of ``may_be_absent`` with a lower score is written as absent.
        suffix: kind of file, as :func:`auto3dlandmark.write_landmarks` knows it.
    """

    def __init__(
        self,
        keys: KeysCollection,
        names: Sequence[str],
        output_dir: str | os.PathLike,
        ref_key: str = "image",
        score_postfix: str = "_score",
        may_be_absent: Sequence[str] = (),
        min_score: float = 0.5,
        suffix: str = ".mrk.json",
        landmarks_postfix: str = "_landmarks",
    ) -> None:
        super().__init__(keys)
        self.names, self.output_dir, self.ref_key = list(names), Path(output_dir), ref_key
        self.score_postfix, self.suffix = score_postfix, suffix
        self.may_be_absent, self.min_score = set(may_be_absent), min_score
        self.landmarks_postfix = landmarks_postfix

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        for key in self.key_iterator(data):
            source = source_file(data[self.ref_key])
            landmarks = data.get(f"{key}{self.landmarks_postfix}")
            if landmarks is None:
                landmarks = self.landmarks(data[key], data[f"{key}{self.score_postfix}"])
            write_landmarks(prediction_path(self.output_dir, source, self.suffix), landmarks)
        return dict(data)

    def landmarks(self, points: torch.Tensor, scores: torch.Tensor) -> LandmarkSet:
        """
        What is written for points in RAS millimetres, shape (N, 3), and their scores, shape (N,).
        """
        return predicted_landmarks(self.names, points, scores, self.may_be_absent, self.min_score)
