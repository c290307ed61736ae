# SPDX-License-Identifier: Apache-2.0
"""Where networks learn: tasks of a Ray cluster that see the same folders as this machine.

``WORK/cluster`` has a file for each task, which says where it runs; ``WORK/trainings.csv``, made anew while
they run, is the table of all.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..bundles.folder import BundleFolder
from ..errors import LandmarkError
from ..files import read_json, write_json, write_rows
from ..journal import time_stamp
from .session import checked_address, join

__all__ = ["ClusterPlace", "cluster_place"]

FOLDER, TABLE = "cluster", "trainings.csv"
MOST_LOSSES = 3  # of a machine, for each task
SECONDS = 5.0  # between two looks at what runs
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


class ClusterPlace:
    """
    Calls functions on a cluster, as a :class:`auto3dlandmark.workflow.place.Place`.

    A task whose machine is lost begins again on another one; a training goes on from its last checkpoint.

    Args:
        work: the work folder; all machines see it under the same path, and the data and this package, too.
        address: as for :func:`auto3dlandmark.cluster.session.join`.
        cpus: cores of each task.
        gpus: of each task; a part of one is allowed.
        say: gets a line when a task begins or ends.

    Raises:
        LandmarkError: when nothing answers there.
    """

    def __init__(
        self,
        work: str | os.PathLike,
        address: str = "auto",
        cpus: float = 1,
        gpus: float = 0,
        say: Callable[[str], None] = tqdm.write,
    ) -> None:
        self.work, self.say = Path(work).resolve(), say
        self.resources = {"num_cpus": cpus, "num_gpus": gpus}
        self.ray = join(address)
        self.folder = self.work / FOLDER
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.rows: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def __call__(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """
        Call a function with paths and settings on some machine, and wait for what it gives: nothing, or what
        JSON can hold.

        Raises:
            LandmarkError: when it raises one there, or machines were lost too often.
        """
        name = self._name(function, given)
        note = self.folder / f"{uuid.uuid4().hex}.json"
        with self.lock:
            self.rows[name] = {"task": name, "note": note, "bundle": _bundle(given), "state": WAITING}
        task = self.ray.remote(_called).options(max_retries=MOST_LOSSES, **self.resources)
        state = FAILED
        try:
            result = self.ray.get(task.remote(str(note), str(self.folder), function, given, named))
            state = DONE
            return result
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from None
        except self.ray.exceptions.RayError as error:
            raise LandmarkError(
                f"{name}: the machine it ran on was lost {MOST_LOSSES + 1} times, or the cluster is gone "
                f"({str(error).splitlines()[0]}). Run the same command again: it goes on."
            ) from error
        finally:
            with self.lock:
                self.rows[name]["state"] = state
            self._look()

    def _name(self, function: Callable[..., Any], given: tuple[Any, ...]) -> str:
        """What a task does, and to which bundle."""
        bundle = _bundle(given)
        where = "" if bundle is None else f" {os.path.relpath(bundle, self.work)}"
        return f"{function.__name__.partition('_')[0]}{where}"

    def _watch(self) -> None:
        while True:
            time.sleep(SECONDS)
            self._look()

    def _look(self) -> None:
        """Say what changed, and write the table."""
        with self.lock:
            for row in self.rows.values():
                note = read_json(row["note"]) if row["note"].exists() else {}
                if row["state"] == WAITING and note:
                    row["state"] = RUNNING
                told = " ".join([row["state"], *([f"on {note['machine']}"] if note else [])])
                if told != row.get("told"):
                    row["told"] = told
                    self.say(f"{row['task']}: {told}")
                row["machine"], row["since"] = note.get("machine", ""), note.get("since", "")
                row["begun"] = note.get("begun", 0)
                course = _course(row["bundle"])
                row["step"], row["mre_mm"] = (
                    (course[-1]["step"], course[-1]["mre_mm"]) if course else ("", "")
                )
            columns = ("task", "state", "machine", "since", "begun", "step", "mre_mm")
            rows = [{key: row[key] for key in columns} for row in self.rows.values()]
            if rows:
                write_rows(self.work / TABLE, rows)


def cluster_place(
    work: str | os.PathLike, cluster: str | bool | None, cpus: float, gpus: float
) -> ClusterPlace | None:
    """
    What --cluster asks for; None without it.

    Raises:
        LandmarkError: when Ray is not installed, nothing answers at that address, or the rest makes no sense.
    """
    if not cluster:
        if (cpus, gpus) != (1, 0):
            raise LandmarkError("--cpus-per-training and --gpus-per-training are for --cluster. Add it.")
        return None
    if cpus <= 0 or gpus < 0:
        raise LandmarkError(
            "--cpus-per-training must be greater than 0, and --gpus-per-training not below it."
        )
    return ClusterPlace(work, checked_address(cluster), cpus, gpus)


def _bundle(given: tuple[Any, ...]) -> Path | None:
    """The bundle that a task is about: the first path among what it is given, or in a list there."""
    for one in given:
        for path in one if isinstance(one, list) else [one]:
            if isinstance(path, str | os.PathLike) and (Path(path) / "configs").is_dir():
                return Path(path)
    return None


def _course(bundle: Path | None) -> list[dict[str, float]]:
    return [] if bundle is None else BundleFolder(bundle).models.course()


def _called(
    note: str, folder: str, function: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any]
) -> Any:
    """On the other machine: call it, unless it has ended and only its answer was lost."""
    if not os.path.isdir(folder):
        raise LandmarkError(
            f"{folder}: is not there on {socket.gethostname()}. The work folder, the data and the package "
            "have to lie where all machines of the cluster see them under the same path."
        )
    before = read_json(note) if os.path.exists(note) else {"begun": 0}
    if before.get("ended"):
        return before["result"]
    here = {"machine": socket.gethostname(), "process": os.getpid(), "since": time_stamp()}
    write_json(note, {**here, "begun": before["begun"] + 1})
    result = function(*given, **named)
    write_json(note, {**here, "begun": before["begun"] + 1, "ended": time_stamp(), "result": result})
    return result
