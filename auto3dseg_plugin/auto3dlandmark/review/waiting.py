# SPDX-License-Identifier: Apache-2.0
"""How sure a model is of an image, so that reviewers begin where it is not."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import LandmarkError
from ..formats.markups import markups_bytes
from ..inference.confidence import confidence_of, expected_gain
from ..workflow.place import Place, at_once
from .answering import Answering, answering
from .store import ORIGINAL, ReviewStore
from .submission import refuse_special_file
from .versions import Served, ServedModel

__all__ = ["look_at", "predict_waiting"]

TOGETHER = 16  # images that one process of a cluster looks at


def predict_waiting(
    model: ServedModel,
    store: ReviewStore,
    say: Callable[[str], None] = print,
    place: Place | None = None,
) -> dict[str, dict[str, float | None]]:
    """
    Predict every image without a reviewed label that the served version has not seen yet; keep the points,
    and how sure it is.

    Args:
        place: where networks predict, ``TOGETHER`` images at a time; left out, here.

    Returns:
        expected gain, confidence and disagreement by image. An image that cannot be read is named and left
        out.
    """
    served = model.current()
    reviewed, notes = set(store.labelled()), store.notes()
    waiting = [
        image
        for image in store.images()
        if image not in reviewed and notes.get(image, {}).get("version") != served.version
    ]
    if not waiting:
        return {}
    found: dict[str, dict[str, float | None]] = {}
    done, lock = itertools.count(1), threading.Lock()

    def keep(image: str, look: Mapping[str, Any]) -> None:
        with lock:
            number = next(done)
            if look["failed"] is not None:
                say(f"{number} of {len(waiting)}: {image}: left out: {look['failed']}")
                if image in store.images():
                    store.note(image, version=served.version, unreadable=True)  # and is not tried again
                return
            found[image] = look["sure"]
            details = {"version": served.version}
            store.save(image, look["points"].encode(), ORIGINAL, details=details)
            store.note(image, **details, **found[image])
            sure = found[image]["confidence"]
            say(f"{number} of {len(waiting)}: {image}" + ("" if sure is None else f": confidence {sure:.3f}"))

    paths: dict[str, Path] = {}
    for image in waiting:
        try:
            paths[image] = store.image(image)
            refuse_special_file(paths[image])
        except LandmarkError as error:
            paths.pop(image, None)
            keep(image, {"failed": str(error)})
    if place is None and paths:
        answers = answering(model, served, compare=True)
        for image, path in paths.items():
            keep(image, _look(answers, path))
    if place is None:
        return found

    def elsewhere(images: Sequence[str]) -> None:
        for image, look in zip(images, place(look_at, model, served, [paths[image] for image in images])):
            keep(image, look)

    parts = [list(paths)[begin : begin + TOGETHER] for begin in range(0, len(paths), TOGETHER)]
    at_once([partial(elsewhere, images) for images in parts])
    return found


def look_at(model: ServedModel, served: Served, images: Sequence[Path]) -> list[dict[str, Any]]:
    """
    What a version makes of images: the ``points`` as a file's text, and how ``sure`` it is; or why it
    ``failed``.
    """
    answers = answering(model, served, compare=True)
    return [_look(answers, image) for image in images]


def _look(answers: Answering, image: Path) -> dict[str, Any]:
    try:
        landmarks = answers.predict(image)
        sure = {
            "gain": expected_gain(landmarks),
            "confidence": confidence_of(landmarks),
            "disagreement": answers.disagreement(image, landmarks),
        }
        return {"points": markups_bytes(landmarks).decode(), "sure": sure, "failed": None}
    except LandmarkError as error:
        return {"failed": str(error)}
