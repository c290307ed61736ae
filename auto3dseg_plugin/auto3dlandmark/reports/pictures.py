# SPDX-License-Identifier: Apache-2.0
"""Pictures of predictions: of the worst ones, and of all where nothing is known to compare them with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.datalist import Case
from ..data.images import case_id, read_image
from ..data.slices import points_tile, three_slices
from ..errors import LandmarkError
from ..evaluation.compare import Evaluation, prediction_of
from ..formats import read_landmarks
from ..landmarks import LandmarkSet
from .html_page import mm_text, png_of, write_page

__all__ = ["worst_pictures", "write_pictures"]

MOST = 200
MOST_WORST = 6
LEAST_VIEW_MM, VIEW = 25.0, 2.0  # from a landmark to a picture's border: at least, and times its error


def write_pictures(
    path: str | os.PathLike, title: str, cases: Sequence[tuple[Path, Path]], advice: str
) -> None:
    """
    Write a page with one slice of each case and all its points, oddest first.

    Args:
        path: an .html file.
        cases: of each an image and its prediction; those that cannot be read are left out.
        advice: a sentence on what to do.
    """
    found = [(image, read_landmarks(prediction)) for image, prediction in cases if prediction.is_file()]
    found.sort(key=lambda one: -_odd(one[1]))
    pictures = []
    for image, landmarks in found[:MOST]:
        try:
            array, affine = read_image(image)
        except LandmarkError:
            continue
        nowhere = np.full_like(landmarks.points, np.nan)
        tile = points_tile(array, affine, landmarks.points, nowhere)
        odd, name = _odd(landmarks), case_id(image) or image.name
        doubt = f"; look at it: {_why(landmarks)}" if odd > 1 else ""
        picture = {"png": png_of(tile), "alt": f"slice of {name} with its landmarks"}
        pictures.append({**picture, "caption": f"{name}: {int(landmarks.present.sum())} points{doubt}"})
    doubtful = sum(_odd(landmarks) > 1 for _, landmarks in found)
    lead = f"{len(found)} images, {doubtful} of them not to be trusted; oddest first"
    lead += f", the first {MOST} of them." if len(found) > MOST else "."
    write_page(path, title, lead, [], [{"title": "All cases", "text": [advice], "pictures": pictures}])


def _odd(landmarks: LandmarkSet) -> float:
    value = np.nan if landmarks.estimates is None else landmarks.estimates.unusual
    return float(value) if np.isfinite(value) else 0.0


def _why(landmarks: LandmarkSet) -> str:
    """The note that most of its points have."""
    notes = [note for note in (landmarks.estimates.notes if landmarks.estimates else ()) if note]
    return max(set(notes), key=notes.count) if notes else "it does not look like the others"


def worst_pictures(
    evaluation: Evaluation, cases: Sequence[Case], predictions: str | os.PathLike
) -> list[dict[str, str]]:
    """
    The largest error of each of the worst cases, in three slices.

    Args:
        evaluation: of these cases.
        cases: annotated, with their images.
        predictions: the folder of their predictions.
    """
    by_id = {case.id: case for case in cases}
    pictures: list[dict[str, str]] = []
    for row in evaluation.per_case():
        case = by_id[row["case"]]
        if row["mre_mm"] is None or len(pictures) == MOST_WORST:
            break
        landmark, error = row["worst_landmark"], row["max_mm"]
        path = prediction_of(predictions, case)
        if path is None:
            continue
        found = read_landmarks(path).select([landmark])
        try:
            image = three_slices(case, landmark, found.points[0], max(LEAST_VIEW_MM, VIEW * error))
        except LandmarkError:
            continue  # an image that has gone since
        pictures.append(
            {
                "png": png_of(image),
                "alt": f"sagittal, coronal and axial slice of {case.id} through {landmark}",
                "caption": f"{case.id}, {landmark}: {mm_text(error)} off; "
                f"mean of the case {mm_text(row['mre_mm'])}",
            }
        )
    return pictures
