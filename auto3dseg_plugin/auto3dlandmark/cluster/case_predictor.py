# SPDX-License-Identifier: Apache-2.0
"""Predict case after case in a process that may be killed, and whose work is then asked for again."""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LandmarkError
from ..files import write_text
from ..formats import read_landmarks, write_landmarks
from ..inference.batch import EDITED
from ..inference.parallel import Maker, Outcome
from ..journal import checksum_of
from ..landmarks import LandmarkSet

__all__ = ["MOST_ATTEMPTS", "CasePredictor"]

MOST_ATTEMPTS = 3
DIED = f"whatever predicted it died, {MOST_ATTEMPTS} times. Is it much too large?"


class CasePredictor:
    """
    Writes the landmarks of one case after the other.

    Cases come several at a time, and all of them again when one kills the process. So ``unfinished`` has a
    file for each: a dot for each time that it was begun, and then what became of it. What failed is tried
    again by the next job only. A file of points that is neither in the table nor there is somebody's own, and
    stays.

    Args:
        maker: of landmarks, loaded once; what it says instead is what becomes of every case.
        folder: of the predictions.
        unfinished: lies where all machines see it, and is there until the job ends.
        job: a name that no other job has.
    """

    def __init__(self, maker: Maker, folder: str, unfinished: str, job: str) -> None:
        self.made_by, self.folder, self.unfinished = maker.identity, Path(folder), Path(unfinished)
        self.job = job
        self.predict: Callable[[Path], Outcome] | None = None
        self.refused = ""
        if not self.unfinished.is_dir():
            self.refused = (
                f"{folder}: is not there on {socket.gethostname()}. Name a folder that all machines of the "
                "cluster see under the same path."
            )
            return
        try:
            self.predict = maker.load()
        except LandmarkError as error:
            self.refused = str(error)

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """
        What ``became`` of a case: made, kept, edited or failed; and its ``rows`` of the table, as JSON.

        Args:
            batch: a row of what :func:`auto3dlandmark.cluster.fetching.fetched` gives, column by column.
        """
        asked = {key: values[0] for key, values in batch.items()}
        answer = {"case": str(asked["case"]), "became": "", "failed": "", "rows": "[]"}
        answer |= self._answer(asked)
        return {key: np.array([value]) for key, value in answer.items()}

    def _answer(self, asked: Mapping[str, Any]) -> dict[str, str]:
        image, failed = str(asked["image"]), self.refused or str(asked["failed"])
        if failed:
            return {"became": "failed", "failed": failed}
        path, begun = self.folder / str(asked["file"]), self.unfinished / str(asked["file"])
        before = begun.read_text(encoding="utf-8") if begun.is_file() else ""
        file_digest = checksum_of(path.read_bytes()) if path.is_file() else ""
        answer: dict[str, str] = json.loads(before) if before.startswith("{") else {}
        if answer.pop("job", self.job) != self.job:
            before, answer = "", {}
        whose = {"made_by": self.made_by, "digest": str(asked["digest"]), "file_digest": file_digest}
        made = {key: answer.pop(key, "") for key in whose}
        if made == whose:
            return answer
        attempts = 0 if answer else len(before)
        ours = attempts > 0 or asked["overwrite"]
        if not ours and file_digest not in ("", asked["file_digest"], made["file_digest"]):
            return {"became": "edited", "rows": self._rows(asked, read_landmarks(path), 0, EDITED)}
        if file_digest and asked["known"] == asked["digest"]:
            return {"became": "kept"}
        if attempts >= MOST_ATTEMPTS:
            return {"became": "failed", "failed": f"{image}: {DIED}"}
        begun.parent.mkdir(parents=True, exist_ok=True)
        begun.write_text("." * (attempts + 1), encoding="utf-8")
        began = time.perf_counter()
        outcome = self._predicted(asked)
        if outcome.landmarks is None:
            answer = {"became": "failed", "failed": str(outcome.failed)}
            write_text(begun, json.dumps({**answer, **whose, "job": self.job}))
            return answer
        path.parent.mkdir(parents=True, exist_ok=True)
        write_landmarks(path, outcome.landmarks)
        rows = self._rows(asked, outcome.landmarks, time.perf_counter() - began)
        answer = {"became": "made", "rows": rows}
        written = {**whose, "file_digest": checksum_of(path.read_bytes())}
        write_text(begun, json.dumps({**answer, **written}))
        return answer

    def _rows(self, asked: Mapping[str, Any], landmarks: LandmarkSet, seconds: float, note: str = "") -> str:
        """Of the table, one for each landmark."""
        path, known = self.folder / str(asked["file"]), landmarks.estimates
        common = {
            "case": str(asked["case"]),
            "unusual": float("nan") if known is None else float(known.unusual),
            "made_by": self.made_by,
            "image_digest": str(asked["digest"]),
            "file": str(asked["file"]),
            "file_digest": str(asked["file_digest"]) if note else checksum_of(path.read_bytes()),
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

    def _predicted(self, asked: Mapping[str, Any]) -> Outcome:
        image = str(asked["image"])
        assert self.predict is not None
        if "://" not in image:
            return self.predict(Path(image))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / image.split("?")[0].rpartition("/")[2]
            path.write_bytes(asked["content"])
            found = self.predict(path)
            failed = None if found.failed is None else found.failed.replace(str(path), image)
            return Outcome(found.landmarks, found.warnings, failed)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else float(value)
