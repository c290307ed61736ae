# SPDX-License-Identifier: Apache-2.0
"""
Predict very many images on a cluster: listing, reading, networks and writing go on at the same time, and none
runs ahead of the others.

The folder of predictions holds ``cases/NUMBER/CASE.mrk.json``, at most a thousand in each, the table
``predictions.parquet``, ``failed.csv`` where something failed, and ``progress.jsonl``. It has to be one that
all machines see. What is in the table is not made again; ``attempts-...`` remembers for a while how often
each case was begun, so that an image that kills whatever looks at it is given up.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..files import files_digest, write_rows
from ..formats import read_landmarks, write_landmarks
from ..inference.batch import EDITED
from ..inference.parallel import Maker, Outcome
from ..journal import append_record, checksum_of, time_stamp
from ..landmarks import LandmarkSet
from .listing import Listed
from .prediction_table import Done, PredictionTable
from .session import joined

__all__ = ["ClusterReport", "Share", "predict_on_cluster"]

TABLE, FAILED, PROGRESS, ATTEMPTS = "predictions.parquet", "failed.csv", "progress.jsonl", "attempts-"
MOST_IN_FOLDER = 1000
MOST_ATTEMPTS = 3
SECONDS_TO_KEEP = 30.0  # rows wait so long for others, to be written with them
ROWS_TO_KEEP = 50_000
SECONDS_OF_PROGRESS = 10.0
BLOCK = 8  # images that travel together
DIED = f"whatever predicted it died, {MOST_ATTEMPTS} times. Is it much too large?"


@dataclass(frozen=True)
class Share:
    """
    What a predictor takes of a machine.

    Args:
        cpus: cores.
        gpus: 0 for none; a part of one is allowed.
        most: predictors at the same time; None: as many as the cluster has room for, nodes that join later
            included.
    """

    cpus: float = 1
    gpus: float = 0
    most: int | None = None


@dataclass
class ClusterReport:
    """
    What became of the images.

    Args:
        made: how many were predicted now.
        kept: how many were there already.
        edited: cases whose points somebody changed since they were made, and so are left as they are.
        failed: why there is no prediction, by case.
    """

    made: int = 0
    kept: int = 0
    edited: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def predict_on_cluster(
    maker: Maker,
    images: Sequence[Listed],
    folder: str | os.PathLike,
    address: str = "auto",
    share: Share = Share(),
    progress: bool = True,
) -> ClusterReport:
    """
    Write the landmarks of each image, and the table of all.

    Args:
        maker: of landmarks; each predictor loads it once.
        folder: of the predictions; may hold earlier ones.
        address: as for :func:`auto3dlandmark.cluster.session.joined`.
        share: of each predictor.

    Raises:
        LandmarkError: when there is no such cluster, or the folder cannot be written to; never for an image.
    """
    folder = Path(folder).resolve()
    table, report = PredictionTable(folder / TABLE), ClusterReport()
    done, made_by = table.done(), maker.identity
    places = _places(images, done)
    folder.mkdir(parents=True, exist_ok=True)
    with joined(address):
        asked = [_asked(one, places[one.case], done.get(one.case), made_by) for one in images]
        keep = _Keeper(table, folder, len(images), report, progress)
        with keep, tempfile.TemporaryDirectory(prefix=ATTEMPTS, dir=folder) as attempts:
            for row in _rows(_Predictor, (maker, str(folder), attempts), asked, share):
                keep.take(row)
        table.tidy()
    _write_failed(folder, report, {one.case: one.image for one in images})
    return report


def _asked(one: Listed, place: str, done: Done | None, made_by: str) -> dict[str, str]:
    """
    What a predictor is told of an image: ``known`` is the digest of the image that the points which are there
    are of, when the same bundles made them, and ``file_digest`` what was written then.
    """
    same = done is not None and done.made_by == made_by
    return {
        "case": one.case,
        "image": one.image,
        "file": place,
        "known": done.image_digest if done is not None and same else "",
        "file_digest": "" if done is None else done.file_digest,
    }


def _places(images: Sequence[Listed], done: Mapping[str, Done]) -> dict[str, str]:
    """Where each case's file goes: where it is, or into the first folder that has room."""
    found = {case: one.file for case, one in done.items()}
    room = Counter(Path(file).parent.name for file in found.values())
    number = 0
    for one in images:
        if one.case in found:
            continue
        while room[f"{number:04d}"] >= MOST_IN_FOLDER:
            number += 1
        room[f"{number:04d}"] += 1
        found[one.case] = f"cases/{number:04d}/{one.case}.mrk.json"
    return found


