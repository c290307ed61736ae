# SPDX-License-Identifier: Apache-2.0
"""Look at a stranger's image in a process of its own: what kills a reader, or takes its memory or minutes,
does so to that process alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import LandmarkError

__all__ = ["answer_elsewhere", "print_answer", "problems_elsewhere"]

SECONDS = 120.0
BACKGROUND = 19  # niceness: reviewers' requests go first
at_once = threading.Semaphore(2)  # each may take as much memory as the largest image


def answer_elsewhere(module: str, path: Path, *more: str) -> Any:
    """
    What a module of ours says of an image, run in a process of its own.

    Args:
        module: that calls :func:`print_answer`.
        path: of the image, the first word on its command line.
        more: further words.

    Raises:
        LandmarkError: as the module says it; or when the process dies of the image or takes too long.
    """
    command = [sys.executable, "-m", module, str(path), *more]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with at_once:
        try:
            result = subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise LandmarkError(
                f"{path}: takes more than {SECONDS:.0f} seconds to open. Export it again."
            ) from None
    try:
        said: dict[str, Any] = json.loads(result.stdout)
    except ValueError:
        raise LandmarkError(f"{path}: cannot be opened as an image. Copy or export it again.") from None
    if said["refused"] is not None:
        raise LandmarkError(said["refused"])
    return said["answer"]


def print_answer(ask: Callable[[], Any]) -> None:
    """
    Print what :func:`answer_elsewhere` reads: one line of JSON, nothing when the process dies.

    Args:
        ask: gives plain JSON, or raises a LandmarkError.
    """
    try:
        said = {"answer": ask(), "refused": None}
    except LandmarkError as error:
        said = {"answer": None, "refused": str(error)}
    print(json.dumps(said))


def problems_elsewhere(path: Path) -> list[str]:
    """
    What is wrong with an image, as :func:`auto3dlandmark.checks.dataset.image_problems` says it.

    Raises:
        LandmarkError: when a reader cannot open it, dies of it, or takes too long.
    """
    found: list[str] = answer_elsewhere(__name__, path)
    return found


def main(path: str) -> None:
    """The process of :func:`problems_elsewhere`."""
    from ..data.images import read_image
    from .dataset import image_problems

    os.nice(BACKGROUND)
    print_answer(lambda: image_problems(*read_image(path)))


if __name__ == "__main__":
    main(sys.argv[1])
