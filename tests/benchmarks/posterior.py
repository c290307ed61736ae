# SPDX-License-Identifier: Apache-2.0
"""What the landmarks gain by deciding together, and what that costs.

Without arguments: milliseconds of a case of 45 landmarks with six peaks each. With work folders after
``run``: errors as found and after, coverage of the radii and F1 of absence, each held-out case judged by the
others alone.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from auto3dlandmark.data.datalist import read_datalist
from auto3dlandmark.evaluation.uncertainty import presence_figures, uncertainty_figures
from auto3dlandmark.formats import read_landmarks
from auto3dlandmark.geometry import radial_error
from auto3dlandmark.planning.plan import read_plan
from auto3dlandmark.shapes.estimator import fit_estimator, honest_landmarks
from auto3dlandmark.shapes.peaks import Peaks
from auto3dlandmark.workflow.calibrating import held_out_evidence, shape_of, usual_noise_mm

LANDMARKS, PEAKS, CASES = 45, 6, 20


def time_a_case(repeats: int = 50) -> None:
    """Print the milliseconds of the estimates of one case, median of several."""
    from auto3dlandmark.landmarks import LandmarkSet

    random = np.random.default_rng(0)
    mean = random.normal(size=(LANDMARKS, 3)) * 20
    names = [f"landmark {number}" for number in range(LANDMARKS)]
    shapes = []
    for number in range(CASES):
        turn = Rotation.random(random_state=number).as_matrix()
        shapes.append((mean + random.normal(size=mean.shape)) @ turn.T + random.normal(size=3) * 50)
    estimator = fit_estimator([LandmarkSet(names, shape) for shape in shapes[1:]], names, noise_mm=0.4)
    positions = shapes[0][:, None] + random.normal(size=(LANDMARKS, PEAKS, 3)) * 10
    positions[:, 0] = shapes[0]
    masses = np.tile([0.6, 0.1, 0.1, 0.1, 0.05, 0.05], (LANDMARKS, 1))
    peaks = Peaks(positions, masses, np.ones(masses.shape), np.eye(4), (200, 200, 200))
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        estimator.landmarks(peaks, "on")
        seconds.append(time.process_time() - began)
    print(
        f"{LANDMARKS} landmarks, {PEAKS} peaks each: {1e3 * statistics.median(seconds):.1f} ms of CPU a case"
    )


def compare(work: Path) -> None:
    """Print both sides for the folds of a work folder that are trained."""
    listed, noise = read_datalist(work / "datalist.json"), usual_noise_mm(read_plan(work / "plan.json"))
    truth, found, after, radii, status, called = [], [], [], [], [], []
    for fold in listed.folds:
        held_out = listed.held_out(fold)
        if not all((work / "peaks" / f"{case.id}.json").is_file() for case in held_out):
            continue
        shape = shape_of([case for case in listed.training if case.fold != fold], listed, noise)
        evidence = held_out_evidence(held_out, work / "peaks", shape)
        for case, landmarks in zip(evidence, honest_landmarks(shape, list(evidence.values()))):
            truth.append(read_landmarks(case.label).select(listed.landmark_names))
            found.append(radial_error(landmarks.estimates.peaks, truth[-1].points))
            after.append(radial_error(landmarks.points, truth[-1].points))
            radii.append(landmarks.estimates.radii_mm)
            status.append(truth[-1].status)
            called.append(landmarks.status)
    errors, before = np.array(after), np.array(found)
    both = np.isfinite(errors) & np.isfinite(before)
    print(f"{work}: {len(truth)} held-out cases")
    for title, values in (("as found", before[both]), ("as predicted", errors[both])):
        print(
            f"  {title:12} {values.mean():.3f} mm, median {np.median(values):.3f}, "
            f"above 3 mm {100 * np.mean(values > 3):.1f} %"
        )
    print(f"  {uncertainty_figures(errors, np.array(radii))}")
    print(f"  {presence_figures(np.array(status), np.array(called))}")


if __name__ == "__main__":
    time_a_case()
    for argument in sys.argv[1:]:
        compare(Path(argument))