def _rows(
    predictor: type, given: tuple[Any, ...], asked: Sequence[Mapping[str, str]], share: Share
) -> Iterator[dict[str, Any]]:
    """What became of each image, as it comes."""
    import ray.data as data

    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    blocks = max(1, -(-len(asked) // BLOCK))
    pool = data.ActorPoolStrategy(min_size=1, max_size=share.most)
    found = (
        data.from_items(list(asked), override_num_blocks=blocks)
        .map(_fetched, num_cpus=0.25)
        .map_batches(
            predictor,
            fn_constructor_args=given,
            batch_size=1,
            batch_format="numpy",
            compute=pool,
            num_cpus=share.cpus,
            num_gpus=share.gpus or None,
        )
    )
    yield from found.iter_rows()


def _fetched(row: dict[str, Any]) -> dict[str, Any]:
    """An image's digest, and its content where it lies elsewhere."""
    content, failed = b"", ""
    try:
        if "://" in row["image"]:
            import fsspec

            with fsspec.open(row["image"], "rb") as stream:
                content = stream.read()
            digest = hashlib.sha256(content).hexdigest()
        else:
            digest = files_digest([row["image"]])
    except Exception as error:  # whatever a driver says
        said = (str(error) or type(error).__name__).splitlines()[0]
        digest, failed = "", f"{row['image']}: cannot be fetched ({said})."
    return {**row, "digest": digest, "content": content, "failed": failed}


class _Predictor:
    """Predicts one image after the other in a process of its own."""

    def __init__(self, maker: Maker, folder: str, attempts: str) -> None:
        self.predict: Callable[[Path], Outcome] = maker.load()
        self.made_by, self.folder, self.attempts = maker.identity, Path(folder), Path(attempts)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        row = {key: values[0] for key, values in batch.items()}
        answer = {"case": str(row["case"]), "became": "", "failed": "", "rows": "[]", **self.answer(row)}
        return {key: np.array([value]) for key, value in answer.items()}

    def answer(self, row: Mapping[str, Any]) -> dict[str, str]:
        """What ``became`` of an image: ``rows`` of the table, as JSON, or why it ``failed``."""
        if row["failed"]:
            return {"became": "failed", "failed": str(row["failed"])}
        path = self.folder / str(row["file"])
        before = path.read_bytes() if path.is_file() else None
        if before is not None and row["file_digest"] not in ("", checksum_of(before)):
            return {"became": "edited", "rows": self._rows(row, read_landmarks(path), 0, EDITED)}
        if before is not None and row["known"] == row["digest"]:
            return {"became": "kept"}
        attempt = self.attempts / str(row["case"])
        if attempt.exists() and attempt.stat().st_size >= MOST_ATTEMPTS:
            return {"became": "failed", "failed": f"{row['image']}: {DIED}"}
        with open(attempt, "ab") as stream:
            stream.write(b".")
        began = time.perf_counter()
        outcome = self._predicted(row)
        attempt.unlink(missing_ok=True)
        if outcome.landmarks is None:
            return {"became": "failed", "failed": str(outcome.failed)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_landmarks(path, outcome.landmarks)
        return {"became": "made", "rows": self._rows(row, outcome.landmarks, time.perf_counter() - began)}

    def _rows(self, row: Mapping[str, Any], landmarks: LandmarkSet, seconds: float, note: str = "") -> str:
        """Of the table, one for each landmark."""
        path, known = self.folder / str(row["file"]), landmarks.estimates
        common = {
            "case": str(row["case"]),
            "unusual": float("nan") if known is None else float(known.unusual),
            "made_by": self.made_by,
            "image_digest": str(row["digest"]),
            "file": str(row["file"]),
            "file_digest": row["file_digest"] if note else checksum_of(path.read_bytes()),
            "seconds": seconds,
        }
        columns = landmarks.columns()
        if note:
            columns["note"] = [note] * len(landmarks)
        rows = [
            {**{key: _plain(value) for key, value in zip(columns, values)}, **common}
            for values in zip(*columns.values())
        ]
        return json.dumps(rows)

    def _predicted(self, row: Mapping[str, Any]) -> Outcome:
        image = str(row["image"])
        if "://" not in image:
            return self.predict(Path(image))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / image.split("?")[0].rpartition("/")[2]
            path.write_bytes(row["content"])
            found = self.predict(path)
            failed = None if found.failed is None else found.failed.replace(str(path), image)
            return Outcome(found.landmarks, found.warnings, failed)


class _Keeper:
    """Writes what comes, now and then, and tells how far the job is."""

    def __init__(
        self, table: PredictionTable, folder: Path, total: int, report: ClusterReport, progress: bool
    ) -> None:
        self.table, self.folder, self.total, self.report = table, folder, total, report
        self.waiting: list[dict[str, Any]] = []
        self.bar = tqdm(total=total, desc="predict", unit="image", disable=not progress)
        self.began = self.kept_at = self.told_at = time.monotonic()

    def __enter__(self) -> _Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        self._keep()
        self._tell()
        self.bar.close()

    def take(self, row: Mapping[str, Any]) -> None:
        """One image."""
        case, became = str(row["case"]), str(row["became"])
        if became == "failed":
            self.report.failed[case] = str(row["failed"])
        elif became == "edited":
            self.report.edited.append(case)
        else:
            self.report.made += became == "made"
            self.report.kept += became == "kept"
        self.waiting += json.loads(row["rows"])
        self.bar.update()
        now = time.monotonic()
        if now - self.kept_at > SECONDS_TO_KEEP or len(self.waiting) > ROWS_TO_KEEP:
            self._keep()
        if now - self.told_at > SECONDS_OF_PROGRESS:
            self._tell()

    def _keep(self) -> None:
        self.table.add(self.waiting)
        self.waiting, self.kept_at = [], time.monotonic()

    def _tell(self) -> None:
        self.told_at = time.monotonic()
        seconds, failed = self.told_at - self.began, len(self.report.failed)
        done = self.report.made + self.report.kept + len(self.report.edited) + failed
        rate = done / seconds if seconds > 0 else 0.0
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {
            "time": time_stamp(),
            "done": done,
            "of": self.total,
            "kept": self.report.kept,
            "failed": failed,
            "per_second": round(rate, 3),
            "seconds_left": round((self.total - done) / rate) if rate else None,
        }
        append_record(self.folder / PROGRESS, told)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else float(value)


def _write_failed(folder: Path, report: ClusterReport, images: Mapping[str, str]) -> None:
    if report.failed:
        rows = [{"case": case, "image": images[case], "reason": said} for case, said in report.failed.items()]
        write_rows(folder / FAILED, rows)
    else:
        (folder / FAILED).unlink(missing_ok=True)
