# SPDX-License-Identifier: Apache-2.0
"""Which cases a dataset has, where their files are, and in which fold each is held out.

On disk this is a MONAI datalist (``image``, ``label``, ``fold``), so stock MONAI tools read it too.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import LandmarkError
from ..files import read_json, write_json
from ..formats import read_landmarks
from .annotations import find_pairs
from .folds import Case, assign_folds, read_groups
from .images import case_id
from .mirrored import read_pairs

__all__ = [
    "Case",
    "Datalist",
    "assign_folds",
    "held_out_items",
    "item_weights",
    "read_datalist",
    "scan_folder",
    "training_items",
    "with_taught",
    "write_datalist",
    "write_taught",
]


@dataclass(frozen=True)
class Datalist:
    """
    The cases of a dataset.

    Args:
        root: the folder the paths in the file are relative to.
        landmark_names: in the order of the network's channels.
        training: annotated cases, each in one fold.
        testing: cases never trained on; with or without landmarks.
        left_right_pairs: names of landmarks that mirror each other, where the dataset says so.
        pairing: how images and landmark files were paired, where it was not by equal names; not kept on disk.
    """

    root: Path
    landmark_names: tuple[str, ...]
    training: tuple[Case, ...]
    testing: tuple[Case, ...] = ()
    left_right_pairs: tuple[tuple[str, str], ...] = ()
    pairing: str | None = None

    @property
    def folds(self) -> list[int]:
        """The folds that have at least one case."""
        return sorted({case.fold for case in self.training if case.fold is not None})

    def held_out(self, fold: int | None) -> list[Case]:
        """The cases that fold ``fold`` does not train on; None trains on all."""
        return [] if fold is None else [case for case in self.training if case.fold == fold]


def scan_folder(
    folder: str | os.PathLike,
    landmark_names: Sequence[str] | None = None,
    folds: Mapping[str, int] | None = None,
    landmarks: str | None = None,
) -> Datalist:
    """
    Find the cases of a dataset folder, and give each annotated one a fold.

    The folder has one of the forms of :mod:`auto3dlandmark.data.folder`, or holds a
    ``dataset.json`` in the form of :func:`write_datalist`, which then decides.
    Images without landmarks are left out of the training cases. A file ``groups.csv`` with the columns
    ``case`` and ``group`` says which cases belong together, such as those of one subject, and ``pairs.csv``
    which landmarks mirror each other.

    Args:
        landmark_names: the order to keep; left out, the order of the first case's file.
        folds: of cases that were given one before, by id; they keep it.
        landmarks: which landmark files are meant, as for :func:`auto3dlandmark.data.annotations.read_folder`.

    Raises:
        LandmarkError: when the folder is missing or is none of these, or files do not pair up.
    """
    folder = Path(folder)
    if (folder / "dataset.json").is_file():
        return read_datalist(folder / "dataset.json")
    found = find_pairs(folder, landmarks)
    kept = {} if folds is None else folds
    groups = read_groups(folder / "groups.csv", found.images)
    cases = [
        Case(case, path, found.labels[case], kept.get(case), groups.get(case))
        for case, path in found.images.items()
        if case in found.labels
    ]
    names = _names_of(cases, landmark_names)
    pairs = read_pairs(folder, names)
    return Datalist(folder, names, tuple(assign_folds(cases)), left_right_pairs=pairs, pairing=found.rule)


def _names_of(cases: Sequence[Case], names: Sequence[str] | None) -> tuple[str, ...]:
    """The given names, or those of the first readable file; whether all cases agree is checks.py's
    business."""
    if names is not None:
        return tuple(names)
    found: list[tuple[str, ...]] = []
    for label in [case.label for case in cases if case.label is not None]:
        with contextlib.suppress(LandmarkError):
            found.append(tuple(read_landmarks(label).names))
    counts = Counter(frozenset(names) for names in found)
    return max(found, key=lambda names: counts[frozenset(names)], default=())


def write_datalist(path: str | os.PathLike, datalist: Datalist, dataroot: str | None = None) -> None:
    """
    Write a MONAI datalist; paths inside the dataset's root are relative to it.

    Args:
        dataroot: where the file says the root is; left out, its absolute path.
    """

    def entry(case: Case) -> dict:
        item: dict = {"image": _relative(case.image, datalist.root)}
        if case.label is not None:
            item["label"] = _relative(case.label, datalist.root)
        if case.group is not None:
            item["group"] = case.group
        return item if case.fold is None else {**item, "fold": case.fold}

    content = {
        "dataroot": dataroot or os.path.abspath(datalist.root),
        "landmark_names": list(datalist.landmark_names),
        "training": [entry(case) for case in datalist.training],
        "testing": [entry(case) for case in datalist.testing],
    }
    if datalist.left_right_pairs:
        content["left_right_pairs"] = [list(pair) for pair in datalist.left_right_pairs]
    write_json(path, content)


def _relative(path: Path, root: Path) -> str:
    path, root = Path(os.path.abspath(path)), Path(os.path.abspath(root))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def read_datalist(path: str | os.PathLike, dataroot: str | os.PathLike | None = None) -> Datalist:
    """
    Read a MONAI datalist.

    Args:
        path: the file.
        dataroot: what its paths are relative to; left out, what the file names so, or its own folder.

    Raises:
        LandmarkError: when an entry has no image or label, or two cases share an id.
    """
    path = Path(path)
    content = read_json(path)
    if (
        not isinstance(content, dict)
        or not isinstance(content.get("training"), list)
        or not content["training"]
    ):
        raise LandmarkError(f"{path}: holds no list 'training' of cases with 'image' and 'label'.")
    root = Path(dataroot) if dataroot is not None else path.parent / content.get("dataroot", ".")

    training, testing = (
        [
            _case(item, root, f"{path}: {section} entry {number}", needs_label=section == "training")
            for number, item in enumerate(content.get(section) or [], start=1)
        ]
        for section in ("training", "testing")
    )
    ids = [case.id for case in training + testing]
    repeated = sorted({case for case in ids if ids.count(case) > 1})
    if repeated:
        raise LandmarkError(f"{path}: case {repeated[0]!r} is listed more than once. Keep one entry.")
    names = _names_of(training, content.get("landmark_names"))
    return Datalist(
        root,
        names,
        tuple(assign_folds(training)),
        tuple(replace(case, fold=None) for case in testing),
        _pairs(path, content.get("left_right_pairs", []), names),
    )


def _case(item: object, root: Path, where: str, needs_label: bool) -> Case:
    """One entry of a datalist; ``where`` names it in errors."""
    entry = {"image": item} if isinstance(item, str) else item
    if isinstance(entry, dict) and isinstance(entry.get("image"), list):
        raise LandmarkError(
            f"{where} lists {len(entry['image'])} images. Put the channels of a case into a folder of its "
            "own and name that folder as its 'image'."
        )
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise LandmarkError(f"{where} has no 'image'.")
    image, label, fold, group = (entry.get(key) for key in ("image", "label", "fold", "group"))
    where = f"{where} ({image})"
    if needs_label and not isinstance(label, str):
        raise LandmarkError(f"{where} has no 'label'.")
    if fold is not None and (not isinstance(fold, int) or isinstance(fold, bool)):
        raise LandmarkError(f"{where} has the fold {fold!r}, not a whole number.")
    if group is not None and not isinstance(group, str):
        raise LandmarkError(f"{where} has the group {group!r}, not a name.")
    name = case_id(entry["image"]) or Path(entry["image"]).name
    return Case(name, root / entry["image"], root / label if isinstance(label, str) else None, fold, group)


def _pairs(path: Path, pairs: object, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    known = set(names)
    if not isinstance(pairs, list) or any(
        not isinstance(pair, list)
        or len(pair) != 2
        or len({one for one in pair if isinstance(one, str)} & known) != 2
        for pair in pairs
    ):
        raise LandmarkError(f"{path}: left_right_pairs must be pairs of different names among the landmarks.")
    return tuple((first, second) for first, second in pairs)


def training_items(
    path: str | os.PathLike,
    fold: int | None,
    dataset_dir: str | os.PathLike | None = None,
    taught: str | os.PathLike | None = None,
) -> list[dict[str, Any]]:
    """
    What MONAI's datasets take for training: ``image`` and ``label`` of every case outside ``fold``, and then
    of those that a teacher annotated, which are ``taught``.

    Args:
        path: a datalist file.
        fold: the held-out fold; None: nothing is held out.
        dataset_dir: where the files are now; left out, where the datalist says.
        taught: a file of :func:`write_taught`; None: there are none.
    """
    annotated = _items(
        path, dataset_dir, lambda case: case.fold != fold, f"no case to train on outside fold {fold}"
    )
    return (
        annotated if taught is None else [*annotated, *({**one, "taught": True} for one in read_json(taught))]
    )


def write_taught(path: str | os.PathLike, labels: Mapping[Path, Path]) -> None:
    """
    List cases that a teacher annotated, for :func:`training_items`.

    Args:
        labels: the landmark file of each image.
    """
    write_json(path, [{"image": str(image), "label": str(label)} for image, label in labels.items()])


def with_taught(datalist: Datalist, taught: str | os.PathLike | None) -> Datalist:
    """
    A datalist and the cases that a teacher annotated, which no fold holds out.

    Args:
        taught: as for :func:`training_items`.
    """
    listed = [] if taught is None else read_json(taught)
    images = [Path(one["image"]) for one in listed]
    more = [
        Case(case_id(image) or image.name, image, Path(one["label"]), None)
        for image, one in zip(images, listed)
    ]
    return replace(datalist, training=(*datalist.training, *more))


def item_weights(items: Sequence[Mapping[str, Any]], taught_share: float) -> list[float]:
    """
    How often each of :func:`training_items` is to be drawn, so that those taught are so large a share of all.
    """
    taught = sum(bool(item.get("taught")) for item in items)
    annotated = len(items) - taught
    if not taught or not annotated:
        return [1.0] * len(items)
    each = {True: taught_share / taught, False: (1 - taught_share) / annotated}
    return [each[bool(item.get("taught"))] for item in items]


def held_out_items(
    path: str | os.PathLike, fold: int | None, dataset_dir: str | os.PathLike | None = None
) -> list[dict[str, str]]:
    """
    As :func:`training_items`, for the cases inside ``fold``.
    """
    if fold is None:
        return []
    return _items(path, dataset_dir, lambda case: case.fold == fold, f"no case in fold {fold}")


def _items(
    path: str | os.PathLike,
    dataset_dir: str | os.PathLike | None,
    keep: Callable[[Case], bool],
    complaint: str,
) -> list[dict[str, str]]:
    datalist = read_datalist(path)
    chosen = [case for case in datalist.training if keep(case)]
    if not chosen:
        raise LandmarkError(f"{path}: there is {complaint}. It has the folds {datalist.folds}.")
    root = Path(dataset_dir) if dataset_dir is not None else datalist.root

    def place(file: Path) -> str:
        return str(root / file.relative_to(datalist.root) if file.is_relative_to(datalist.root) else file)

    return [
        {"image": place(case.image), "label": place(case.label)} for case in chosen if case.label is not None
    ]
