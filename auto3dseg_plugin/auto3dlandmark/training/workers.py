# SPDX-License-Identifier: Apache-2.0
"""How many processes make batches while a network learns from them."""

from __future__ import annotations

import os

import torch

__all__ = ["cores", "data_workers"]

MOST = 12  # what one fast GPU can use, see docs/benchmarks.md


def data_workers(device: torch.device | str) -> int:
    """
    One beside a CPU that trains, which has no core to spare; beside a GPU all cores but one, shared by the
    processes that train together.

    Args:
        device: what the network is trained on.
    """
    if torch.device(device).type == "cpu":
        return 1
    return max(1, min(MOST, cores() // int(os.environ.get("WORLD_SIZE", "1")) - 1))


def cores() -> int:
    """
    How many cores this process may use.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
