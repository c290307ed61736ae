# SPDX-License-Identifier: Apache-2.0
"""What a GPU makes of a training step, and how many data workers it takes so that it never waits.

    python tests/benchmarks/gpu.py WORK                        # WORK: a folder after "auto3dlandmark analyze"
    python tests/benchmarks/gpu.py WORK --networks small --steps 2      # on a CPU, to see that it works

Each network is planned, and trained on one batch again and again: as trainings are now, with cuDNN choosing
its algorithms, and compiled. Beside it stands what a CPU core needs to make a batch, and what it and the
device need when only the draw is the core's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import fire
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose
from step_time import config_of

from auto3dlandmark.inferers.autocast import AutocastInferer
from auto3dlandmark.planning.fingerprint import read_fingerprint
from auto3dlandmark.planning.plan import write_plan
from auto3dlandmark.planning.planner import make_plan
from auto3dlandmark.planning.recipes import default_recipe
from auto3dlandmark.transforms import PrepareHeatmapBatch, VoxelLandmarksd
from auto3dlandmark.workflow.work_folder import WorkFolder

WARM_UP = 3
HEADER = f"{'network':10}{'patch':>15}{'batch':>6}{'recipe':>17}{'as it is':>10}{'chosen':>8}{'compiled':>10}"
UNITS = f"{'':48}{'ms':>10}{'ms':>8}{'ms':>10}"


@dataclass(frozen=True)
class Making:
    """How a batch of noise is made on one core, or drawn there and made on a device."""

    count: int
    make: Callable[[], dict[str, torch.Tensor]]
    draw: Callable[[], list[dict[str, torch.Tensor]]]
    finish: Callable[[list[dict[str, torch.Tensor]]], None]


def making(parser: ConfigParser, device: torch.device) -> Making:
    """As data workers do it, and as a device does."""
    steps = [
        parser.get_parsed_content("random_patch"),
        *parser.get_parsed_content("augmentation"),
        VoxelLandmarksd("landmarks"),
    ]
    augment = Compose(steps, lazy=True)
    names, size = parser.get_parsed_content("landmark_names"), parser.get_parsed_content("patch_size")
    shape = np.round(np.array(size) * 1.3).astype(int)
    case = {
        "image": MetaTensor(torch.randn(1, *shape), affine=torch.eye(4, dtype=torch.float64)),
        "landmarks": torch.rand(len(names), 3, dtype=torch.float64) * torch.tensor(shape),
        "landmarks_status": torch.ones(len(names), dtype=torch.int8),
    }
    count = int(parser.get_parsed_content("batch_size"))
    patch, rest = steps[0], Compose(steps[1:], lazy=True)

    def make() -> dict[str, torch.Tensor]:
        made = [augment(dict(case)) for _ in range(count)]
        keys = ("image", "landmarks_voxel", "landmarks_status")
        return {key: torch.stack([torch.as_tensor(one[key]) for one in made]) for key in keys}

    def draw() -> list[dict[str, torch.Tensor]]:
        return [patch.draw(case) for _ in range(count)]

    def finish(drawn: list[dict[str, torch.Tensor]]) -> None:
        for one in drawn:
            rest(patch.finish({**one, "image": one["image"].to(device)}))

    return Making(count, make, draw, finish)


def seconds(work: Callable[[], Any], times: int, device: torch.device, warm_up: int = WARM_UP) -> float:
    """Of one call, the mean of several."""
    for _ in range(warm_up):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / times


def measure(plan_path: str, network: str, recipe: str, steps: int, compiled: bool) -> str:
    """A row of the table."""
    parser = ConfigParser(config_of(plan_path, network, recipe, 0, (), 0))
    device: torch.device = parser.get_parsed_content("device")
    net = parser.get_parsed_content("network").train()
    loss, optimizer = parser.get_parsed_content("loss"), parser.get_parsed_content("optimizer")
    prepare = PrepareHeatmapBatch(parser.get_parsed_content("target"))
    batches = making(parser, device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batch_s = seconds(batches.make, 2, torch.device("cpu"), 1)
    draw_s = seconds(batches.draw, 2, torch.device("cpu"), 1)
    torch.set_num_threads(threads)
    drawn = batches.draw()
    finish_s = seconds(lambda: batches.finish(drawn), 10, device)
    batch, inferer = batches.make(), AutocastInferer()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def step(model: torch.nn.Module) -> None:
        image, target = prepare(batch, device)
        loss(inferer(image, model), target).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    found = [seconds(lambda: step(net), steps, device)]
    torch.backends.cudnn.benchmark = True
    found.append(seconds(lambda: step(net), steps, device))
    torch.backends.cudnn.benchmark = False
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else math.nan
    began = time.perf_counter()
    compiling = math.nan
    if compiled:
        fast = torch.compile(net)
        step(fast)
        compiling = time.perf_counter() - began
        found.append(seconds(lambda: step(fast), steps, device))
    else:
        found.append(math.nan)
    patch = "x".join(map(str, parser.get_parsed_content("patch_size")))
    workers = math.ceil(1.05 * batch_s / found[0])
    return (
        f"{network:10}{patch:>15}{batches.count:6}{recipe:>17}{1e3 * found[0]:10.1f}{1e3 * found[1]:8.1f}"
        f"{1e3 * found[2]:10.1f}   {memory:5.1f} GiB; compiling {compiling:.0f} s; a batch takes a core "
        f"{1e3 * batch_s:.0f} ms: {workers} workers; drawn in {1e3 * draw_s:.0f} ms, it takes the device "
        f"{1e3 * finish_s:.0f}"
    )


def main(
    work: str,
    networks: Sequence[str] = ("small", "plain", "resenc_m", "resenc_l"),
    steps: int = 20,
    compiled: bool = True,
) -> None:
    """
    Print the table.

    Args:
        work: a work folder with a fingerprint.
        networks: presets.
        steps: measured, after three to warm up.
        compiled: compile each network, too: a minute each.
    """
    folder = WorkFolder(work, say=lambda line: None)
    fingerprint = read_fingerprint(folder.fingerprint)
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"{card}, torch {torch.__version__}, {len(fingerprint.landmark_names)} landmarks")
    print(HEADER)
    print(UNITS)
    for network in (networks,) if isinstance(networks, str) else networks:
        path = folder.folder / f"plan_{network}.json"
        write_plan(path, make_plan(fingerprint, network))
        for recipe in dict.fromkeys((default_recipe(network), "quick")):
            print(measure(str(path), network, recipe, steps, compiled), flush=True)


if __name__ == "__main__":
    fire.Fire(main)
