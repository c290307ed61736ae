# SPDX-License-Identifier: Apache-2.0
"""
Predict very many images on a cluster: listing, reading, networks and writing go on at the same time, and none
runs ahead of the others.

The folder of predictions holds ``cases/NUMBER/CASE.mrk.json``, at most a thousand in each, the table
``predictions.parquet``, ``failed.csv`` where something failed, and ``progress.jsonl``. It has to be one that
all machines see. What is in the table is not made again. While the job runs, ``unfinished`` remembers what
was begun and what became of it (:class:`auto3dlandmark.cluster.case_predictor.CasePredictor`).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import LandmarkError
from ..files import readable_write_errors
from ..inference.batch import write_failed
from ..inference.parallel import Maker
from ..journal import append_record, time_stamp
from .case_predictor import CasePredictor
from .fetching import fetched
from .listing import Listed
from .prediction_table import Done, PredictionTable
from .session import joined

__all__ = ["TABLE", "ClusterReport", "Share", "predict_on_cluster"]

TABLE, PROGRESS, UNFINISHED = "predictions.parquet", "progress.jsonl", "unfinished"
MOST_IN_FOLDER = 1000
SECONDS_TO_KEEP = 30.0  # rows wait so long for others, to be written with them
ROWS_TO_KEEP = 50_000
SECONDS_OF_PROGRESS = 10.0
BLOCK = 8  # images that are asked for together


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
        edited: cases whose points somebody changed, or made, and so are left as they are.
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
    overwrite: bool = False,
    progress: bool = True,
) -> ClusterReport:
    """
    Write the landmarks of each image, and the table of all.

    Args:
        maker: of landmarks; each predictor loads it once.
        folder: of the predictions; may hold earlier ones.
        address: as for :func:`auto3dlandmark.cluster.session.joined`.
        share: of each predictor.
        overwrite: predict again whatever is there.

    Raises:
        LandmarkError: when there is no such cluster, or the folder cannot be written to; never for an image.
    """
    if address.startswith("ray://"):
        raise LandmarkError(
            f"--cluster {address}: Ray's data pipelines do not run through its client. Run this on a machine "
            "of the cluster, with HOST:6379."
        )
    folder = Path(folder).resolve()
    table, report = PredictionTable(folder / TABLE), ClusterReport()
    done, made_by = table.done(), maker.identity
    places = _places(images, done)
    unfinished = folder / UNFINISHED
    with readable_write_errors(folder):
        unfinished.mkdir(parents=True, exist_ok=True)
    if overwrite:
        done = {}
    with joined(address):
        asked = [_asked(one, places[one.case], done.get(one.case), made_by, overwrite) for one in images]
        with _Keeper(table, folder, len(images), report, progress) as keep:
            for row in _rows((maker, str(folder), str(unfinished), uuid.uuid4().hex), asked, share):
                keep.take(row)
    table.tidy()
    shutil.rmtree(unfinished)
    write_failed(folder, report.failed, {one.case: one.image for one in images})
    return report


def _asked(one: Listed, place: str, done: Done | None, made_by: str, overwrite: bool) -> dict[str, Any]:
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
        "overwrite": overwrite,
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
    given: tuple[Any, ...], asked: Sequence[Mapping[str, Any]], share: Share
) -> Iterator[dict[str, Any]]:
    """What became of each image, as it comes."""
    import ray.data as data

    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    size = 1 if any("://" in row["image"] for row in asked) else BLOCK  # contents travel, too
    blocks = max(1, -(-len(asked) // size))
    pool = data.ActorPoolStrategy(min_size=1, max_size=share.most)
    found = (
        data.from_items(list(asked), override_num_blocks=blocks)
        .map(fetched, num_cpus=0.25)
        .map_batches(
            CasePredictor,
            fn_constructor_args=given,
            batch_size=1,
            batch_format="numpy",
            compute=pool,
            num_cpus=share.cpus,
            num_gpus=share.gpus or None,
        )
    )
    yield from found.iter_rows()


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
