# SPDX-License-Identifier: Apache-2.0
"""Seconds per training step, and the share of data, forward, target with loss, and backward.

    python tests/benchmarks/step_time.py                                  # small, 45 landmarks, 64 x 64 x 64,
    batch 2 python tests/benchmarks/step_time.py --plan WORK/plan.json --recipe nnlandmark_2026

"Target and loss" holds the making of the target, the loss and its gradient to the logits; "backward" is the
network's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import fire
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose

from auto3dlandmark import templates_path
from auto3dlandmark.files import read_json
from auto3dlandmark.inferers.autocast import AutocastInferer
from auto3dlandmark.planning.nnunet_rules import configure
from auto3dlandmark.planning.plan import read_plan
from auto3dlandmark.planning.presets import PRESETS, network_def
from auto3dlandmark.planning.recipes import override, read_recipe
from auto3dlandmark.transforms import PrepareHeatmapBatch, VoxelLandmarksd

PARTS = ("data", "forward", "target and loss", "backward", "optimiser")


def config_of(
    plan: str | None, network: str, recipe: str, landmarks: int, patch: Sequence[int], batch: int
) -> dict:
    """train.json's values for a plan, or for a network at a given patch."""
    config = read_json(f"{templates_path()}/heatmap/configs/train.json")
    if plan is None:
        wide = configure(PRESETS[network], np.ones(3), np.array(patch, dtype=float), 1000, landmarks, 1e6)
        built = network_def(PRESETS[network], wide.strides, wide.kernel_sizes, landmarks)
        config |= {"network_def": built, "patch_size": list(patch), "batch_size": batch}
        config["landmark_names"] = [f"landmark {number}" for number in range(landmarks)]
    else:
        made = read_plan(plan)
        config |= {
            key: getattr(made, key) for key in ("network_def", "patch_size", "batch_size", "thick_axis")
        }
        config["landmark_names"] = list(made.landmark_names)
    for part in read_recipe(recipe, config):
        config = override(config, part)
    return config


def main(
    plan: str | None = None,
    network: str = "small",
    recipe: str = "quick",
    landmarks: int = 45,
    patch: Sequence[int] = (64, 64, 64),
    batch: int = 2,
    steps: int = 10,
) -> None:
    """
    Print the table.

    Args:
        plan: a plan.json; left out, ``network`` at ``patch``, ``batch`` and ``landmarks``.
        network: a preset.
        recipe: as for ``auto3dlandmark run``.
        steps: measured, after three to warm up.
    """
    parser = ConfigParser(config_of(plan, network, recipe, landmarks, patch, batch))
    device: torch.device = parser.get_parsed_content("device")
    net = parser.get_parsed_content("network").train()
    loss, optimizer = parser.get_parsed_content("loss"), parser.get_parsed_content("optimizer")
    prepare = PrepareHeatmapBatch(parser.get_parsed_content("target"))
    augment = Compose(
        [
            parser.get_parsed_content("random_patch"),
            *parser.get_parsed_content("augmentation"),
            VoxelLandmarksd("landmarks"),
        ],
        lazy=True,
    )
    names, size = (
        parser.get_parsed_content("landmark_names"),
        np.array(parser.get_parsed_content("patch_size")),
    )
    shape = np.round(size * 1.3).astype(int)
    case = {
        "image": MetaTensor(torch.randn(1, *shape), affine=torch.eye(4, dtype=torch.float64)),
        "landmarks": torch.rand(len(names), 3, dtype=torch.float64) * torch.tensor(shape),
        "landmarks_status": torch.ones(len(names), dtype=torch.int8),
    }
    inferer = AutocastInferer()
    spent = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, started: float) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        spent[part] += now - started
        return now

    for step in range(steps + 3):
        if step == 3:
            spent.update(dict.fromkeys(PARTS, 0.0))
        clock = time.perf_counter()
        made = [augment(dict(case)) for _ in range(parser.get_parsed_content("batch_size"))]
        keys = ("image", "landmarks_voxel", "landmarks_status")
        collated = {key: torch.stack([torch.as_tensor(one[key]) for one in made]) for key in keys}
        clock = timed("data", clock)
        logits = inferer(collated["image"].to(device), net)
        clock = timed("forward", clock)
        leaf = logits.detach().requires_grad_()
        _, target = prepare(collated, device)
        loss(leaf, target).backward()
        clock = timed("target and loss", clock)
        logits.backward(leaf.grad)
        clock = timed("backward", clock)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        timed("optimiser", clock)
    total = sum(spent.values())
    described = (
        f"{' x '.join(map(str, size))}, batch {len(made)}, {len(names)} landmarks, recipe {recipe}, {device}"
    )
    print(f"{described}: {total / steps:.3f} s per step")
    for part, seconds in spent.items():
        print(f"  {part:<16} {seconds / steps:7.3f} s {100 * seconds / total:5.1f} %")


if __name__ == "__main__":
    fire.Fire(main)
