# SPDX-License-Identifier: Apache-2.0
"""Look at an image, and fetch it where it lies elsewhere; loads no torch, as many processes do it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from ..files import files_digest

__all__ = ["fetched"]


def fetched(asked: Mapping[str, Any]) -> dict[str, Any]:
    """
    What is asked for, and the image's ``digest``; also its ``content`` where it lies elsewhere, or why it
    ``failed``.

    Args:
        asked: ``image`` is a path, or an address that fsspec has a driver for.
    """
    content, failed, image = b"", "", str(asked["image"])
    try:
        if "://" in image:
            import fsspec

            with fsspec.open(image, "rb") as stream:
                content = stream.read()
            digest = hashlib.sha256(content).hexdigest()
        elif os.path.exists(image):
            digest = files_digest([image])
        else:
            digest, failed = "", f"{image}: there is no such file."
    except Exception as error:  # whatever a driver says
        said = (str(error) or type(error).__name__).splitlines()[0]
        digest, failed = "", f"{image}: cannot be fetched ({said})."
    return {**asked, "digest": digest, "content": content, "failed": failed}
