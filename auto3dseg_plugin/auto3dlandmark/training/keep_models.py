# SPDX-License-Identifier: Apache-2.0
"""What a training leaves on disk, and how it goes on from there."""

from __future__ import annotations

import math
import os
import time

import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator

from ..bundles.folder import ModelsFolder
from ..errors import LandmarkError
from ..files import write_json
from ..networks.weights import load_weights, save_atomically
from .averaging import WeightAverage, bare_network
from .distributed import rank, world_size
from .schedule import TrainingSchedule
from .stop import StopOnSignal

__all__ = ["KeepModels"]


class KeepModels:
    """
    Keep a training's models on disk, each file whole or not there, and go on from the last checkpoint.

    Of several processes that train together, all read and the first one writes.

    ``checkpoint.pt`` holds all that is needed to go on; ``model_best.pt`` the weights of the best validation;
    ``model.pt`` the weights at the end, which inference uses (picking the best would make the held-out error
    look better than it is); ``validations.json`` the validations so far; ``training.json`` says those and
    how the training ended.

    Args:
        folder: where the files go.
        network: whose weights are kept.
        average: whose weights are kept as the models, while the checkpoint has both; None for ``network``'s
            own.
        optimizer: whose state is kept in the checkpoint.
        schedule: whose state is kept in the checkpoint.
        evaluator: MONAI evaluator; run once more at the end.
        seconds_between: so often a checkpoint is written, in the middle of an epoch too.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: TrainingSchedule,
        evaluator: Evaluator | None = None,
        average: WeightAverage | None = None,
        seconds_between: float = 20.0,
    ) -> None:
        self.models = ModelsFolder(folder)
        self.network, self.optimizer, self.schedule, self.evaluator = (
            bare_network(network),
            optimizer,
            schedule,
            evaluator,
        )
        self.average = WeightAverage(network) if average is None else average
        self.seconds_between = seconds_between
        self.last_saved = time.time()
        self.best_mm = math.inf
        self.history: list[dict[str, float]] = []

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self._resume)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._save_now_and_then)
        engine.add_event_handler(Events.COMPLETED, self._finish)
        StopOnSignal(lambda: self._save(engine), alone=world_size() == 1).attach(engine)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self._validated)

    def _resume(self, engine: Engine) -> None:
        path = self.models.checkpoint
        if not path.exists():
            return
        state = load_weights(path)
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.history = list(state["history"])
            # An epoch that was cut is begun anew; the schedule counts the steps and ends at the right one.
            engine.state.iteration = state["iteration"]
            engine.state.epoch = state["iteration"] // (engine.state.epoch_length or 1)
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise LandmarkError(
                f"{path}: is of another training ({str(error).splitlines()[0]}). Remove it to start from the "
                "beginning."
            ) from error
        self.best_mm = min((entry["mre_mm"] for entry in self.history), default=math.inf)
        engine.logger.info(
            f"Going on from {path}: epoch {engine.state.epoch}, {self.schedule.progress:.0%} done."
        )

    def _save_now_and_then(self, engine: Engine) -> None:
        if rank() == 0 and time.time() - self.last_saved >= self.seconds_between:
            self._save(engine)

    def _save(self, engine: Engine) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
            "iteration": engine.state.iteration,
        }
        save_atomically(state, self.models.checkpoint)
        self.last_saved = time.time()

    def _validated(self, evaluator: Engine) -> None:
        mre_mm = float(next(iter(evaluator.state.metrics.values())))
        self.history.append(
            {"step": self.schedule.steps, "seconds": round(self.schedule.seconds, 1), "mre_mm": mre_mm}
        )
        if mre_mm < self.best_mm:
            self.best_mm = mre_mm
            if rank() == 0:
                save_atomically(self.average.network.state_dict(), self.models.best_weights)
        if rank() == 0:
            write_json(self.models.validations, self._finite())

    def _finish(self, engine: Engine) -> None:
        if rank() == 0:
            save_atomically(self.average.network.state_dict(), self.models.weights)
        validated = bool(self.history) and self.history[-1]["step"] == self.schedule.steps
        if self.evaluator is not None and not validated:
            self.evaluator.run(engine.state.epoch)
        if rank() == 0:
            self._summarise()

    def _finite(self) -> list[dict[str, float]]:
        return [
            {**entry, "mre_mm": round(entry["mre_mm"], 4)}
            for entry in self.history
            if math.isfinite(entry["mre_mm"])
        ]

    def _summarise(self) -> None:
        finite = self._finite()
        summary = {
            "steps": self.schedule.steps,
            "seconds": round(self.schedule.seconds, 1),
            "mre_mm": finite[-1]["mre_mm"] if finite else None,
            "best_mre_mm": min(entry["mre_mm"] for entry in finite) if finite else None,
            "history": finite,
        }
        write_json(self.models.outcome, summary)
        self.models.validations.unlink(missing_ok=True)
        self.models.checkpoint.unlink(missing_ok=True)
