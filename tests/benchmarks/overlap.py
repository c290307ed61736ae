# SPDX-License-Identifier: Apache-2.0
"""What it costs to lay fewer windows over an image: errors and seconds against how far windows overlap.

    python tests/benchmarks/overlap.py WORK --minutes 6 --patch "[24,24,24]"   # WORK: has a plan
    python tests/benchmarks/overlap.py WORK                                      # of what was trained there
    python tests/benchmarks/overlap.py WORK --growths "[1,2]"                    # and larger windows

The first form trains a network in ``WORK`` on patches smaller than its images, so that there are windows to
lay; both then predict the held-out cases of the first fold.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import fire
import numpy as np

from auto3dlandmark.data.datalist import read_datalist
from auto3dlandmark.formats import read_landmarks
from auto3dlandmark.geometry import radial_error
from auto3dlandmark.inference.predictor import LandmarkPredictor
from auto3dlandmark.workflow.work_folder import WorkFolder


def main(
    work: str,
    overlaps: Sequence[float] = (0.5, 0.375, 0.25, 0.125, 0.0),
    patch: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    minutes: float | None = None,
    growths: Sequence[float] = (1.0,),
) -> None:
    """
    Print a row for each size of windows and each overlap.

    Args:
        work: a work folder with a plan of one stage.
        overlaps: shares of a window.
        patch: voxels of the patches to train with, for ``minutes``.
        spacing: of the network's grid, in millimetres; left out, the plan's.
        growths: times the plan's windows, along each axis.
    """
    folder = WorkFolder(work)
    if minutes is not None:
        grid = {} if spacing is None else {"spacing": list(spacing)}
        sizes = {} if patch is None else {"patch_size": list(patch), "roi_size": list(patch)}
        folder.build(0, minutes=minutes, **sizes, **grid)
        folder.train(0)
    predictor = LandmarkPredictor([folder.bundle(0).path])
    (member,) = predictor.members
    cases = read_datalist(folder.datalist).held_out(0)
    truth = [read_landmarks(case.label).select(predictor.names).points for case in cases if case.label]
    window = member.inferer.inferer
    planned = tuple(window.roi_size)
    print(f"{len(cases)} held-out cases, windows of {planned} voxels")
    print(f"{'windows':>8}{'overlap':>8}{'mean mm':>9}{'median':>8}{'> 10 mm':>9}{'s an image':>12}")
    for growth, overlap in itertools.product(growths, overlaps):
        divisor = window.divisor or (1, 1, 1)
        window.roi_size = [step * round(growth * size / step) for size, step in zip(planned, divisor)]
        window.overlap, window.options["overlap"] = float(overlap), float(overlap)
        began = time.perf_counter()
        found = [predictor.peaks(case.image).first for case in cases]
        each = (time.perf_counter() - began) / len(cases)
        errors = np.concatenate([radial_error(*pair) for pair in zip(found, truth)])
        errors = errors[np.isfinite(errors)]
        row = f"{growth:8.2f}{overlap:8.3f}{errors.mean():9.3f}{np.median(errors):8.3f}"
        print(f"{row}{100 * (errors > 10).mean():8.1f}%{each:12.2f}", flush=True)


if __name__ == "__main__":
    fire.Fire(main)
