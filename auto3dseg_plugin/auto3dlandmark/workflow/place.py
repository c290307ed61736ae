# SPDX-License-Identifier: Apache-2.0
"""Where what takes long is done: in this process, or elsewhere, several things at the same time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

__all__ = ["PATIENCE", "Place", "at_once", "call"]

PATIENCE = 60.0  # seconds until processes of a lost machine have let go of a bundle


class Place(Protocol):
    """Where a function of ours is called: on another machine that sees the same folders; gives its result."""

    def __call__(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any: ...


def at_once(tasks: Sequence[Callable[[], None]]) -> None:
    """
    Wait for tasks that only wait for other machines; all of them end before the first error is raised.
    """
    ended: queue.Queue[BaseException | None] = queue.Queue()

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # it is raised where somebody waits
            ended.put(error)
        else:
            ended.put(None)

    for task in tasks:
        threading.Thread(target=run, args=(task,), daemon=True).start()  # Ctrl-C waits for none of them
    errors = [error for error in [ended.get() for _ in tasks] if error is not None]
    if errors:
        raise errors[0]


def call(function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """
    Here, as a :class:`Place`.
    """
    return function(*given, **named)
