# SPDX-License-Identifier: Apache-2.0
"""Open a stranger's image in a process of its own first: what kills a reader must not kill the server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ..errors import LandmarkError

__all__ = ["opened_elsewhere"]

SECONDS = 120.0
CODE = "import sys; from auto3dlandmark.data.images import read_image; read_image(sys.argv[1])"


def opened_elsewhere(path: Path) -> None:
    """
    Stop at a file that a reader cannot open, dies of, or takes too long for.

    Raises:
        LandmarkError: with what to do; the reader's own text is not told.
    """
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    try:
        result = subprocess.run(
            [sys.executable, "-c", CODE, str(path)], env=environment, capture_output=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise LandmarkError(
            f"{path}: takes more than {SECONDS:.0f} seconds to open. Export it again."
        ) from None
    if result.returncode != 0:
        raise LandmarkError(f"{path}: cannot be opened as an image. Copy or export it again.")
