# SPDX-License-Identifier: Apache-2.0
"""Which case a reviewer gets next, and the scores it is chosen by."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy

from auto3dlandmark.review.choice import RANKED_BY, STRATEGIES, next_case
from auto3dlandmark.review.store import ReviewStore
from auto3dlandmark.review.versions import ServedModel
from auto3dlandmark.review.waiting import predict_waiting
from auto3dlandmark.workflow.place import Place
from monailabel_landmarks.lib.predictor import end_with
from monailabel_landmarks.lib.train import BACKGROUND

__all__ = ["ChoiceStrategy", "UncertaintyScoring"]


class ChoiceStrategy(Strategy):
    """One of :data:`auto3dlandmark.review.choice.STRATEGIES`."""

    def __init__(self, name: str, model: ServedModel, store: ReviewStore) -> None:
        super().__init__(f"Gives {STRATEGIES[name]}")
        self.name, self.model, self.store = name, model, store

    def _waiting(self) -> list[str]:
        reviewed = set(self.store.labelled())
        return [image for image in self.store.images() if image not in reviewed]

    def lacks_scores(self) -> bool:
        """Whether it chooses by scores, and a waiting case has none of the served version."""
        if self.name not in RANKED_BY:
            return False
        notes, version = self.store.notes(), self.model.current().version
        return any(notes.get(image, {}).get("version") != version for image in self._waiting())

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any] | None:
        now, client = time.time(), str(request.get("client_id") or "")
        besides, version = str(request.get("besides") or ""), self.model.current().version
        waiting = [image for image in self._waiting() if image != besides]
        image = next_case(waiting, self.store.notes(), self.name, client, now, version)
        if image is None:
            return None
        if not besides:  # else it is only asked what would come
            self.store.note(image, given={"to": client, "at": now})
        return {"id": image}


class UncertaintyScoring(ScoringMethod):
    """
    Predicts the waiting cases in a process of its own and notes how sure the model is.

    Args:
        place: makes the place where networks predict, None for this machine.
    """

    def __init__(
        self, model: ServedModel, store: ReviewStore, place: Callable[[], Place | None] = lambda: None
    ) -> None:
        super().__init__(
            "Confidence of the least certain landmark, and how far the folds' networks differ in mm"
        )
        self.model, self.store, self.place = model, store, place

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        os.nice(BACKGROUND)
        end_with(os.getppid())
        return predict_waiting(self.model, self.store, place=self.place())
