# SPDX-License-Identifier: Apache-2.0
"""Stop a training at Ctrl-C or SIGTERM: after the step it is in, with a checkpoint, without a traceback."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from ignite.engine import Engine, Events

__all__ = ["StopOnSignal"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal:
    """
    The first signal ends the training after its step, a second one at once.

    Args:
        save: writes a checkpoint.
        alone: False for one of several processes that train together, which must not stop on its own.
    """

    def __init__(self, save: Callable[[], None], alone: bool = True) -> None:
        self.save, self.alone = save, alone
        self.asked = False
        self.before: dict[int, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Register with a trainer; signals are heard while it runs, in the main thread alone."""
        if not self.alone or threading.current_thread() is not threading.main_thread():
            return
        engine.add_event_handler(Events.STARTED, self._listen)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._stop)
        engine.add_event_handler(Events.COMPLETED, self._leave)
        engine.add_event_handler(Events.TERMINATE, self._leave)

    def _listen(self, engine: Engine) -> None:
        self.before = {number: signal.signal(number, self._hear) for number in SIGNALS}

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def _stop(self, engine: Engine) -> None:
        if self.asked:
            self.save()
            engine.terminate(skip_completed=True)

    def _leave(self, engine: Engine) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}
