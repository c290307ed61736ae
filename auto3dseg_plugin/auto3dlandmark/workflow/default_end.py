# SPDX-License-Identifier: Apache-2.0
"""How long to train on a CPU when nobody says so: long enough to learn, with an end that can be told."""

from __future__ import annotations

import time

import torch
from monai.bundle import ConfigParser

from ..inferers import autocast, autocast_dtype
from ..planning.plan import Plan

__all__ = ["default_minutes"]

STEPS_PER_CASE, FEWEST_STEPS, MOST_STEPS = 15, 600, 2500  # 2500 steps of hippocampus MRI: 1.11 mm
LEAST_MINUTES, MOST_MINUTES = 2.0, 60.0
TIMED_STEPS = 2
BEYOND_THE_NETWORK = 1.3  # patches, target, loss, optimiser and validation, of a step's time


def default_minutes(plan: Plan, cases: int) -> float:
    """
    Minutes for one fold on this machine: steps by the number of cases, timed on the plan's network and patch;
    for two stages together.

    Args:
        plan: what is trained.
        cases: training cases.
    """
    first = 0.0 if plan.coarse is None else default_minutes(plan.coarse, cases)
    steps = min(MOST_STEPS, max(FEWEST_STEPS, STEPS_PER_CASE * cases))
    minutes = steps * _seconds_per_step(plan) * BEYOND_THE_NETWORK / 60
    return round(min(MOST_MINUTES, max(LEAST_MINUTES, minutes)) + first, 1)


def _seconds_per_step(plan: Plan) -> float:
    config = {"imports": ["$import torch"], "landmark_names": list(plan.landmark_names)}
    parser = ConfigParser({**config, "patch_size": list(plan.patch_size), "network_def": plan.network_def})
    network: torch.nn.Module = parser.get_parsed_content("network_def")
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch forgot it
    patch = torch.zeros(plan.batch_size, len(plan.modalities), *plan.patch_size)
    dtype = autocast_dtype("cpu")
    seconds = []
    for _ in range(TIMED_STEPS + 1):  # the first one also allocates
        began = time.perf_counter()
        with autocast("cpu", dtype):
            logits = network(patch)
        logits.float().mean().backward()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])
