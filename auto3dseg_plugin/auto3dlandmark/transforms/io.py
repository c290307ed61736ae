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
from monai.data import MetaTensor
from monai.transforms import EnsureChannelFirst, LoadImage, MapTransform

from ..formats import read_landmarks, write_landmarks
from ..geometry import is_singular
from ..images import case_id, channel_files, is_nifti, refuse_other_grids
from ..landmarks import ABSENT, PRESENT, LandmarkError, LandmarkSet

__all__ = [
    "CheckImaged",
    "LoadChannelsd",
    "LoadLandmarksd",
    "SaveLandmarksd",
    "VoxelLandmarksd",
    "predicted_landmarks",
    "prediction_path",
]


class LoadChannelsd(MapTransform):
    """
    Read an image as MetaTensor, channel first: a file, a DICOM series, or a folder of files, each a channel.

    Args:
        keys: hold the path, and then the image, shape (C, H, W, D).

    Raises:
        LandmarkError: as :func:`auto3dlandmark.images.channel_files` does, or when channels differ in geometry.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)
        # Named, so that what else is installed does not change who reads a file.
        self.nibabel, self.itk = LoadImage("NibabelReader"), LoadImage("ITKReader")
        self.channel_first = EnsureChannelFirst()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        loaded = dict(data)
        for key in self.key_iterator(data):  # type: ignore[arg-type]
            files = channel_files(data[key])
            volumes: list[Any] = [
                self.channel_first((self.nibabel if is_nifti(file) else self.itk)(file)) for file in files
            ]
            refuse_other_grids(files, volumes, [volume.affine for volume in volumes])
            image = volumes[0] if len(files) == 1 else MetaTensor(torch.cat(volumes), meta=volumes[0].meta)
            image.meta["filename_or_obj"] = str(data[key])
            loaded[key] = image
        return loaded


class LoadLandmarksd(MapTransform):
    """
    Read landmark files and put ``landmarks`` and ``landmarks_status`` beside their paths.

    Args:
        keys: hold the path of a landmark file, or an empty text where nothing is known; they stay.
        names: the landmarks to take, in channel order; one that a file lacks is unknown.
        landmarks_key, status_key: where the two arrays go, as float64 (N, 3) and int64 (N,).

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
            inverse = torch.linalg.inv(result[self.ref_key].affine.to(torch.float64))
            points = torch.as_tensor(result[key], dtype=torch.float64)
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
    ) -> None:
        super().__init__(keys)
        self.names, self.output_dir, self.ref_key = list(names), Path(output_dir), ref_key
        self.score_postfix, self.suffix = score_postfix, suffix
        self.may_be_absent, self.min_score = set(may_be_absent), min_score

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        for key in self.key_iterator(data):  # type: ignore[arg-type]
            source = _source_file(data[self.ref_key])
            landmarks = predicted_landmarks(
                self.names, data[key], data[f"{key}{self.score_postfix}"], self.may_be_absent, self.min_score
            )
            write_landmarks(prediction_path(self.output_dir, source, self.suffix), landmarks)
        return dict(data)


def prediction_path(folder: str | os.PathLike, image: str | os.PathLike, suffix: str = ".mrk.json") -> Path:
    """
    Where the points predicted for an image go: a file named after the case.
    """
    return Path(folder) / f"{case_id(image) or Path(image).name}{suffix}"


def predicted_landmarks(
    names: Sequence[str],
    points: torch.Tensor,
    scores: torch.Tensor,
    may_be_absent: Sequence[str] | set[str] = (),
    min_score: float = 0.5,
) -> LandmarkSet:
    """
    A network's points and scores as landmarks; see :class:`SaveLandmarksd` for who may be absent.

    Args:
        points: RAS millimetres, shape (N, 3).
        scores: in [0, 1], shape (N,).
    """
    score_values = torch.as_tensor(scores).double().cpu().numpy()
    absent = np.array(
        [name in may_be_absent and score < min_score for name, score in zip(names, score_values)], dtype=bool
    )
    positions = np.where(absent[:, None], np.nan, torch.as_tensor(points).double().cpu().numpy())
    return LandmarkSet(names, positions, np.where(absent, ABSENT, PRESENT), score_values)


def _source_file(image: MetaTensor) -> str:
    source = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else None
    if not source:
        raise LandmarkError("the image does not say which file it came from: load it with LoadChannelsd.")
    return str(source)


class CheckImaged(MapTransform):
    """
    Stop with the file's name at an image no landmark can be found in: not 3D, NaN voxels, a singular affine.

    Args:
        keys: hold images as MetaTensor, channel first.
        channels: how many the network takes.
    """

    def __init__(self, keys: KeysCollection, channels: int = 1) -> None:
        super().__init__(keys)
        self.channels = channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        for key in self.key_iterator(data):  # type: ignore[arg-type]
            image = data[key]
            where = _source_file(image)
            if image.ndim != 4 or image.shape[0] != self.channels:
                shape = f"{image.shape[0]} channels of shape {tuple(image.shape[1:])}"
                raise LandmarkError(
                    f"{where}: has {shape}, not {self.channels} of a 3D volume. Export it like the training images."
                )
            if not bool(torch.isfinite(image).all()):
                raise LandmarkError(
                    f"{where}: has NaN or infinite voxels. Replace them, or export the image again."
                )
            if is_singular(image.affine.cpu().numpy()):
                raise LandmarkError(f"{where}: its affine is singular. Export the image with its geometry.")
        return dict(data)
