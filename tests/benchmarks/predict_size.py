# SPDX-License-Identifier: Apache-2.0
"""Seconds and memory of a prediction against the size of an image, the landmarks, and a bundle's networks.

    python tests/benchmarks/predict_size.py                             # 128 x 128 x 128, 5 to 200 landmarks
    python tests/benchmarks/predict_size.py --sizes "[[250,250,166]]" --landmarks "[45]" --ways "[streamed]"
    python tests/benchmarks/predict_size.py --sizes "[[250,250,166]]" --landmarks "[45]" --planned

Each row is a process of its own with a network of the preset ``small`` that has learnt nothing, and an image
of noise on its grid: what is measured is all that ``auto3dlandmark predict`` does with it. ``dense`` holds a
heatmap for each landmark, as versions before did; ``nnlandmark`` is its own prediction by the same network,
where it is installed (``nnlandmark_peer.py``). The bundle is planned for images of 128 x 128 x 128 voxels,
or with ``--planned`` for such images as it is given, of a millimetre, on a grid that it chooses.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import fire
import nnlandmark_peer

WAYS = ("streamed", "dense", *(["nnlandmark"] if nnlandmark_peer.is_installed() else []))
PLANNED = (128, 128, 128)
TITLES = ("voxels", "landmarks", "networks", "way", "seconds", "CPU s", "GB", "above idle")
ROW = "{:>15}{:>11}{:>10}  {:10}{:>9}{:>8}{:>7}{:>12}"


def write_bundle(
    folder: Path, landmarks: int, networks: int, preset: str = "small", size: Sequence[int] = PLANNED
) -> None:
    """A bundle for images of so many voxels of a millimetre, with random weights."""
    import torch
    from monai.bundle import ConfigParser

    from auto3dlandmark.bundles.fill import copy_template, fill_configs
    from auto3dlandmark.bundles.folder import BundleFolder
    from auto3dlandmark.networks.weights import save_atomically
    from auto3dlandmark.planning.fingerprint import Fingerprint
    from auto3dlandmark.planning.planner import make_plan

    names = tuple(f"landmark {number}" for number in range(landmarks))
    statistics = {"mean": 0.0, "std": 1.0, "percentile_00_5": -2.0, "percentile_99_5": 2.0}
    fingerprint = Fingerprint(
        modalities=("MRI",),
        landmark_names=names,
        cases=tuple("abcdefgh"),
        shapes=(tuple(size),) * 8,
        shapes_after_crop=(tuple(size),) * 8,
        spacings=((1.0, 1.0, 1.0),) * 8,
        median_relative_size_after_crop=1.0,
        intensity=(statistics,),
        presence={name: {"present": 8, "absent": 0, "unknown": 0} for name in names},
        nearest_landmark_mm=dict.fromkeys(names, 10.0),
        pose_angles_deg=None,
        shape=None,
    )
    copy_template(folder)
    fill_configs(folder, make_plan(fingerprint, preset), "quick", {})
    bundle = BundleFolder(folder)
    config = bundle.read_config("inference")
    if networks > 1:
        mean = {
            "_target_": "auto3dlandmark.networks.MeanNetwork",
            "network": config["network_def"],
            "count": networks,
        }
        config["network_def"] = mean
        bundle.write_config("inference", config)
    parser = ConfigParser(config)
    parser["device"] = "$torch.device('cpu')"
    torch.manual_seed(0)
    bundle.models.path.mkdir(exist_ok=True)
    save_atomically(parser.get_parsed_content("network").state_dict(), bundle.models.weights)


def measure(size: Sequence[int], landmarks: int, networks: int, way: str, planned: bool) -> None:
    """Print seconds, seconds of all cores, and gigabytes, as JSON; in a process that does nothing else."""
    import nibabel as nib
    import numpy as np

    from auto3dlandmark.inference.predictor import LandmarkPredictor

    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        write_bundle(bundle, landmarks, networks, size=size if planned else PLANNED)
        predictor = LandmarkPredictor([bundle])
        spacing = (1.0, 1.0, 1.0) if planned else predictor.members[0].bundle.read_plan().spacing
        image = Path(folder) / "image.nii"
        voxels = np.random.default_rng(0).integers(0, 255, size=tuple(size), dtype=np.uint8)
        nib.save(nib.Nifti1Image(voxels, np.diag([*spacing, 1.0])), image)
        del voxels
        with open("/proc/self/clear_refs", "w") as stream:  # the peak is counted from here
            stream.write("5")
        idle, began, used = _peak_gb(), time.perf_counter(), time.process_time()
        if way == "dense":
            predictor.conclude(predictor.peaks_of(*predictor.heatmaps(image)))
        elif way == "nnlandmark":
            nnlandmark_peer.predict(predictor, image, Path(folder) / "found")
        else:
            predictor.predict(image)
        seconds = [time.perf_counter() - began, time.process_time() - used]
        print(json.dumps([*seconds, _peak_gb(), idle]))


def _peak_gb() -> float:
    """The most memory this process has held since that was last cleared."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return float(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(
    sizes: Sequence[Sequence[int]] = ((128, 128, 128),),
    landmarks: Sequence[int] = (5, 45, 200),
    networks: Sequence[int] = (1,),
    ways: Sequence[str] = WAYS,
    timeout_s: float = 3600,
    planned: bool = False,
) -> None:
    """
    Print the table.

    Args:
        sizes: of images, voxels on the network's grid; with ``planned`` of the file.
        landmarks: how many.
        networks: of a bundle.
        ways: ``streamed``, ``dense`` or ``nnlandmark``.
        timeout_s: a row that takes longer is left out.
        planned: the bundle is one for images of this size.
    """
    print(ROW.format(*TITLES))
    for size, count, members, way in itertools.product(sizes, landmarks, networks, ways):
        given = f"{list(size)}, {count}, {members}, {way!r}, {planned}"
        call = f"import predict_size; predict_size.measure({given})"
        told = [" x ".join(map(str, size)), count, members, way]
        try:
            result = subprocess.run(
                [sys.executable, "-c", call],
                cwd=Path(__file__).parent,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
            wall, cpu, peak, idle = json.loads(result.stdout.splitlines()[-1])
            found = [f"{wall:.1f}", f"{cpu:.1f}", f"{peak:.2f}", f"{peak - idle:.2f}"]
        except (subprocess.TimeoutExpired, IndexError):  # killed, for want of memory
            found = ["did not", "end", "", ""]
        print(ROW.format(*told, *found), flush=True)


if __name__ == "__main__":
    fire.Fire(main)
