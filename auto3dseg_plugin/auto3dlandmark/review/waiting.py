# SPDX-License-Identifier: Apache-2.0
"""How sure a model is of an image, so that reviewers begin where it is not."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import LandmarkError
from ..formats.markups import markups_bytes
from ..inference.confidence import confidence_of, expected_gain
from .answering import answering
from .store import ORIGINAL, ReviewStore
from .submission import refuse_special_file
from .versions import ServedModel

__all__ = ["predict_waiting"]


def predict_waiting(
    model: ServedModel, store: ReviewStore, say: Callable[[str], None] = print
) -> dict[str, dict[str, float | None]]:
    """
    Predict every image without a reviewed label that the served version has not seen yet; keep the points,
    and how sure it is.

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
    answers, found = answering(model, served, compare=True), {}
    for number, image in enumerate(waiting, start=1):
        try:
            path = store.image(image)
            refuse_special_file(path)
            landmarks = answers.predict(path)
            found[image] = {
                "gain": expected_gain(landmarks),
                "confidence": confidence_of(landmarks),
                "disagreement": answers.disagreement(path, landmarks),
            }
            details = {"version": served.version}
            store.save(image, markups_bytes(landmarks), ORIGINAL, details=details)
            store.note(image, **details, **found[image])
            sure = found[image]["confidence"]
            say(f"{number} of {len(waiting)}: {image}" + ("" if sure is None else f": confidence {sure:.3f}"))
        except LandmarkError as error:
            say(f"{number} of {len(waiting)}: {image}: left out: {error}")
            if image in store.images():
                store.note(image, version=served.version, unreadable=True)  # and is not tried again
    return found
