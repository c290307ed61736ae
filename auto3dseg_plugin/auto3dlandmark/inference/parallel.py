# SPDX-License-Identifier: Apache-2.0
"""Predict images one after the other, or several at a time in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from ..bundles.folder import BundleFolder, weights_digest
from ..errors import readable_error
from ..files import digest, files_digest
from ..landmarks import LandmarkSet
from .plausibility import size_warnings
from .predictor import LandmarkPredictor

__all__ = ["BundleMaker", "Maker", "Outcome", "predict_each"]

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


class Maker(Protocol):
    """
    What makes landmarks of images; it is sent to other processes, and loads what it needs there.

    Args:
        identity: what decides its predictions, as a short name.
    """

    @property
    def identity(self) -> str: ...

    def load(self) -> Callable[[Path], Outcome]:
        """
        What predicts an image, and never raises because of one.

        Raises:
            LandmarkError: when it cannot be loaded.
        """


@dataclass(frozen=True)
class BundleMaker:
    """
    Trained bundles.

    Args:
        bundles, device, trust, posterior, tta: as for :class:`LandmarkPredictor`.
    """

    bundles: Sequence[str | os.PathLike]
    device: str | None = None
    trust: bool = False
    posterior: str | None = None
    tta: bool = False

    @property
    def identity(self) -> str:
        """It changes with the weights, the configs, what held-out cases said, and the options."""
        given = [BundleFolder(bundle) for bundle in self.bundles]
        shapes = files_digest(bundle.models.shape for bundle in given)
        configs = [bundle.read_config("inference") for bundle in given]
        return digest([weights_digest(given), configs, shapes, self.posterior, self.tta])

    def load(self) -> Callable[[Path], Outcome]:
        """As :class:`Maker` says."""
        predictor = LandmarkPredictor(self.bundles, self.device, self.trust, self.posterior, self.tta)
        plan = BundleFolder(self.bundles[0]).known_plan()

        def predict(image: Path) -> Outcome:
            warnings: tuple[str, ...] = ()
            try:
                if plan is not None:
                    held = predictor.holds_heatmaps
                    warnings = tuple(size_warnings(image, plan, holds_heatmaps=held))
                return Outcome(predictor.predict(image), warnings)
            except Exception as error:  # whatever a reader or a network says of an image it cannot take
                return Outcome(None, warnings, str(readable_error(error, f"{image}: cannot be predicted")))

        return predict


def predict_each(images: Sequence[Path], maker: Maker, jobs: int = 1) -> Iterator[tuple[int, Outcome]]:
    """
    Predict images; each is given as soon as it is done, by its number in ``images``.

    Args:
        maker: is loaded once in each process.
        jobs: processes, each with its share of the cores.

    Raises:
        LandmarkError: when the maker cannot be loaded; never for an image, even one that a process dies of.
    """
    predict = maker.load()
    if jobs == 1 or len(images) == 1:
        for number, image in enumerate(images):
            yield number, predict(image)
        return
    del predict  # it said here what would be said in every process
    left = list(range(len(images)))
    while left:
        died = []
        for number, outcome in _in_processes(images, left, maker, jobs):
            if outcome is None:
                died.append(number)
            else:
                left.remove(number)
                yield number, outcome
        for number in died:  # one of them is why: each gets a process that nothing else is lost with
            left.remove(number)
            (outcome,) = (one for _, one in _in_processes(images, [number], maker, 1))
            yield number, outcome or Outcome(None, (), f"{images[number]}: {DIED}")


def _in_processes(
    images: Sequence[Path], numbers: Sequence[int], maker: Maker, jobs: int
) -> Iterator[tuple[int, Outcome | None]]:
    """Outcomes until a process dies: None for those images that were being predicted then."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    spawn = multiprocessing.get_context("spawn")  # threads and GPUs do not survive a fork
    waiting, running = list(numbers), dict[Future[Outcome], int]()
    pool = ProcessPoolExecutor(jobs, spawn, _begin, (maker, threads))
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


_made: Callable[[Path], Outcome] | None = None


def _begin(maker: Maker, threads: int) -> None:
    global _made
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for this one
    torch.set_num_threads(threads)
    _made = maker.load()


def _predict(image: Path) -> Outcome:
    assert _made is not None
    return _made(image)
