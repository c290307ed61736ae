# SPDX-License-Identifier: Apache-2.0
"""Read images into the dictionaries that flow through MONAI, and stop at one that no landmark can be found
in."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cached_property
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import EnsureChannelFirst, LoadImage, MapTransform

from ..data.images import channel_files, is_nifti, refuse_other_grids
from ..errors import LandmarkError
from ..geometry import is_singular

__all__ = ["CheckImaged", "LoadChannelsd", "source_file"]


class LoadChannelsd(MapTransform):
    """
    Read an image as MetaTensor, channel first: a file, a DICOM series, or a folder of files, each a channel.

    Args:
        keys: hold the path, and then the image, shape (C, H, W, D).

    Raises:
        LandmarkError: as :func:`auto3dlandmark.data.images.channel_files` does, or when channels differ in
            geometry.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)
        self.channel_first = EnsureChannelFirst()

    # Named, so that what else is installed does not change who reads a file.

    @cached_property
    def nibabel(self) -> LoadImage:
        """For NIfTI."""
        return LoadImage("NibabelReader")

    @cached_property
    def itk(self) -> LoadImage:
        """For all other formats; where there are none of them it is not needed."""
        return LoadImage("ITKReader")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        loaded = dict(data)
        for key in self.key_iterator(data):
            files = channel_files(data[key])
            volumes: list[Any] = [
                self.channel_first((self.nibabel if is_nifti(file) else self.itk)(file)) for file in files
            ]
            refuse_other_grids(files, volumes, [volume.affine for volume in volumes])
            image = volumes[0] if len(files) == 1 else MetaTensor(torch.cat(volumes), meta=volumes[0].meta)
            image.meta["filename_or_obj"] = str(data[key])
            loaded[key] = image
        return loaded


def source_file(image: MetaTensor) -> str:
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
        for key in self.key_iterator(data):
            image = data[key]
            where = source_file(image)
            if image.ndim != 4 or image.shape[0] != self.channels:
                shape = f"{image.shape[0]} channels of shape {tuple(image.shape[1:])}"
                raise LandmarkError(
                    f"{where}: has {shape}, not {self.channels} of a 3D volume. Export it like the training "
                    "images."
                )
            if not bool(torch.isfinite(image).all()):
                raise LandmarkError(
                    f"{where}: has NaN or infinite voxels. Replace them, or export the image again."
                )
            if is_singular(image.affine.cpu().numpy()):
                raise LandmarkError(f"{where}: its affine is singular. Export the image with its geometry.")
        return dict(data)
