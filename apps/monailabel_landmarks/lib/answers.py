# SPDX-License-Identifier: Apache-2.0
"""Answers as JSON that tell nothing about the folders of this machine, whatever a sentence or a log holds."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastapi.responses import JSONResponse
from monailabel.interfaces.utils.app import app_instance

import auto3dlandmark

__all__ = ["Answer", "without_folders"]

# A path from the root on, as far as it can be told from other text; its last name stays.
PATH = re.compile(r"(?<![\w/:.~-])/(?:[^\s/'\"<>|]+/)+(?=[^\s/'\"<>|])")


class Answer(JSONResponse):
    """Every JSON answer of the server but those that hold a reviewer's own words."""

    def render(self, content: Any) -> bytes:
        body: bytes = super().render(without_folders(content, _roots()))
        return body


def without_folders(content: Any, roots: Iterable[Path]) -> Any:
    """
    Content in which every absolute path is its last part alone.

    Args:
        content: plain JSON.
        roots: folders whose names may hold spaces; paths inside them keep what comes after the folder.
    """
    folders = sorted({str(root) for root in roots} - {"/"}, key=len, reverse=True)

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {cleaned(key): cleaned(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [cleaned(one) for one in value]
        if not isinstance(value, str) or "/" not in value:
            return value
        for folder in folders:
            value = value.replace(f"{folder}/", "").replace(folder, Path(folder).name)
        return PATH.sub("", value)

    return cleaned(content)


def _roots() -> list[Path]:
    """Where this server's files lie."""
    app = app_instance()
    bundles = [bundle.parent for bundle in app.model.given]
    libraries = [Path(sys.prefix), Path(sys.base_prefix), Path(auto3dlandmark.__file__).parents[1]]
    here = [app.store.studies, app.model.folder, Path(app.app_dir), Path(tempfile.gettempdir()), Path.home()]
    return [*here, *bundles, *libraries, *(folder.resolve() for folder in (*here, *bundles))]
