# SPDX-License-Identifier: Apache-2.0
"""Predict images one after the other, or several at a time in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..bundles.folder import BundleFolder
from ..errors import readable_error
from ..landmarks import LandmarkSet
from .plausibility import size_warnings
from .predictor import LandmarkPredictor

__all__ = ["Outcome", "predict_each"]

DIED = "the process that predicted it died, perhaps for want of memory. Predict it alone, with --jobs 1."


@dataclass(frozen=True)
class Outcome:
    """
    What became of an image.

    Args:
        landmarks: None where there is no prediction.
        warnings: what is odd about it, in sentences.
        failed: why there is no prediction.
    """

    landmarks: LandmarkSet | None
    warnings: tuple[str, ...] = ()
    failed: str | None = None


class _Worker:
    """A predictor, and the plan its bundle was made by."""

    def __init__(self, bundles: Sequence[str | os.PathLike], options: dict[str, Any]) -> None:
        self.predictor = LandmarkPredictor(bundles, **options)
        self.plan = BundleFolder(bundles[0]).known_plan()

    def predict(self, image: Path) -> Outcome:
        warnings: tuple[str, ...] = ()
        try:
            if self.plan is not None:
                held = self.predictor.holds_heatmaps
                warnings = tuple(size_warnings(image, self.plan, holds_heatmaps=held))
            return Outcome(self.predictor.predict(image), warnings)
        except Exception as error:  # whatever a reader or a network says of an image it cannot take
            return Outcome(None, warnings, str(readable_error(error, f"{image}: cannot be predicted")))


def predict_each(
    images: Sequence[Path], bundles: Sequence[str | os.PathLike], jobs: int = 1, **options: Any
) -> Iterator[tuple[int, Outcome]]:
    """
    Predict images; each is given as soon as it is done, by its number in ``images``.

    Args:
        bundles, options: as for :class:`LandmarkPredictor`.
        jobs: processes, each with networks of its own and its share of the cores.

    Raises:
        LandmarkError: when a bundle cannot be used; never for an image, even one that a process dies of.
    """
    if jobs == 1 or len(images) == 1:
        worker = _Worker(bundles, options)
        for number, image in enumerate(images):
            yield number, worker.predict(image)
        return
    _Worker(bundles, options)  # says here what would be said in every process
    left = list(range(len(images)))
    while left:
        died = []
        for number, outcome in _in_processes(images, left, bundles, jobs, options):
            if outcome is None:
                died.append(number)
            else:
                left.remove(number)
                yield number, outcome
        for number in died:  # one of them is why: each gets a process that nothing else is lost with
            left.remove(number)
            (outcome,) = (one for _, one in _in_processes(images, [number], bundles, 1, options))
            yield number, outcome or Outcome(None, (), f"{images[number]}: {DIED}")


def _in_processes(
    images: Sequence[Path],
    numbers: Sequence[int],
    bundles: Sequence[str | os.PathLike],
    jobs: int,
    options: dict[str, Any],
) -> Iterator[tuple[int, Outcome | None]]:
    """Outcomes until a process dies: None for those images that were being predicted then."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    spawn = multiprocessing.get_context("spawn")  # threads and GPUs do not survive a fork
    waiting, running = list(numbers), dict[Future[Outcome], int]()
    pool = ProcessPoolExecutor(jobs, spawn, _begin, (list(bundles), options, threads))
    try:
        while waiting or running:
            while waiting and len(running) < jobs:  # no more, so that few are lost with a process
                number = waiting.pop(0)
                running[pool.submit(_predict, images[number])] = number
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                outcome = future.result()
                yield running.pop(future), outcome
    except BrokenProcessPool:
        yield from ((number, None) for number in running.values())
    finally:
        pool.shutdown(cancel_futures=True)


_worker: _Worker | None = None


def _begin(bundles: Sequence[str | os.PathLike], options: dict[str, Any], threads: int) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for this one
    torch.set_num_threads(threads)
    _worker = _Worker(bundles, options)


def _predict(image: Path) -> Outcome:
    assert _worker is not None
    return _worker.predict(image)
