# SPDX-License-Identifier: Apache-2.0
"""What a large job takes: seconds an image on this machine, where many machines stop to help, and the bill.

    python tests/benchmarks/scaling.py measure --networks small,resenc_m --processes 1,2,4
    python tests/benchmarks/scaling.py saturate WORK --predictors 2,4,8,12
    python tests/benchmarks/scaling.py bill --seconds 0.9 --images 100000 --price 3

``measure`` predicts made-up scans of two kinds by networks that have learnt nothing, with 45 landmarks, on
the GPU if there is one; ``saturate`` runs ``predict --cluster`` with predictors that only wait.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import fire
import numpy as np

from auto3dlandmark.training.workers import cores

SCANS = {  # voxels, millimetres, type
    "brain MRI": ((256, 256, 256), 1.0, np.int16),
    "body CT": ((512, 512, 600), 0.8, np.int16),
}
LANDMARKS = 45
LATENCY = 0.5  # seconds that a predictor of ``saturate`` waits


def measure(
    networks: Sequence[str] = ("small",),
    processes: Sequence[int] = (1,),
    images: int = 4,
    scans: Sequence[str] = tuple(SCANS),
) -> None:
    """
    Print seconds an image: reading, the rest of what is done before the network, and the network; and images
    per second of several processes that share the machine.
    """
    from predict_size import write_bundle

    print(
        f"{'scan':12}{'network':10}{'read':>7}{'prepare':>9}{'network':>9}{'processes':>11}{'images/s':>10}"
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = {kind: _scan(Path(folder), kind) for kind in _several(scans)}
        for kind, preset in itertools.product(paths, _several(networks)):
            bundle = Path(folder) / preset
            if not bundle.exists():
                write_bundle(bundle, LANDMARKS, 1, preset)
            for count in map(int, _several(processes)):
                found = _together(bundle, paths[kind], images, count)
                read, prepare, network = np.median([one["seconds"] for one in found], axis=0)
                begin, end = (max(one[key] for one in found) for key in ("begin", "end"))
                rate = count * images / (end - begin)
                print(
                    f"{kind:12}{preset:10}{read:7.2f}{prepare:9.2f}{network:9.2f}{count:11}{rate:10.2f}",
                    flush=True,
                )


def _several(given: Sequence[str] | str | int) -> list[str]:
    parts = given.split(",") if isinstance(given, str) else given if isinstance(given, Sequence) else [given]
    return [str(part).strip() for part in parts]


def _scan(folder: Path, kind: str) -> Path:
    """A made-up scan: smooth, with some noise, so that it is compressed about as a real one is."""
    import nibabel as nib
    from scipy.ndimage import zoom

    size, spacing, kind_of = SCANS[kind]
    random = np.random.default_rng(0)
    coarse = random.normal(0, 300, size=[-(-side // 32) + 1 for side in size])
    values = zoom(coarse.astype(np.float32), 32, order=1)[tuple(slice(side) for side in size)]
    for plane in values:  # in place, plane by plane: the whole is large
        plane += random.integers(-15, 15, size=plane.shape)
    path = folder / f"{kind.replace(' ', '_')}.nii.gz"
    nib.save(nib.Nifti1Image(values.astype(kind_of), np.diag([spacing] * 3 + [1.0])), path)
    return path


def _together(bundle: Path, image: Path, images: int, count: int) -> list[dict]:
    call = f"import scaling; scaling.one({str(bundle)!r}, {str(image)!r}, {images})"
    command = [sys.executable, "-c", call]
    here = Path(__file__).parent
    share = {**os.environ, "OMP_NUM_THREADS": str(max(1, cores() // count))}  # as predict --jobs does
    running = [
        subprocess.Popen(command, cwd=here, env=share, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    return [json.loads(one.communicate()[0].splitlines()[-1]) for one in running]


def one(bundle: str, image: str, images: int) -> None:
    """Print the seconds of each step, and when the first image began and the last one ended, as JSON."""
    import nibabel as nib
    import torch

    from auto3dlandmark.inference.predictor import LandmarkPredictor

    predictor = LandmarkPredictor([bundle])
    predictor.predict(image)  # the first one loads libraries, and chooses algorithms
    member, seconds, begin = predictor.members[0], [], time.time()
    for _ in range(images):
        began = time.perf_counter()
        np.asarray(nib.load(image).dataobj)
        read = time.perf_counter()
        member.load(image, None)
        loaded = time.perf_counter()
        predictor.predict(image)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        whole = time.perf_counter() - loaded
        reading, loading = read - began, loaded - read
        seconds.append([reading, loading - reading, whole - loading])
        begin += loaded - began  # these two were only to be timed
    print(json.dumps({"seconds": np.median(seconds, axis=0).tolist(), "begin": begin, "end": time.time()}))


def saturate(
    work: str, predictors: Sequence[int] = (2, 4, 8, 12), latency: float = LATENCY, each: int = 60
) -> None:
    """
    Print images per second of so many predictors that wait ``latency`` seconds for each, beside what they
    would reach if nothing else took time. All of them, the scheduler and the driver share this machine.
    """
    from cluster import SleepingMaker

    from auto3dlandmark.cluster.listing import Listed
    from auto3dlandmark.cluster.predicting import Share, predict_on_cluster

    image = Path(work) / "image"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_text("1")
    print(f"{'predictors':>10}{'images/s':>10}{'at best':>10}")
    for count in map(int, _several(predictors)):
        out = Path(work) / f"with_{count}"
        cases = [Listed(f"case_{number}", str(image)) for number in range(each * count)]
        predict_on_cluster(SleepingMaker(latency), cases, out, share=Share(0.1, 0, count), progress=False)
        ended = np.sort([path.stat().st_mtime for path in out.rglob("*.mrk.json")])
        middle = ended[len(ended) // 4 : -len(ended) // 10]  # once all have begun, and before some are idle
        rate = (len(middle) - 1) / (middle[-1] - middle[0])
        print(f"{count:10}{rate:10.1f}{count / latency:10.1f}", flush=True)


def bill(seconds: float, images: int, price: float, gpus: Sequence[int] = (1, 8, 64)) -> None:
    """
    Print hours and money.

    Args:
        seconds: of a GPU an image.
        images: how many.
        price: of a GPU with its cores, an hour.
        gpus: how many.
    """
    for count in map(int, _several(gpus)):
        hours = seconds * images / 3600 / count
        print(f"{count:3} GPUs: {hours:7.1f} hours, {hours * count * price:8.0f}")


if __name__ == "__main__":
    fire.Fire({"measure": measure, "saturate": saturate, "bill": bill})
