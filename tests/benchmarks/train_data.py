# SPDX-License-Identifier: Apache-2.0
"""Seconds of a training patch against the size of the images: from the file, and from a store on disk.

    python tests/benchmarks/train_data.py                                           # 40 images of each size
    python tests/benchmarks/train_data.py --sizes "[[128,128,128]]" --cases 4       # to see that it works

Images of noise on the network's grid are prepared by the pipeline that ``auto3dlandmark run`` writes, for the
network ``plain`` and the recipe ``nnlandmark_2026``. Then a consumer takes a batch every 150 ms, as a GPU
would, from processes that only draw patches, since it makes them itself, and from ones that make them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fire
import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, ThreadBuffer
from monai.transforms import Compose

from auto3dlandmark.bundles.fill import copy_template, fill_configs
from auto3dlandmark.bundles.folder import BundleFolder
from auto3dlandmark.formats import write_landmarks
from auto3dlandmark.landmarks import LandmarkSet
from auto3dlandmark.planning.fingerprint import Fingerprint
from auto3dlandmark.planning.planner import make_plan
from auto3dlandmark.training.device_patches import AHEAD, Draw
from auto3dlandmark.training.prepared import PreparedCases

NAMES = tuple(f"landmark {number}" for number in range(25))
GPU_BATCH_S = 0.15
COLUMNS = ("voxels", "images", "from the file", "prepare one", "one in store", "draw", "draw and make")
UNITS = ("", "", "s a patch", "s", "MB", "ms a patch", "ms a patch")
ROW = "{:>13}{:>8}{:>15}{:>13}{:>14}{:>12}{:>15}"


def write_dataset(folder: Path, size: Sequence[int], cases: int) -> list[dict[str, str]]:
    """Images of noise, one on disk under many names, with points anywhere."""
    random = np.random.default_rng(0)
    first = folder / "case_000.nii"
    nib.save(nib.Nifti1Image(random.integers(0, 1000, size=size, dtype=np.int16), np.eye(4)), first)
    items = []
    for number in range(cases):
        image, label = folder / f"case_{number:03}.nii", folder / f"case_{number:03}.mrk.json"
        if number:
            os.link(first, image)
        write_landmarks(
            label, LandmarkSet(NAMES, random.uniform(0, 1, (len(NAMES), 3)) * (np.array(size) - 1))
        )
        items.append({"image": str(image), "label": str(label)})
    return items


def config_for(
    folder: Path, size: Sequence[int], cases: int, network: str = "plain", recipe: str = "nnlandmark_2026"
) -> ConfigParser:
    """The train.json of a bundle for these images."""
    statistics = {"mean": 500.0, "std": 290.0, "percentile_00_5": 5.0, "percentile_99_5": 995.0}
    fingerprint = Fingerprint(
        modalities=("MRI",),
        landmark_names=NAMES,
        cases=tuple(f"case_{number:03}" for number in range(cases)),
        shapes=(tuple(size),) * cases,
        shapes_after_crop=(tuple(size),) * cases,
        spacings=((1.0, 1.0, 1.0),) * cases,
        median_relative_size_after_crop=1.0,
        intensity=(statistics,),
        presence={name: {"present": cases, "absent": 0, "unknown": 0} for name in NAMES},
        nearest_landmark_mm=dict.fromkeys(NAMES, 10.0),
        pose_angles_deg=None,
        shape=None,
    )
    copy_template(folder)
    fill_configs(folder, make_plan(fingerprint, network), recipe, {})
    parser = ConfigParser()
    parser.read_config(BundleFolder(folder).config_path("train"))
    parser["device"] = "$torch.device('cpu')"
    return parser


def seconds(work: Callable[[int], Any], times: int) -> float:
    """Of one call on one core, the mean of several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    began = time.perf_counter()
    for number in range(times):
        work(number)
    torch.set_num_threads(threads)
    return (time.perf_counter() - began) / times


