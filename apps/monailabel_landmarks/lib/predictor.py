# SPDX-License-Identifier: Apache-2.0
"""
The served model, in processes of its own that each look at one image at a time.

A thread that hangs in a file, or computes without end, cannot be ended; a process can. What an image does to
a reader or to the memory happens to that process alone, and the next image gets a new one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from auto3dlandmark.errors import LandmarkError, readable_error
from auto3dlandmark.landmarks import LandmarkSet
from auto3dlandmark.review.submission import ReviewError, refuse_special_file
from auto3dlandmark.review.versions import Served, ServedModel

__all__ = ["AT_ONCE", "Predictor", "Predictors", "end_with"]

logger = logging.getLogger(__name__)

MOST_GB = 8.0  # of memory for one inference
SECONDS_TO_LOAD = 300.0  # the libraries and the weights
SECONDS_TO_OPEN = 60.0
SECONDS_PER_CASE = 900.0
AT_ONCE = 2  # images that are looked at, so that one that takes minutes leaves a way for the others
LOW_PRIORITY = 5  # niceness: requests that only ask go first, trainings last


class Predictors:
    """
    So many processes as images may be looked at at once; the one that was used last comes first.

    Args:
        model: as for each :class:`Predictor`; ``seconds`` too.
    """

    def __init__(self, model: ServedModel, seconds: float = SECONDS_PER_CASE) -> None:
        self.model = model
        self.all = [Predictor(model, seconds) for _ in range(AT_ONCE)]
        self.free: queue.LifoQueue[Predictor] = queue.LifoQueue()
        for predictor in self.all:
            self.free.put(predictor)

    def predict(self, image: str) -> tuple[LandmarkSet, int]:
        """As :meth:`Predictor.predict`, by the first one that is free."""
        predictor = self.free.get()
        try:
            return predictor.predict(image)
        finally:
            self.free.put(predictor)

    def start(self) -> None:
        """Begin the processes, so that nobody has to wait for them later."""
        for predictor in self.all:
            predictor.start()

    def close(self) -> None:
        """End them for good."""
        for predictor in self.all:
            predictor.close()


class Predictor:
    """
    One process.

    Args:
        model: the version that is served at the time of each image is asked.
        seconds: an image may take, once it is opened.
    """

    def __init__(self, model: ServedModel, seconds: float = SECONDS_PER_CASE) -> None:
        self.model, self.seconds = model, seconds
        self.lock = threading.Lock()
        self.process: subprocess.Popen | None = None
        self.pipe: Connection | None = None
        self.closed = False

    def start(self) -> Connection:
        """The way to the process, which is begun when there is none; it needs not be ready yet."""
        if self.closed:
            raise ReviewError("the server is ending. Nothing is lost: try again later.", 503)
        if self.pipe is None or self.process is None or self.process.poll() is not None:
            self.pipe, theirs = Pipe()
            command = [sys.executable, "-m", __name__, str(theirs.fileno()), str(os.getpid())]
            environment = {**os.environ, "PYTHONSAFEPATH": "1"}
            self.process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()])
            theirs.close()
            self.pipe.send(self.model)
        return self.pipe

    def predict(self, image: str) -> tuple[LandmarkSet, int]:
        """
        Returns:
            landmarks, and the version that found them.

        Raises:
            LandmarkError: when the image cannot be used; a ReviewError with 504 when it takes too long, with
                503 when the server is ending.
        """
        refuse_special_file(Path(image))
        name = Path(image).name
        with self.lock:
            try:
                pipe = self.start()
                pipe.send(image)
                self._answer(pipe, SECONDS_TO_LOAD, "the model takes too long to load. Try again later.")
                self._answer(pipe, SECONDS_TO_OPEN, f"{name}: cannot be opened in time. Copy it again.")
                said = f"{name}: takes more than {self.seconds:.0f} s, the most for one case. Crop it."
                found: tuple[LandmarkSet, int] = self._answer(pipe, self.seconds, said)
                return found
            except (EOFError, OSError) as error:
                self.stop()
                if self.closed:
                    self.start()  # says that the server is ending
                raise ReviewError(f"{name}: the model died of it. Is the image much too large?") from error

    def _answer(self, pipe: Connection, seconds: float, too_late: str) -> Any:
        if not pipe.poll(seconds):
            self.stop()
            raise ReviewError(too_late, 504)
        answer = pipe.recv()
        if isinstance(answer, LandmarkError):
            raise answer
        return answer

    def stop(self) -> None:
        """End the process, whatever it does; the next image gets a new one."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = self.pipe = None

    def close(self) -> None:
        """End the process for good; also while a thread waits for its answer, which is then an error."""
        self.closed = True
        if self.process is not None:
            self.process.kill()


def end_with(parent: int) -> None:
    """Leave no process behind a parent that was killed, whatever this one is doing."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def serve_pipe(pipe: Connection) -> None:
    """
    Take a model from a pipe, and then paths of images; answer each in three steps: loaded, opened, and what
    was found.
    """
    from auto3dlandmark.review.answering import Answering, answering

    model: ServedModel = pipe.recv()
    loaded: tuple[Served, Answering] | None = None
    while True:
        image = Path(pipe.recv())
        try:
            served = model.current()
            if loaded is None or loaded[0] != served:
                loaded = served, answering(model, served)
            pipe.send("loaded")
            loaded[1].refuse_too_large(image, MOST_GB)  # before one image takes all there is
            pipe.send("opened")
            pipe.send((loaded[1].predict(image), served.version))
        except LandmarkError as error:
            pipe.send(error)
        except Exception as error:  # whatever a network says of an image it cannot take
            logger.exception("inference of %s failed", image)
            pipe.send(readable_error(error, f"{image.name}: the model cannot look at this image"))


def main(pipe: str, parent: str) -> None:
    """The process: until the other end of the pipe is closed, or its parent is gone."""
    logging.basicConfig(level=logging.WARNING)
    end_with(int(parent))
    os.nice(LOW_PRIORITY)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        serve_pipe(Connection(int(pipe)))


if __name__ == "__main__":
    main(*sys.argv[1:])
