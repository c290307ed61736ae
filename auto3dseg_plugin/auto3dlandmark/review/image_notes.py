# SPDX-License-Identifier: Apache-2.0
"""What is noted on images, such as scores and who was given which; may be lost at any time without harm."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import LandmarkError
from ..files import read_json, write_json

__all__ = ["change_notes", "read_notes"]


def read_notes(path: Path) -> dict[str, dict[str, Any]]:
    """
    All notes by the image's id; nothing when the file is lost or broken.
    """
    with contextlib.suppress(LandmarkError):
        found = read_json(path)
        if isinstance(found, dict):
            return {key: value for key, value in found.items() if isinstance(value, dict)}
    return {}


def change_notes(path: Path, image_id: str, values: Mapping[str, Any] | None) -> None:
    """
    Add to what is noted on an image, or, with None, drop it. The caller sees to it that nobody else writes.
    """
    notes = read_notes(path)
    if values is None:
        if notes.pop(image_id, None) is None:
            return
    else:
        notes[image_id] = {**notes.get(image_id, {}), **values}
    write_json(path, notes)
