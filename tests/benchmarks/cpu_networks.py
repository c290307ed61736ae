# SPDX-License-Identifier: Apache-2.0
"""Which network learns most in a minute of a CPU: seconds of a step, and with ``--minutes`` held-out errors.

    python tests/benchmarks/cpu_networks.py WORK                 # seconds a step, networks of WORK's plan
    python tests/benchmarks/cpu_networks.py WORK --minutes 8     # trains each of them so long on fold 0

WORK is a work folder after ``run`` with the network ``small``. The networks have the same patch and stages;
what differs is the first stage, where most of the time goes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import fire
import torch
from monai.bundle import ConfigParser

from auto3dlandmark.inferers.autocast import AutocastInferer
from auto3dlandmark.planning.plan import Plan, read_plan
from auto3dlandmark.planning.presets import PRESETS, network_def
from auto3dlandmark.workflow.ablation import ablate, ablation_table
from auto3dlandmark.workflow.work_folder import WorkFolder

STEPS = 8


def variants(plan: Plan) -> dict[str, dict[str, Any]]:
    """Network configs by name, from a plan of the preset ``small``."""
    whole = plan.network_def
    strides, kernels = whole["strides"], whole["kernel_sizes"]
    folded = network_def(PRESETS["folded"], strides, kernels, len(plan.landmark_names), len(plan.modalities))
    stages = len(strides)
    lighter = {
        "n_conv_per_stage": [1] + [2] * (stages - 1),
        "n_conv_per_stage_decoder": [2] * (stages - 2) + [1],
    }
    return {
        "small": whole,
        "folded": folded,
        "first stage half as wide": {**whole, "features_per_stage": [8, *whole["features_per_stage"][1:]]},
        "the same, and of one convolution": {
            **whole,
            "features_per_stage": [8, *whole["features_per_stage"][1:]],
            **lighter,
        },
        "one convolution a stage": {
            **whole,
            "n_conv_per_stage": [1] * stages,
            "n_conv_per_stage_decoder": [1] * (stages - 1),
        },
    }


def seconds_per_step(config: Mapping[str, Any], plan: Plan, dtype: torch.dtype | None) -> float:
    """Forward, a loss that looks at every voxel, and backward."""
    content = {"imports": ["$import torch"], "landmark_names": list(plan.landmark_names)}
    network = ConfigParser({**content, "network_def": dict(config)}).get_parsed_content("network_def")
    network = network.to(memory_format=torch.channels_last_3d)
    patch = torch.randn(plan.batch_size, len(plan.modalities), *plan.patch_size)
    inferer, seconds = AutocastInferer(enabled=dtype is not None), []
    for _ in range(STEPS):
        began = time.perf_counter()
        inferer(patch, network).flatten(2).logsumexp(dim=2).sum().backward()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def main(work: str, minutes: float | None = None, recipe: str = "quick") -> None:
    """
    Print the table.

    Args:
        work: a work folder.
        minutes: train each network so long.
        recipe: how.
    """
    plan = read_plan(WorkFolder(work, say=lambda line: None).plan)
    networks = variants(plan)
    size = " x ".join(map(str, plan.patch_size))
    count, threads = len(plan.landmark_names), torch.get_num_threads()
    print(f"{size}, batch {plan.batch_size}, {count} landmarks, {threads} threads")
    print(f"{'network':36} {'bfloat16':>9} {'float32':>9}  seconds a step")
    for name, config in networks.items():
        times = [seconds_per_step(config, plan, dtype) for dtype in (torch.bfloat16, None)]
        print(f"{name:36} {times[0]:9.3f} {times[1]:9.3f}", flush=True)
    if minutes is not None:
        changes = {name: {"network_def": config} for name, config in networks.items() if name != "small"}
        rows = ablate(WorkFolder(work), {"as it is": {}, **changes}, [0], recipe, minutes=minutes)
        print(ablation_table(rows))


if __name__ == "__main__":
    fire.Fire(main)
