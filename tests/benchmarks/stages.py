# SPDX-License-Identifier: Apache-2.0
"""One stage beside two: error on the cases both hold out, seconds and memory of a prediction.

    auto3dlandmark run DATA ONE --folds 1 --minutes 20 --stages 1
    auto3dlandmark run DATA TWO --folds 1 --minutes 20 --stages 2
    python tests/benchmarks/stages.py ONE TWO

Each bundle is run in a process of its own; memory is the most that process took, beyond what it had after the
imports. The first image also loads the networks, and is not timed.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import fire
import numpy as np

from auto3dlandmark.bundles.folder import BundleFolder
from auto3dlandmark.data.datalist import read_datalist
from auto3dlandmark.formats import read_landmarks
from auto3dlandmark.geometry import radial_error
from auto3dlandmark.inference.predictor import LandmarkPredictor


def measure(work: str) -> None:
    """Print, as JSON, the figures of the bundle that holds out fold 0 of a work folder."""
    bundle = BundleFolder(Path(work) / "heatmap_0")
    cases = [case for case in read_datalist(Path(work) / "datalist.json").held_out(0) if case.label]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    predictor = LandmarkPredictor([bundle.path], trust=True)
    found, as_found, seconds = [], [], []
    for case in cases:
        began = time.perf_counter()
        landmarks = predictor.predict(case.image)
        seconds.append(time.perf_counter() - began)
        truth = read_landmarks(case.label).select(predictor.names)
        found.append(radial_error(landmarks.points, truth.points))
        peaks = landmarks.points if landmarks.estimates is None else landmarks.estimates.peaks
        as_found.append(radial_error(peaks, truth.points))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    figures = {
        "stages": 1 + len(bundle.coarse_stages()),
        "cases": len(cases),
        "mean": float(np.nanmean(found)),
        "median": float(np.nanmedian(found)),
        "worst": float(np.nanmax(found)),
        "as_found": float(np.nanmean(as_found)),
        "seconds": float(np.mean(seconds[1:] or seconds)),
        "memory": memory / 1e6,
    }
    print(json.dumps(figures))


def main(*works: str) -> None:
    """
    Print a row for each work folder.

    Args:
        works: folders after ``run ... --folds 1`` on the same data.
    """
    print("work                          stages  cases   mean median  worst  as found   s/image     GB")
    for work in works:
        command = [sys.executable, __file__, "--measure", work]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        row = json.loads(told)
        errors = " ".join(f"{row[key]:6.2f}" for key in ("mean", "median", "worst"))
        print(
            f"{work[-28:]:28}  {row['stages']:6} {row['cases']:6} {errors} {row['as_found']:9.2f} "
            f"{row['seconds']:9.2f} {row['memory']:6.2f}"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2])
    else:
        fire.Fire(main)
