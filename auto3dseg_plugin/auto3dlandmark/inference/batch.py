# SPDX-License-Identifier: Apache-2.0
"""Predict many images: what is there is kept, what somebody edited is never lost, what is broken is named.

The folder of predictions has a file for each case, ``predictions.csv`` with all points, ``failed.csv`` where
something failed, and ``predictions.jsonl``, which remembers what each file was made from.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from ..data.folder import prediction_path
from ..data.images import case_id
from ..errors import LandmarkError
from ..files import files_digest, readable_write_errors, write_rows
from ..formats import SUFFIXES, read_landmarks, write_landmarks
from ..journal import append_record, checksum_of, read_records
from ..landmarks import LandmarkSet
from .parallel import Maker, Outcome, predict_each

__all__ = ["EDITED", "BatchReport", "CaseFiles", "Files", "predict_batch", "write_failed"]

RECORD, TABLE, FAILED = "predictions.jsonl", "predictions.csv", "failed.csv"
EDITED = "edited since, or not made by this bundle"
UNSURE = 0.5  # a point with a lower score is worth a look


class Files(Protocol):
    """How predictions lie in their folder."""

    def paths(self, folder: Path, image: Path) -> tuple[Path, ...]:
        """Where those of an image go; the first one is what is read again."""

    def write(self, path: Path, landmarks: LandmarkSet) -> None:
        """Write one of those."""


@dataclass(frozen=True)
class CaseFiles:
    """
    Files named after the cases, all in one folder.

    Args:
        suffixes: of ``auto3dlandmark.formats.SUFFIXES``.

    Raises:
        LandmarkError: for an unknown one, or none.
    """

    suffixes: Sequence[str] = (".mrk.json",)

    def __post_init__(self) -> None:
        unknown = [suffix for suffix in self.suffixes if suffix not in SUFFIXES]
        if unknown or not self.suffixes:
            raise LandmarkError(
                f"format {''.join(unknown[:1])!r} is unknown. Choose of {', '.join(SUFFIXES)}."
            )

    def paths(self, folder: Path, image: Path) -> tuple[Path, ...]:
        """As :class:`Files` says."""
        return tuple(prediction_path(folder, image, suffix) for suffix in self.suffixes)

    def write(self, path: Path, landmarks: LandmarkSet) -> None:
        """As :class:`Files` says."""
        write_landmarks(path, landmarks)


@dataclass
class BatchReport:
    """
    What became of each case, by id.

    Args:
        made: predicted now.
        kept: made before by the same bundles from the same image.
        edited: changed by somebody since it was made, or made by something else, and so left as it is.
        failed: why there is no prediction.
        unsure: landmarks with a low score, lowest first, of the cases predicted now.
        unusual: cases predicted now that do not look like the training images, by how little they do.
    """

    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unsure: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    unusual: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Case:
    """One image, where its predictions go, and what they are made from."""

    id: str
    image: Path
    paths: tuple[Path, ...]
    made_from: dict[str, Any]

    def is_there(self, earlier: dict[str, Any] | None) -> str | None:
        """``kept`` when the files are as made from this, ``edited`` when they are not ours to replace."""
        present = [path for path in self.paths if path.is_file()]
        if not present:
            return None
        written = {} if earlier is None else earlier.get("files", {})
        if any(written.get(path.name) != checksum_of(path.read_bytes()) for path in present):
            return "edited"
        same = earlier is not None and earlier.get("made_from") == self.made_from
        return "kept" if same and len(present) == len(self.paths) else None


def predict_batch(
    maker: Maker,
    images: Iterable[str | os.PathLike],
    folder: str | os.PathLike,
    files: Files | None = None,
    overwrite: bool = False,
    jobs: int = 1,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> BatchReport:
    """
    Write files with the landmarks of each image, and a table of all of them.

    Args:
        maker: of landmarks, loaded only when there is something to do.
        images: files, or folders that are one image.
        folder: of the predictions; may hold earlier ones.
        files: that are written; left out, ``<folder>/<case>.mrk.json``.
        overwrite: predict again whatever is there.
        jobs: images that are predicted at the same time, in processes of their own.
        say: told about images that are much larger than the training images, before they are predicted.

    Raises:
        LandmarkError: when the maker cannot be loaded, or the folder cannot be written to; never for an
            image.
    """
    if not isinstance(jobs, int) or jobs < 1:
        raise LandmarkError(f"jobs={jobs!r} must be a whole number of processes, 1 or more.")
    folder, report, files = Path(folder), BatchReport(), files or CaseFiles()
    made_by = maker.identity
    cases = [_case(Path(image), folder, files, made_by) for image in images]
    earlier = {entry["case"]: entry for entry in read_records(folder / RECORD) if "case" in entry}
    waiting = []
    for case in cases:
        there = None if overwrite else case.is_there(earlier.get(case.id))
        if there is None:
            waiting.append(case)
        else:
            (report.kept if there == "kept" else report.edited).append(case.id)
    if waiting:
        outcomes = predict_each([case.image for case in waiting], maker, jobs)
        bar = tqdm(outcomes, "predict", len(waiting), unit="image", disable=not progress)
        for number, outcome in bar:
            _note(report, waiting[number], outcome, folder, files, say)
        made = set(report.made)  # in the order of the images, whichever was done first
        report.made = [case.id for case in waiting if case.id in made]
    _write_table(folder, [case for case in cases if case.id not in report.failed], set(report.edited))
    write_failed(folder, report.failed, {case.id: case.image for case in cases})
    return report


def _case(image: Path, folder: Path, files: Files, made_by: str) -> _Case:
    made_from = {"bundles": made_by, "image": files_digest([image])}
    return _Case(case_id(image) or image.name, image, files.paths(folder, image), made_from)


def _note(
    report: BatchReport,
    case: _Case,
    outcome: Outcome,
    folder: Path,
    files: Files,
    say: Callable[[str], None],
) -> None:
    """Write what became of a case, and remember it."""
    for warning in outcome.warnings:
        say(warning)
    landmarks = outcome.landmarks
    if landmarks is None:
        report.failed[case.id] = str(outcome.failed)
        return
    _write(case, landmarks, folder, files)
    report.made.append(case.id)
    report.unsure.update(_unsure(case.id, landmarks))
    if landmarks.estimates is not None and landmarks.estimates.unusual > 1:
        report.unusual[case.id] = landmarks.estimates.unusual


def _write(case: _Case, landmarks: LandmarkSet, folder: Path, files: Files) -> None:
    """Remember the files, then put them there: one that nobody remembers would be taken for edited."""
    with readable_write_errors(case.paths[0]):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing_", dir=folder) as temporary:
            written = {path: Path(temporary) / path.name for path in case.paths}
            for path in written.values():
                files.write(path, landmarks)
            sums = {path.name: checksum_of(path.read_bytes()) for path in written.values()}
            append_record(folder / RECORD, {"case": case.id, "made_from": case.made_from, "files": sums})
            for path, made in written.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(made, path)


def _unsure(case: str, landmarks: LandmarkSet) -> dict[str, list[tuple[str, float]]]:
    low = [
        (name, float(score))
        for name, score, present in zip(landmarks.names, landmarks.scores, landmarks.present)
        if present and score < UNSURE
    ]
    return {case: sorted(low, key=lambda one: one[1])} if low else {}


def _write_table(folder: Path, cases: Iterable[_Case], edited: set[str]) -> None:
    """One row for each case and landmark, in RAS millimetres, as the files are now."""
    rows = []
    for case in cases:
        landmarks = read_landmarks(case.paths[0])
        columns = landmarks.columns()
        if case.id in edited:
            columns["note"] = [EDITED] * len(landmarks)
        rows += [
            {"case": case.id, **dict(zip(columns, map(_cell, values)))} for values in zip(*columns.values())
        ]
    if rows:
        write_rows(folder / TABLE, rows)


def _cell(value: Any) -> str:
    """A number to a tenth of a micrometre, nothing for one that is not known, and text as it is."""
    return value if isinstance(value, str) else "" if np.isnan(value) else f"{value:.4f}"


def write_failed(folder: Path, failed: Mapping[str, str], images: Mapping[str, Any]) -> None:
    """
    Write ``failed.csv``: why cases of this call have no prediction; no file when there are none.

    Args:
        failed: why, by case.
        images: paths or addresses, by case.
    """
    if failed:
        rows = [{"case": case, "image": str(images[case]), "reason": said} for case, said in failed.items()]
        write_rows(folder / FAILED, rows)
    else:
        (folder / FAILED).unlink(missing_ok=True)
