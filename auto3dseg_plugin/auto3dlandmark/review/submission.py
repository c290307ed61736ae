# SPDX-License-Identifier: Apache-2.0
"""What a reviewer hands in: accepted as it is, byte by byte, or refused with a sentence that she can act
on."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..checks.dataset import NEAR_VOXELS
from ..data.images import read_geometry
from ..errors import LandmarkError
from ..files import unique_keys
from ..formats import read_landmarks
from ..formats.markups import POINT_LISTS
from ..geometry import voxels_outside, world_to_voxel
from ..landmarks import UNKNOWN, LandmarkSet, some_names

__all__ = [
    "MOST_BYTES",
    "ReviewError",
    "check_plain",
    "check_submission",
    "parse_parameters",
    "refuse_special_file",
]

MOST_BYTES = 10 * 2**20
WRITTEN_BY_HAND = 10_000  # characters of parameters


class ReviewError(LandmarkError):
    """
    A request that cannot be served.

    Args:
        message: a sentence for the person who made it.
        status: of HTTP: 404 not there, 409 in conflict with what is there, 413 too large, 422 not acceptable.
    """

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


def check_submission(content: bytes, names: Sequence[str], image: Path | None = None) -> LandmarkSet:
    """
    Whether a file is a full set of landmarks of a model, on its image.

    Args:
        content: a ``.mrk.json`` file.
        names: the model's landmarks; a file must list them all, in any order, and no others.
        image: where the points must lie, up to a few voxels; None: anywhere.

    Raises:
        ReviewError: with the landmark and what is wrong with it.
    """
    if len(content) > MOST_BYTES:
        raise ReviewError(f"the file has {len(content)} bytes, more than any list of landmarks.", 413)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "submitted.mrk.json"
        path.write_bytes(content)
        try:
            landmarks = read_landmarks(path)
            _refuse_other_markups(json.loads(content))
        except (LandmarkError, ValueError, RecursionError) as error:
            raise ReviewError(str(error).replace(str(path), "the submitted file")) from error
    lacking = [name for name in names if name not in landmarks.names]
    extra = [name for name in landmarks.names if name not in names]
    if lacking or extra:
        wrong = (
            f"lacks {some_names(lacking)}"
            if lacking
            else f"has {some_names(extra)}, which the model does not know"
        )
        raise ReviewError(
            f"the submitted file {wrong}. List every landmark of the model; leave one that was not placed "
            "without a "
            "position. ROI boxes and segments are not landmarks: use the module LandmarkReview."
        )
    odd = [float(score) for score in landmarks.scores if not (np.isnan(score) or 0 <= score <= 1)]
    if odd:
        raise ReviewError(f"the submitted file has the score {odd[0]:g}. Scores lie between 0 and 1.")
    if (landmarks.status == UNKNOWN).all():
        raise ReviewError("the submitted file has neither a placed landmark nor one that is marked absent.")
    if image is not None:
        refuse_special_file(image)
        _refuse_far_points(landmarks, image)
    return landmarks


def refuse_special_file(image: Path) -> None:
    """
    Stop at a pipe, a socket or a device: whoever opens it may wait for ever.

    Raises:
        ReviewError: when an image is neither a file nor a folder.
    """
    if not image.is_file() and not image.is_dir():
        raise ReviewError(f"{image.name}: is no regular file. Replace it by the image itself.")


def _refuse_other_markups(document: Any) -> None:
    kinds = {node.get("type", POINT_LISTS[0]) for node in document["markups"]} - {POINT_LISTS[0]}
    if kinds:
        raise ReviewError(
            f"the submitted file holds a markup of type {sorted(kinds)[0]!r}, not a point list."
        )


def _refuse_far_points(landmarks: LandmarkSet, image: Path) -> None:
    shape, affine = read_geometry(image)
    present = np.flatnonzero(landmarks.present)
    outside = voxels_outside(world_to_voxel(landmarks.points[present], affine), shape)
    if len(present) and outside.max() > NEAR_VOXELS:
        worst = int(np.argmax(outside))
        name = landmarks.names[present[worst]]
        raise ReviewError(
            f"{name!r} lies {outside[worst]:.3g} voxels outside the image {image.name}. Was it placed on "
            "another image?"
        )


def parse_parameters(text: str | None) -> dict[str, Any]:
    """
    The JSON object that comes with a request; numbers that JSON does not know (NaN) are refused.

    Raises:
        ReviewError: when it is something else.
    """
    if not text:
        return {}
    if len(text) > WRITTEN_BY_HAND:
        raise ReviewError("the parameters are longer than any request needs.", 413)

    def refuse(constant: str) -> None:
        raise ReviewError(f"the parameters hold {constant}, which JSON does not know.")

    try:
        found = json.loads(text, parse_constant=refuse, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise ReviewError(f"the parameters are not valid JSON ({error}).") from error
    if not isinstance(found, Mapping):
        raise ReviewError("the parameters must be a JSON object.")
    return dict(found)


def check_plain(values: Mapping[str, Any] | None) -> None:
    """
    Whether values can be kept as JSON.

    Raises:
        ReviewError: when they cannot; NaN is no JSON.
    """
    try:
        text = json.dumps(values, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise ReviewError(f"the parameters cannot be kept as JSON ({error}).") from error
    if len(text) > WRITTEN_BY_HAND:
        raise ReviewError("the parameters are longer than any request needs.", 413)
