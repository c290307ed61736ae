# SPDX-License-Identifier: Apache-2.0
"""What every converter of a published dataset shares: where cases go, which split they are in, what is
missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from tqdm import tqdm

from ...errors import LandmarkError
from ...files import atomic_folder, read_json, write_json
from ...formats import write_landmarks
from ...landmarks import LandmarkSet
from ..datalist import Case, Datalist, assign_folds, write_datalist
from ..images import case_id

__all__ = ["RawCase", "Source", "present_file", "published_split", "two_ends", "write_dataset"]


@dataclass(frozen=True)
class RawCase:
    """
    One case as it is published.

    Args:
        image: a file to be copied; a file for each channel by name; or voxels (x, y, z) and their affine
            where the file's own header is wrong.
        landmarks: RAS millimetres.
    """

    image: Path | Mapping[str, Path] | tuple[np.ndarray, np.ndarray]
    landmarks: LandmarkSet


@dataclass(frozen=True)
class Source:
    """
    A published dataset as it lies on disk.

    Args:
        names: landmarks, in channel order.
        cases: how to read each case that was found, by id.
        training, testing: ids of the published split.
        pairs: names of landmarks that mirror each other, left one first.
        lengths: measurements by name, each between two landmarks.
        layout: what was looked for, for those who have nothing of it.
    """

    names: Sequence[str]
    cases: Mapping[str, Callable[[], RawCase]]
    training: Sequence[str]
    testing: Sequence[str]
    layout: str
    pairs: Sequence[tuple[str, str]] = ()
    lengths: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def published_split(name: str) -> tuple[list[str], list[str]]:
    """
    Ids of the training and test cases of a benchmark, as nnLandmark's authors published them.
    """
    split = read_json(Path(__file__).parent / "splits.json")[name]
    return split["training"], split["testing"]


def present_file(path: Path) -> Path:
    """
    The path, when there is a file.

    Raises:
        LandmarkError: when there is none; a link that leads nowhere, as git-annex leaves them, is named as
            such.
    """
    if path.is_symlink() and not path.exists():
        raise LandmarkError(
            f"{path}: is a link to a file that is not here. Fetch it first, for git-annex with 'git annex "
            "get'."
        )
    if not path.is_file():
        raise LandmarkError(f"{path}: there is no such file. Download it.")
    return path


def two_ends(first: np.ndarray, second: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """
    The ends of a length ordered along an axis of RAS: left before right, posterior before anterior, inferior
    first.
    """
    return (first, second) if first[axis] <= second[axis] else (second, first)


def write_dataset(source: Source, folder: str | os.PathLike, progress: bool = True) -> dict[str, list[str]]:
    """
    Write a dataset folder: ``images/``, ``landmarks/``, ``dataset.json`` with the published split,
    ``conversion.json``.

    Returns:
        what ``conversion.json`` says: ids that were ``converted``, and sentences on those ``missing`` and
        ``left_out``.

    Raises:
        LandmarkError: when the folder is there already, nothing was found, or it cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LandmarkError(f"{folder}: is there already. Choose another place, or remove it first.")
    if not source.cases:
        raise LandmarkError(f"found no case. Expected {source.layout}")
    wanted = [*source.training, *source.testing]
    report: dict[str, list[str]] = {"converted": [], "missing": [], "left_out": []}
    report["left_out"] = [f"{case}: in neither split" for case in source.cases if case not in set(wanted)]
    with atomic_folder(folder) as unfinished:
        (unfinished / "images").mkdir()
        written: dict[str, Case] = {}
        found = [case for case in wanted if case in source.cases]
        for case in tqdm(found, desc="convert", unit="case", disable=not progress):
            try:
                written[case] = _write_case(unfinished, case, source.cases[case](), source.names)
            except LandmarkError as error:
                report["missing"].append(f"{case}: {error}")
        report["missing"] += [f"{case}: not found" for case in wanted if case not in source.cases]
        if not written:
            raise LandmarkError("no case could be converted:\n" + "\n".join(report["missing"][:20]))
        report["converted"] = list(written)
        training = assign_folds([written[case] for case in source.training if case in written])
        testing = [written[case] for case in source.testing if case in written]
        if not training:
            raise LandmarkError(
                "no case of the training split was found:\n" + "\n".join(report["missing"][:20])
            )
        names, pairs = tuple(source.names), tuple(source.pairs)
        listed = Datalist(unfinished, names, tuple(training), tuple(testing), pairs)
        write_datalist(unfinished / "dataset.json", listed, dataroot=".")
        write_json(unfinished / "conversion.json", report)
        if source.lengths:
            write_json(
                unfinished / "measurements.json", {"lengths": {k: list(v) for k, v in source.lengths.items()}}
            )
    return report


def _copy(image: Path, folder: Path, name: str) -> Path:
    """Copy an image under another name, its suffix kept."""
    copy = folder / f"{name}{image.name[len(case_id(image) or '') :]}"
    shutil.copyfile(present_file(image), copy)
    return copy


def _write_case(folder: Path, case: str, raw: RawCase, names: Sequence[str]) -> Case:
    if isinstance(raw.image, Path):
        image = _copy(raw.image, folder / "images", case)
    elif isinstance(raw.image, Mapping):
        image = folder / "images" / case
        image.mkdir()
        for channel, file in raw.image.items():
            _copy(file, image, channel)
    else:
        array, affine = raw.image
        image = folder / "images" / f"{case}.nii.gz"
        nib.save(nib.Nifti1Image(array, affine), image)
    # Last, so that a case whose image cannot be had leaves no landmarks behind.
    label = folder / "landmarks" / f"{case}.mrk.json"
    write_landmarks(label, raw.landmarks.select(names))
    return Case(case, image, label)
