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

__all__ = ["joined", "refuse_without_ray"]

HERE = "auto"
# Of the processes that do the work; the values of whoever asks win.
SETTINGS = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
SETTINGS |= {"RAY_USAGE_STATS_ENABLED": "0"}  # nothing is told to anybody


def refuse_without_ray() -> None:
    """
    Raises:
        LandmarkError: when Ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise LandmarkError("Ray is not installed. Run: pip install 'auto3dlandmark[cluster]'")


@contextmanager
def joined(address: str) -> Iterator[Any]:
    """
    A connection to a cluster while the block runs; gives the module ``ray``.

    Args:
        address: ``auto`` starts Ray on this machine, and ends it afterwards; ``ray://HOST:10001`` or
            ``HOST:6379`` joins one that runs.

    Raises:
        LandmarkError: when Ray is not installed, or nothing answers there.
    """
    refuse_without_ray()
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
