# SPDX-License-Identifier: Apache-2.0
"""What several processes that train one network together have to agree on. Alone, a process agrees with
itself."""

from __future__ import annotations

import torch
import torch.distributed as dist
from monai.data import partition_dataset
from monai.utils.dist import get_dist_device

__all__ = ["agreed", "begin", "rank", "shard_for_testing", "shard_for_training", "world_size"]


def rank() -> int:
    """The number of this process; 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def begin() -> None:
    """Join the processes torchrun has started: over NCCL on GPUs, over gloo on CPUs."""
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def agreed(value: float) -> float:
    """The value that process 0 has."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=get_dist_device())
    dist.broadcast(shared, src=0)
    return float(shared.item())


def shard_for_training(items: list[dict[str, str]], seed: int = 0) -> list[dict[str, str]]:
    """
    This process's part of the cases to train on; all parts have the same size, so a few cases may be in two.
    """
    if not dist.is_initialized():
        return items
    parts = partition_dataset(
        items, num_partitions=dist.get_world_size(), shuffle=True, seed=seed, even_divisible=True
    )
    return list(parts[rank()])


def shard_for_testing(items: list[dict[str, str]]) -> list[dict[str, str]]:
    """
    This process's part of the cases to test on; every case is in exactly one part.

    A process for which none is left gets a case without landmarks, which no metric counts: all processes have
    to take part when a metric is gathered.
    """
    if not dist.is_initialized():
        return items
    return items[rank() :: dist.get_world_size()] or [{**items[0], "label": ""}]
