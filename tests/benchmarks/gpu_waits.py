# SPDX-License-Identifier: Apache-2.0
"""How long a GPU waits for its patches while it trains, and what each step of making a patch costs there.

    python tests/benchmarks/gpu_waits.py
    python tests/benchmarks/gpu_waits.py --size 64,64,64 --cases 2 --networks small --batches 3   # on a CPU

Images of noise lie in a store on disk; patches are drawn by as many processes as a bundle takes, made on the
device, and learnt from. Beside it stands the same loop on one batch again and again, which never waits.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fire
import numpy as np
import torch
from monai.transforms import Compose
from train_data import config_for, write_dataset

from auto3dlandmark.inferers.autocast import AutocastInferer
from auto3dlandmark.planning.recipes import default_recipe
from auto3dlandmark.training.device_patches import PatchLoader
from auto3dlandmark.training.prepared import PreparedCases
from auto3dlandmark.training.workers import data_workers
from auto3dlandmark.transforms import PrepareHeatmapBatch

WARM_UP = 10


def loop(batches: Any, step: Callable[[Any], float], count: int) -> tuple[float, float]:
    """Seconds of a step, batch and all, and seconds of it that were waiting for the batch."""
    stream, waited, began = iter(batches), 0.0, 0.0
    for number in range(WARM_UP + count):
        if number == WARM_UP:
            waited, began = 0.0, time.perf_counter()
        asked = time.perf_counter()
        batch = next(stream)
        waited += time.perf_counter() - asked
        step(batch)
    return (time.perf_counter() - began) / count, waited / count


def spent(steps: Sequence[Callable], items: Sequence[Any], device: torch.device) -> list[tuple[str, float]]:
    """Milliseconds that each step took of an item, the mean of many, the first few left out."""
    found = np.zeros((len(items), len(steps)))
    for row, item in zip(found, items):
        for number, step in enumerate(steps):
            began = time.perf_counter()
            item = step(item)
            if device.type == "cuda":
                torch.cuda.synchronize()
            row[number] = 1e3 * (time.perf_counter() - began)
    means = found[min(WARM_UP, len(items) // 2) :].mean(axis=0)
    return [(_name(step), float(mean)) for step, mean in zip(steps, means)]


def _flat(steps: Sequence[Callable]) -> list[Callable]:
    """Steps, without the lists they stand in."""
    return [one for step in steps for one in (_flat(step.transforms) if type(step) is Compose else [step])]


def _name(step: Any) -> str:
    inner = getattr(step, "transform", None)
    name = type(step).__name__ if not hasattr(step, "__name__") else step.__name__
    return name if inner is None else f"{name}({type(inner).__name__})"


def measure(
    folder: Path,
    items: list[dict[str, str]],
    size: Sequence[int],
    network: str,
    recipe: str,
    batches: int,
    device: torch.device,
) -> list[str]:
    """A row of the table, and what the parts of a patch cost."""
    parser = config_for(folder / f"{network}_{recipe}", size, len(items), network, recipe)
    parser["device"] = f"$torch.device('{device}')"
    stored = PreparedCases(
        items, parser.get_parsed_content("train#preprocessing"), folder / "store" / f"{network}_{recipe}"
    )
    batch_size, workers = int(parser.get_parsed_content("batch_size")), data_workers(device)
    many = torch.utils.data.RandomSampler(stored, True, (batches + 2 * WARM_UP) * batch_size)
    loader = PatchLoader(
        stored,
        device,
        True,
        batch_size=batch_size,
        sampler=many,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    net, loss, optimizer = (parser.get_parsed_content(key) for key in ("network", "loss", "optimizer"))
    net.train()
    prepare, inferer = PrepareHeatmapBatch(parser.get_parsed_content("target")), AutocastInferer()

    def step(batch: Any) -> float:
        image, target = prepare(batch, device)
        found = loss(inferer(image, net), target)
        found.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(found.detach())

    fed, waited = loop(loader, step, batches)
    drawn = [stored[number % len(stored)] for number in range(4 * WARM_UP)]
    one = loader.made(drawn[:batch_size])
    alone, _ = loop(iter(lambda: one, None), step, min(batches, 30))
    patch = "x".join(map(str, parser.get_parsed_content("patch_size")))
    moved = [
        {key: value.to(device) if key == "image" else value for key, value in item.items()} for item in drawn
    ]
    parts = spent([loader.patch.finish, *_flat(loader.rest.transforms)], moved, device)
    return [
        f"{network:10}{patch:>15}{batch_size:6}{recipe:>17}{1e3 * alone:8.0f}{1e3 * fed:8.0f}"
        f"{1e3 * waited:8.1f}{100 * waited / fed:7.1f} %{sum(mean for _, mean in parts):10.1f}",
        *(f"    {name:60}{mean:8.2f}" for name, mean in parts if mean >= 0.1),
    ]


def main(
    size: Sequence[int] = (250, 250, 166),
    cases: int = 16,
    networks: Sequence[str] = ("small", "plain", "resenc_m"),
    batches: int = 100,
) -> None:
    """
    Print the table.

    Args:
        size: voxels of the images.
        cases: images.
        networks: presets.
        batches: that are learnt from.
    """
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    card = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    print(f"{card}, {os.cpu_count()} cores, {data_workers(device)} processes draw, torch {torch.__version__}")
    print(
        f"{'network':10}{'patch':>15}{'batch':>6}{'recipe':>17}{'alone':>8}{'fed':>8}{'waits':>8}"
        f"{'':9}{'a patch':>10}   (ms)"
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        items = write_dataset(folder, size, cases)
        for network in (networks,) if isinstance(networks, str) else networks:
            for recipe in dict.fromkeys((default_recipe(network), "quick")):
                for line in measure(folder, items, size, network, recipe, batches, device):
                    print(line, flush=True)


if __name__ == "__main__":
    fire.Fire(main)
