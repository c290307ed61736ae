# SPDX-License-Identifier: Apache-2.0
"""The schedule of a training: how fast to learn, and when its steps or its minutes are used up."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import psutil
import torch
from ignite.engine import Engine, Events

from ..errors import LandmarkError
from .distributed import agreed

__all__ = ["TrainingSchedule"]


class TrainingSchedule:
    """
    Set the learning rate at each step, and end the training when its steps or its minutes are used up.

    Progress is the share of the steps, or of the minutes, whichever is further: the earlier end counts. Time
    is that since the process started, all earlier runs of the same training included, less what the last
    validation will take. So the rate always reaches its end, whatever a step costs.

    Args:
        optimizer: its present learning rates are the highest ones.
        total_steps: steps of the whole training; None: the minutes say when it ends.
        minutes: wall clock time of the whole training; None: the steps say when it ends.
        power: the rate falls as (1 - progress) ** power.
        drop: progress, and what the rate is multiplied by from there on, such as (0.8, 0.1); None: no drop.
        warmup_steps: the rate rises linearly over this many steps first.
        clip_norm: gradients are scaled down to this norm; None leaves them.
        evaluator: its duration is measured, to leave room for it at the end.
        started: when the clock started, in seconds since the epoch; left out, when this process started.
        shown: the progress is written into this tensor of one number before each step, for transforms in
            other processes to read; None: nobody reads it.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        total_steps: int | None,
        minutes: float | None = None,
        power: float = 0.9,
        drop: Sequence[float] | None = None,
        warmup_steps: int = 0,
        clip_norm: float | None = 12.0,
        evaluator: Engine | None = None,
        started: float | None = None,
        shown: torch.Tensor | None = None,
    ) -> None:
        if minutes is not None and not minutes > 0:
            raise LandmarkError(f"minutes={minutes} must be greater than 0.")
        if minutes is None and total_steps is None:
            raise LandmarkError("the training has no end. Set epochs, minutes, or both.")
        self.optimizer, self.total_steps, self.minutes = optimizer, total_steps, minutes
        self.drop, self.shown = drop, shown
        self.power, self.warmup_steps = power, warmup_steps
        self.top_rates = [group["lr"] for group in optimizer.param_groups]
        self.earlier_seconds = 0.0
        self.validation_seconds = 0.0
        self.steps = 0
        self.started = psutil.Process().create_time() if started is None else started
        if clip_norm is not None:
            optimizer.register_step_pre_hook(partial(_clip, clip_norm))
        if evaluator is not None:
            evaluator.add_event_handler(Events.STARTED, self._validation_started)
            evaluator.add_event_handler(Events.COMPLETED, self._validation_ended)

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._set_rate)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._stop_when_done)

    @property
    def seconds(self) -> float:
        """Wall clock time spent on this training, in all its runs."""
        return self.earlier_seconds + time.time() - self.started

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0 to 1."""
        of_steps = 0.0 if self.total_steps is None else self.steps / self.total_steps
        return min(1.0, max(of_steps, self._share_of_time()))

    def _share_of_time(self) -> float:
        if self.minutes is None:
            return 0.0
        return self.seconds / max(60 * self.minutes - 1.2 * self.validation_seconds, 1.0)

    def seconds_left(self) -> float:
        """How long the training is going to go on; infinity before its first step."""
        ends = [math.inf]
        if self.minutes is not None:
            ends.append(max(0.0, 60 * self.minutes - self.seconds))
        if self.total_steps is not None and self.steps > 0:
            ends.append(self.seconds / self.steps * max(0, self.total_steps - self.steps))
        return min(ends)

    def state_dict(self) -> dict[str, Any]:
        """What a restarted training needs to go on along the same schedule."""
        return {"seconds": self.seconds, "steps": self.steps, "validation_seconds": self.validation_seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict` of an earlier run."""
        self.earlier_seconds, self.steps = state["seconds"], state["steps"]
        self.validation_seconds = state["validation_seconds"]

    def _set_rate(self, engine: Engine) -> None:
        progress = self._agreed_progress()
        if self.shown is not None:
            self.shown.fill_(progress)
        factor = (1 - progress) ** self.power
        if self.drop is not None and progress >= self.drop[0]:
            factor *= self.drop[1]
        if self.steps < self.warmup_steps:
            factor *= (self.steps + 1) / self.warmup_steps
        for group, top in zip(self.optimizer.param_groups, self.top_rates):
            group["lr"] = top * factor

    def _stop_when_done(self, engine: Engine) -> None:
        self.steps += 1
        state = engine.state
        last = state.epoch == state.max_epochs and state.iteration % (state.epoch_length or 1) == 0
        if self._agreed_progress() >= 1 and not last:  # the last epoch ends by itself
            engine.terminate()

    def _agreed_progress(self) -> float:
        """Clocks differ between processes; steps do not."""
        return self.progress if self.minutes is None else agreed(self.progress)

    def _validation_started(self, engine: Engine) -> None:
        self._validation_start = time.time()

    def _validation_ended(self, engine: Engine) -> None:
        # The first validation also fills the cache, so only the latest one counts.
        self.validation_seconds = time.time() - self._validation_start


def _clip(norm: float, optimizer: torch.optim.Optimizer, *unused: Any) -> None:
    """Scale each group's gradients down to a norm, before the optimizer uses them."""
    for group in optimizer.param_groups:
        torch.nn.utils.clip_grad_norm_(group["params"], norm)
