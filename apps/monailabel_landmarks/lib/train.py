# SPDX-License-Identifier: Apache-2.0
"""Training for MONAI Label, which runs it in a process of its own and stops it by killing that."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.async_tasks.utils import processes

from auto3dlandmark.review.retraining import announce, retrain, retraining_status
from auto3dlandmark.review.store import ReviewStore
from auto3dlandmark.review.versions import ServedModel
from auto3dlandmark.workflow.place import Place
from monailabel_landmarks.lib.predictor import end_with

__all__ = ["BACKGROUND", "LandmarkTrainTask"]

BACKGROUND = 10  # niceness: reviewers' requests go first


class LandmarkTrainTask(TrainTask):
    """
    Learns from the reviewed cases; the new model is served only when it is at least as good as the old one.

    Args:
        minutes: of a training, unless a request says otherwise.
        place: makes the place where networks learn, None for this machine.
    """

    def __init__(
        self,
        model: ServedModel,
        store: ReviewStore,
        minutes: float,
        place: Callable[[], Place | None] = lambda: None,
    ) -> None:
        super().__init__(
            "Learns from the reviewed cases and is served when it is at least as good on held-out ones"
        )
        self.model, self.store, self.minutes, self.place = model, store, minutes, place

    def config(self) -> dict[str, Any]:
        return {"minutes": self.minutes}

    def stats(self) -> dict[str, Any]:
        """
        How the running or last training stands, as :func:`auto3dlandmark.review.retraining.retraining_status`
        says it; Slicer's stock module reads ``epoch`` of ``total_epochs``.
        """
        status = retraining_status(self.model)
        if processes("train") and status.get("state") == "stopped":  # its process has not come so far
            return {"state": "starting"}
        if "progress" in status:
            status |= {"epoch": round(100 * status["progress"]), "total_epochs": 100}
        return status

    def announce(self, minutes: float | None) -> None:
        """As :func:`auto3dlandmark.review.retraining.announce`."""
        announce(self.model, self.store, self.minutes if minutes is None else minutes)

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        os.nice(BACKGROUND)
        end_with(os.getppid())
        minutes = float(request.get("minutes") or self.minutes)
        say = partial(print, flush=True)
        return retrain(self.model, self.store, minutes, say=say, place=self.place())
