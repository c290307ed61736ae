# SPDX-License-Identifier: Apache-2.0
"""Look at a stranger's image in a process of its own: what kills a reader, or takes its memory or minutes,
does so to that process alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from ..errors import LandmarkError

__all__ = ["problems_elsewhere"]

SECONDS = 120.0
BACKGROUND = 19  # niceness: reviewers' requests go first
at_once = threading.Semaphore(2)  # each may take as much memory as the largest image


def problems_elsewhere(path: Path) -> list[str]:
    """
    What is wrong with an image, as :func:`auto3dlandmark.checks.dataset.image_problems` says it.

    Raises:
        LandmarkError: when a reader cannot open it, dies of it, or takes too long.
    """
    command = [sys.executable, "-m", __name__, str(path)]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with at_once:
        try:
            result = subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise LandmarkError(
                f"{path}: takes more than {SECONDS:.0f} seconds to open. Export it again."
            ) from None
    try:
        said: dict[str, list[str]] = json.loads(result.stdout)
    except ValueError:
        raise LandmarkError(f"{path}: cannot be opened as an image. Copy or export it again.") from None
    for sentence in said["refused"]:
        raise LandmarkError(sentence)
    return said["problems"]


def main(path: str) -> None:
    """The process: one line of JSON, nothing when the reader dies."""
    from ..checks.dataset import image_problems
    from ..data.images import read_image

    os.nice(BACKGROUND)
    said: dict[str, list[str]] = {"refused": [], "problems": []}
    try:
        said["problems"] = image_problems(*read_image(path))
    except LandmarkError as error:
        said["refused"] = [str(error)]
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1])