def waiting(dataset: Dataset, batch: int, workers: int, batches: int, ahead: bool) -> tuple[float, float]:
    """
    Share of the time that a consumer waits that works for 150 ms a batch, and batches a second without.

    Args:
        ahead: a thread takes batches before they are asked for, as where a device makes patches.
    """
    found = []
    for work_s in (GPU_BATCH_S, 0.0):
        loader = DataLoader(dataset, batch_size=batch, shuffle=True, num_workers=workers, collate_fn=list)
        stream = iter(ThreadBuffer(loader, buffer_size=AHEAD) if ahead else loader)
        next(stream)  # processes start
        began, waited, taken = time.perf_counter(), 0.0, 0
        for _ in range(batches):
            asked = time.perf_counter()
            if next(stream, None) is None:
                break
            waited += time.perf_counter() - asked
            taken += 1
            time.sleep(work_s)
        total = time.perf_counter() - began
        found.append(waited / total if work_s else taken / total)
        del stream
    return found[0], found[1]


def measure(size: Sequence[int], cases: int, workers: int, batches: int, place: Path) -> list[str]:
    """A row of the table, and what a consumer says."""
    items = write_dataset(place, size, cases)
    parser = config_for(place / "bundle", size, cases)
    pipeline: Compose = parser.get_parsed_content("train#preprocessing")
    batch = int(parser.get_parsed_content("batch_size"))
    from_file = seconds(lambda number: pipeline(dict(items[number % cases])), 2)
    began = time.perf_counter()
    stored = PreparedCases(items, pipeline, place / "store")
    filling = (time.perf_counter() - began) / cases
    one_mb = sum(file.stat().st_size for file in (place / "store").glob("*.b2nd")) / cases / 1e6
    prepare, patch, *_ = stored.transform.transforms
    making = stored.transform
    drawing = Compose([prepare, Draw(patch)])
    times = []
    for steps in (drawing, making):
        stored.transform = steps
        times.append(1e3 * seconds(lambda number: stored[number % cases], 20))
    by = "x".join(map(str, size))
    figures = (f"{from_file:.2f}", f"{filling:.2f}", f"{one_mb:.0f}", f"{times[0]:.0f}", f"{times[1]:.0f}")
    said = [ROW.format(by, cases, *figures)]
    for steps, what in ((drawing, "made by the consumer"), (making, "made by the processes")):
        stored.transform = steps
        many = _many(stored, batch * (batches + 8 * workers))
        share, rate = waiting(many, batch, workers, batches, steps is drawing)
        patch_size = "x".join(map(str, patch.patch_size))
        said.append(
            f"    {workers} processes, batches of {batch} patches of {patch_size} {what}: it waits "
            f"{100 * share:.1f} % of the time; {rate:.1f} batches/s could be taken"
        )
    return said


def _many(dataset: Dataset, count: int) -> torch.utils.data.Dataset:
    """The same cases again and again."""
    return torch.utils.data.Subset(dataset, [number % len(dataset) for number in range(count)])


def main(
    sizes: Sequence[Sequence[int]] = ((128, 128, 128), (250, 250, 166), (400, 400, 300)),
    cases: int = 40,
    workers: int = 2,
    batches: int = 60,
    folder: str | None = None,
) -> None:
    """
    Print the table.

    Args:
        sizes: voxels of the images.
        cases: images of each size.
        workers: processes that make patches ready.
        batches: that the consumer takes.
        folder: where the images lie meanwhile; left out, the system's temporary folder.
    """
    print(f"{os.cpu_count()} cores, torch {torch.__version__}")
    print(ROW.format(*COLUMNS))
    print(ROW.format(*UNITS))
    for size in sizes:
        place = Path(tempfile.mkdtemp(dir=folder))
        try:
            for line in measure(size, cases, workers, batches, place):
                print(line, flush=True)
        finally:
            shutil.rmtree(place)


if __name__ == "__main__":
    fire.Fire(main)
