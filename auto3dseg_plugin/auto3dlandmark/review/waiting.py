# SPDX-License-Identifier: Apache-2.0
"""How sure a model is of an image, so that reviewers begin where it is not."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import LandmarkError
from ..formats.markups import markups_bytes
from ..inference.confidence import confidence_of, disagreement_of, expected_gain
from ..inference.predictor import LandmarkPredictor
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
    predictor, found = LandmarkPredictor(served.bundles, trust=True), {}
    for number, image in enumerate(waiting, start=1):
        try:
            path = store.image(image)
            refuse_special_file(path)
            landmarks = predictor.predict(path)
            found[image] = {
                "gain": expected_gain(landmarks),
                "confidence": confidence_of(landmarks),
                "disagreement": disagreement_of(predictor.points_of_each(path)[:, landmarks.present]),
            }
            store.save(image, markups_bytes(landmarks), ORIGINAL)
            store.note(image, version=served.version, **found[image])
            say(f"{number} of {len(waiting)}: {image}: confidence {found[image]['confidence']:.3f}")
        except LandmarkError as error:
            say(f"{number} of {len(waiting)}: {image}: left out: {error}")
            if image in store.images():
                store.note(image, version=served.version, unreadable=True)  # and is not tried again
    return found
