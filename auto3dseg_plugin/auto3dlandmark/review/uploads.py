# SPDX-License-Identifier: Apache-2.0
"""Images that somebody sends: under what name they are kept, and whether anything can be done with them."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from ..checks.isolated import problems_elsewhere
from ..data.headers import check_header
from ..data.images import UPLOAD_SUFFIXES, case_id
from ..errors import LandmarkError
from .submission import ReviewError

__all__ = ["check_upload", "new_image"]

PORTS = {f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10)}
RESERVED = {"CON", "PRN", "AUX", "NUL", *PORTS}
NEW_ID = re.compile(r"\w[\w.+ -]*")
MOST_ID_BYTES = 150  # of a file's name, which also gets a suffix and, for a while, a prefix


def new_image(image_id: str | None, file_name: str) -> tuple[str, str]:
    """
    The id and the suffix of an image that is sent.

    Args:
        image_id: left out, the file's name without its suffix.
        file_name: what the file was called where it comes from.

    Raises:
        ReviewError: for another kind of file, or an id that is no name.
    """
    suffix = next((known for known in UPLOAD_SUFFIXES if file_name.lower().endswith(known)), None)
    image_id = image_id or case_id(file_name) or ""
    if suffix is None:
        raise ReviewError(f"{file_name!r} cannot be sent. Send one of {', '.join(UPLOAD_SUFFIXES)}.")
    _refuse_name(image_id)
    short = len(image_id.encode("utf-8", "replace")) <= MOST_ID_BYTES
    if not short or not NEW_ID.fullmatch(image_id) or case_id(image_id + suffix) != image_id:
        raise ReviewError(
            f"{image_id[:50]!r} cannot be the name of an image. Use letters, digits, dots, '_' and '-', "
            f"{MOST_ID_BYTES} of them at most."
        )
    return image_id, suffix


def _refuse_name(image_id: str) -> None:
    """Names that are one on some computers, or none."""
    if unicodedata.normalize("NFC", image_id) != image_id:
        raise ReviewError(
            f"{image_id[:50]!r} can be written in two ways. Rename the file in composed letters."
        )
    if image_id.partition(".")[0].strip().upper() in RESERVED:
        raise ReviewError(f"{image_id[:50]!r} is reserved on Windows. Rename the file.")


def check_upload(path: Path, file_name: str) -> None:
    """
    Whether a file that was sent is an image that landmarks can be found in.

    Args:
        path: where the file is now.
        file_name: what to call it in the sentence.

    Raises:
        ReviewError: when it is not, or its header leads to another file.
    """
    try:
        check_header(path)
        problems = problems_elsewhere(path)
    except LandmarkError as error:
        raise ReviewError(str(error).replace(str(path), file_name)) from error
    if problems:
        raise ReviewError(f"{file_name}: {problems[0]}")
