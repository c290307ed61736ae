# SPDX-License-Identifier: Apache-2.0
"""Do a step of work once: skip it when its output is there and its inputs have not changed.

What each finished step was made from is kept in ``steps.json`` of the work folder. Deleting that file, or an
output, makes steps run again; nothing else depends on it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import LandmarkError
from ..files import digest, read_json, write_json

__all__ = ["WorkRecord"]


class WorkRecord:
    """
    The record of a work folder's steps.

    Args:
        work: the folder.
        say: gets one line per step: done, or kept.
    """

    def __init__(self, work: str | os.PathLike, say: Callable[[str], None] = print) -> None:
        self.path = Path(work) / "steps.json"
        self.say = say
        self.lock = threading.Lock()  # folds may be trained side by side
        self.record: dict[str, Any] = read_json(self.path) if self.path.exists() else {}
        if not isinstance(self.record, dict):
            raise LandmarkError(f"{self.path}: is not a record of steps. Delete it; the steps run again.")

    def once(self, name: str, inputs: Any, outputs: Sequence[Path], action: Callable[[], None]) -> None:
        """
        Run ``action`` unless the step ``name`` was finished with the same inputs and its outputs exist.
        """
        made_from = digest(inputs)
        if self.record.get(name) == made_from and all(output.exists() for output in outputs):
            self.say(f"{name}: unchanged, kept {outputs[0]}")
            return
        self.say(f"{name}: running")
        action()
        self.remember(name, made_from)
        self.say(f"{name}: done, see {outputs[0]}")

    def knows(self, name: str) -> bool:
        """Whether a step was finished, or a value remembered."""
        return name in self.record

    def remember(self, name: str, value: Any) -> None:
        """Remember a value under a name."""
        with self.lock:
            self.record[name] = value
            write_json(self.path, self.record)
