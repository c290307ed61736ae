# SPDX-License-Identifier: Apache-2.0
"""nnLandmark's own raw folders, in and out.

In: exact positions come from ``all_landmarks_voxel.json``; for a case that is not there, from its label map.
Out: everything nnLandmark reads. What its form cannot hold is said: absent landmarks, and cubes that overlap.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from ...errors import LandmarkError
from ...files import atomic_folder, read_json, write_json
from ...formats import read_landmarks
from ...formats.label_maps import landmarks_of_labels, paint_cubes
from ...formats.nnlandmark_json import read_nnlandmark_cases, write_nnlandmark_cases
from ...geometry import voxel_spacing, voxel_to_world
from ...landmarks import ABSENT, UNKNOWN, LandmarkSet
from ..datalist import Datalist
from ..images import read_image
from .source import RawCase, Source, present_file

__all__ = ["export_nnlandmark", "find_nnlandmark"]

CHANNEL = "_0000"
PARTS = ("Tr", "Ts")


def find_nnlandmark(folder: Path) -> Source:
    """
    The cases of ``imagesTr`` and ``imagesTs``.

    Raises:
        LandmarkError: when dataset.json is missing or says something else.
    """
    content = read_json(present_file(folder / "dataset.json"))
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict) or not all(isinstance(number, int) for number in labels.values()):
        raise LandmarkError(f"{folder / 'dataset.json'}: must hold 'labels', names and their numbers.")
    channels = content.get("channel_names", {"0": ""})
    if not isinstance(channels, dict) or not channels:
        raise LandmarkError(
            f"{folder / 'dataset.json'}: 'channel_names' must name each channel by its number."
        )
    names = {number: name for name, number in sorted(labels.items(), key=lambda item: item[1]) if number}
    voxels = folder / "all_landmarks_voxel.json"
    places = read_nnlandmark_cases(voxels) if voxels.is_file() else {}
    _check_spacing(folder / "spacing.json")
    cases, split = {}, {}
    for part in PARTS:
        for path in sorted((folder / f"images{part}").glob(f"*{CHANNEL}.nii.gz")):
            case = path.name.removesuffix(f"{CHANNEL}.nii.gz")
            cases[case], split[case] = partial(_read, path, case, channels, names, places.get(case)), part
    training, testing = ([case for case, at in split.items() if at == part] for part in PARTS)
    layout = (
        "imagesTr/CASE_0000.nii.gz with labelsTr/CASE.nii.gz or all_landmarks_voxel.json, and dataset.json."
    )
    return Source(tuple(names.values()), cases, training, testing, layout)


def _check_spacing(path: Path) -> None:
    for case, entry in (read_json(path) if path.is_file() else {}).items():
        keys = ("image_spacing", "annotation_spacing")
        image, annotated = (entry.get(key) if isinstance(entry, dict) else None for key in keys)
        if image and annotated and not np.allclose(image, annotated, rtol=0.01):
            raise LandmarkError(
                f"{path}: {case}: was annotated in voxels of {annotated} mm, the image has {image} mm."
            )


def _read(
    first: Path,
    case: str,
    channels: dict[str, str],
    names: dict[int, str],
    places: dict[str, np.ndarray] | None,
) -> RawCase:
    _, affine = read_image(present_file(first))
    image = first if len(channels) == 1 else _files_of(first, channels)
    if places is not None:
        strange = sorted(set(places) - set(names.values()))
        if strange:
            raise LandmarkError(f"all_landmarks_voxel.json has {strange[0]!r}, which dataset.json does not.")
        points = [
            voxel_to_world(places[name], affine) if name in places else np.full(3, np.nan)
            for name in names.values()
        ]
        return RawCase(image, LandmarkSet(tuple(names.values()), np.array(points).reshape(-1, 3)))
    part = first.parent.name.removeprefix("images")
    label_map = first.parents[1] / f"labels{part}" / f"{case}.nii.gz"
    if part == "Ts" and not label_map.exists():
        return RawCase(image, LandmarkSet(tuple(names.values()), np.full((len(names), 3), np.nan)))
    labels, label_affine = read_image(present_file(label_map))
    try:
        return RawCase(image, landmarks_of_labels(labels, label_affine, names))
    except LandmarkError as error:
        raise LandmarkError(f"{label_map}: {error}") from error


def _files_of(first: Path, channels: dict[str, str]) -> dict[str, Path]:
    """The file of each channel by a name that sorts as nnLandmark numbers them."""
    files = {}
    for number, name in channels.items():
        key = re.sub(r"[^\w.-]", "-", f"{int(number):04d}_{name}")
        files[key] = first.with_name(first.name.replace(f"{CHANNEL}.nii.gz", f"_{int(number):04d}.nii.gz"))
    return files


def export_nnlandmark(datalist: Datalist, folder: str | os.PathLike) -> list[str]:
    """
    Write a dataset as a raw folder of nnLandmark.

    Returns:
        a sentence for everything that its form cannot hold.

    Raises:
        LandmarkError: when the folder is there already, or a case cannot be read or written.
    """
    folder = Path(folder)
    if folder.exists():
        raise LandmarkError(f"{folder}: is there already. Choose another place, or remove it first.")
    lost, most_channels = [], 1
    with atomic_folder(folder) as unfinished:
        places, spacings = {}, {}
        for part, cases in zip(PARTS, (datalist.training, datalist.testing)):
            for kind in ("images", "labels"):
                (unfinished / f"{kind}{part}").mkdir(parents=True)
            for case in cases:
                array, affine = read_image(case.image)
                volumes = np.moveaxis(array, 3, 0) if array.ndim == 4 else array[None]
                most_channels = max(most_channels, len(volumes))
                for channel, volume in enumerate(volumes):
                    name = f"{case.id}_{channel:04d}.nii.gz"
                    nib.save(nib.Nifti1Image(volume, affine), unfinished / f"images{part}" / name)
                spacing = [float(value) for value in voxel_spacing(affine)]
                spacings[case.id] = {"image_spacing": spacing, "annotation_spacing": spacing}
                if case.label is None:
                    continue
                landmarks = read_landmarks(case.label).select(datalist.landmark_names)
                labels, covered = paint_cubes(landmarks, array.shape[:3], affine)
                nib.save(nib.Nifti1Image(labels, affine), unfinished / f"labels{part}" / f"{case.id}.nii.gz")
                places[case.id] = landmarks, affine
                lost += [f"{case.id}: the cube of {name!r} is not whole" for name in covered]
                for code, word in ((ABSENT, "absent"), (UNKNOWN, "unknown")):
                    gone = [name for name, status in zip(landmarks.names, landmarks.status) if status == code]
                    lost += [f"{case.id}: that {name!r} is {word} (it is left out)" for name in gone]
        write_nnlandmark_cases(unfinished / "all_landmarks_voxel.json", places)
        write_json(unfinished / "spacing.json", spacings)
        numbers = {name: number for number, name in enumerate(datalist.landmark_names, start=1)}
        write_json(unfinished / "name_to_label.json", numbers)
        channels = {str(channel): "MRI" for channel in range(most_channels)}
        described = {"channel_names": channels, "labels": {"background": 0, **numbers}}
        described |= {"numTraining": len(datalist.training), "file_ending": ".nii.gz"}
        write_json(unfinished / "dataset.json", described)
    return lost
