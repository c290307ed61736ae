# SPDX-License-Identifier: Apache-2.0
"""Join a Ray cluster, or start one of this machine alone."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import LandmarkError

__all__ = ["checked_address", "joined"]

HERE = "auto"
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
            f"--cluster {address}: is no address, such as head:6379 or ray://head:10001. Put --cluster last, "
            "or write --cluster auto, to start one here."
        )
    if importlib.util.find_spec("ray") is None:
        raise LandmarkError("Ray is not installed. Run: pip install 'auto3dlandmark[cluster]'")
    return address


@contextmanager
def joined(address: str) -> Iterator[Any]:
    """
    A connection to a cluster while the block runs; gives the module ``ray``.

    Args:
        address: ``auto`` starts Ray on this machine, and ends it afterwards; ``ray://HOST:10001`` or
            ``HOST:6379`` joins one that runs.

    Raises:
        LandmarkError: when nothing answers there.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    mine = not ray.is_initialized()
    if mine:
        try:
            ray.init(
                address=None if address == HERE else address,
                include_dashboard=False if address == HERE else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise LandmarkError(
                f"--cluster {address}: no Ray cluster answers there. Start one by 'ray start --head', or "
                "leave the address out."
            ) from error
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()
