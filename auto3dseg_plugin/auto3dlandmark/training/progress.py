# SPDX-License-Identifier: Apache-2.0
"""One bar for a whole training."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

from ignite.engine import Engine, Events
from tqdm import tqdm

from ..errors import LandmarkError
from .schedule import TrainingSchedule

__all__ = ["ProgressBar"]

MOST_ASTRAY = 20  # steps in a row without a loss: one or two may come of half precision


class ProgressBar:
    """
    Show one bar for the whole training: share done, time left, loss and the latest validation's MRE; and stop
    a training whose loss is no number any more.

    Args:
        schedule: knows how far the training is.
        evaluator: gives the MRE.
        part: of all that is trained, where this training begins and ends, 0 to 1.
    """

    def __init__(
        self,
        schedule: TrainingSchedule,
        evaluator: Engine | None = None,
        part: Sequence[float] = (0.0, 1.0),
    ) -> None:
        self.schedule = schedule
        self.begin, self.end = part
        self.loss, self.mre_mm, self.astray = math.nan, math.nan, 0
        self.bar: Any = None
        if evaluator is not None:
            evaluator.add_event_handler(Events.COMPLETED, self._validated)

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._update)
        engine.add_event_handler(Events.COMPLETED, self._close)
        engine.add_event_handler(Events.TERMINATE, self._close)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def _open(self, engine: Engine) -> None:
        # A log file gets a line every half minute, a terminal a moving bar.
        self.bar = tqdm(
            total=100,
            initial=100 * self.begin,
            desc=self._name(),
            mininterval=0.5 if sys.stderr.isatty() else 30,
            miniters=0,
            bar_format="{desc}: {n:.0f}%|{bar:20}| {postfix}",
        )

    def _update(self, engine: Engine) -> None:
        output: Any = engine.state.output
        loss = output["loss"].item()
        self.astray = 0 if math.isfinite(loss) else self.astray + 1
        if self.astray == MOST_ASTRAY:
            raise LandmarkError(
                f"the loss has been no number for {MOST_ASTRAY} steps: the training went astray. Start it "
                "again with a lower learning rate (optimizer#lr), in another folder."
            )
        self.loss = loss if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * loss
        self._show()

    def _show(self) -> None:
        left = self.schedule.seconds_left()
        text = f"step {self.schedule.steps}"
        text += "" if math.isnan(self.loss) else f", loss {self.loss:.3f}"
        text += "" if math.isnan(self.mre_mm) else f", MRE {self.mre_mm:.2f} mm"
        text += f", {int(left // 60)}:{int(left % 60):02d} left" if math.isfinite(left) else ""
        self.bar.set_postfix_str(text, refresh=False)
        done = self.begin + (self.end - self.begin) * self.schedule.progress
        self.bar.update(100 * done - self.bar.n)

    def _name(self) -> str:
        if self.begin == 0 and self.end == 1:
            return "train"
        return "train coarse stage" if self.begin == 0 else "train fine stage"

    def _validated(self, evaluator: Engine) -> None:
        self.mre_mm = float(next(iter(evaluator.state.metrics.values())))

    def _close(self, engine: Engine) -> None:
        if self.bar is not None:
            self._show()
            self.bar.close()

    def _fail(self, engine: Engine, error: BaseException) -> None:
        self._close(engine)
        raise error
