# SPDX-License-Identifier: Apache-2.0
"""Join a Ray cluster, or start one of this machine alone."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import LandmarkError

__all__ = ["checked_address", "join", "joined"]

HERE = "auto"
SECONDS_TO_ANSWER = 10
# Of the processes that do the work; the values of whoever asks win.
SETTINGS = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
SETTINGS |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}  # nothing is told to anybody


def checked_address(typed: str | bool) -> str:
    """
    Where a cluster is, before any work.

    Args:
        typed: True for ``auto``.

    Raises:
        LandmarkError: when it is no address, or Ray is not installed.
    """
    address = HERE if typed is True else str(typed)
    if address != HERE and ":" not in address:
        raise LandmarkError(
            f"--cluster {address}: is no address, such as head:6379. Put --cluster last, "
            "or write --cluster auto, to start one here."
        )
    if importlib.util.find_spec("ray") is None:
        raise LandmarkError("Ray is not installed. Run: pip install 'auto3dlandmark[cluster]'")
    return address


def join(address: str) -> Any:
    """
    Connect this process to a cluster, unless it is connected; gives the module ``ray``.

    Args:
        address: ``auto`` starts Ray on this machine, for as long as this process lives; ``HOST:6379`` joins
            one that runs; for trainings alone also ``ray://HOST:10001``.

    Raises:
        LandmarkError: when nothing answers there.
    """
    ray = _ray()
    if not ray.is_initialized():
        try:
            if address != HERE:
                _refuse_silence(address)  # for which Ray would wait for minutes
            with _silent_libraries():
                ray.init(
                    address=None if address == HERE else address,
                    include_dashboard=False if address == HERE else None,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        except (OSError, ValueError, RuntimeError) as error:
            raise LandmarkError(
                f"--cluster {address}: no Ray cluster answers there ({error}). Start one by 'ray start "
                "--head', or leave the address out. One that 'ray start' began asks for its token: set "
                "RAY_AUTH_MODE=token."
            ) from error
    return ray


@contextmanager
def joined(address: str) -> Iterator[Any]:
    """
    As :func:`join`, while the block runs.
    """
    ray = _ray()
    mine = not ray.is_initialized()
    try:
        yield join(address)
    finally:
        if mine:
            ray.shutdown()


def _refuse_silence(address: str) -> None:
    """
    Raises:
        OSError: when nothing listens there.
        ValueError: when it names no port.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()


def _ray() -> Any:
    """The module, which reads settings when it is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    return ray


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """Without what compiled code prints, for whom RAY_BACKEND_LOG_LEVEL is news."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)
