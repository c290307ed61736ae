# SPDX-License-Identifier: Apache-2.0
"""Whether a second stage tells the levels of a chain by what it sees: from frames that lie one level off.

    auto3dlandmark run DATA WORK --folds 1 --minutes 20
    python tests/benchmarks/levels.py WORK [WORK ...]

The frame of each case is laid by its annotated landmarks, and then where a first stage would lay it that took
each level for the next one, or for the one before: shifted, and turned as the chain is bent. A case is lost
where the median landmark is found more than half a level off. The cases that the network was trained on count
apart from those it holds out.
"""

from __future__ import annotations

from pathlib import Path

import fire
import numpy as np

from auto3dlandmark.data.datalist import read_datalist
from auto3dlandmark.formats import read_landmarks
from auto3dlandmark.geometry import radial_error, voxel_to_world
from auto3dlandmark.inference.predictor import LandmarkPredictor


def main(*works: str) -> None:
    for work in works:
        predictor = LandmarkPredictor([Path(work) / "heatmap_0"], trust=True)
        frame = predictor.members[0].frame
        ways = [] if frame is None else frame.a_level_off(np.eye(4))
        if not ways:
            raise SystemExit(f"{work}: is not of two stages, or its landmarks make no chain.")
        datalist = read_datalist(Path(work) / "datalist.json")
        half_level_mm = (
            float(np.median(radial_error(voxel_to_world(frame.model.mean, ways[0]), frame.model.mean))) / 2
        )
        held_out = {case.id for case in datalist.held_out(0)}
        lost: dict[tuple[str, str], list[bool]] = {}
        for case in datalist.training:
            if case.label is None:
                continue
            points = read_landmarks(case.label).select(predictor.names).points
            part = "held out" if case.id in held_out else "trained on"
            true = frame.true_pose(points)
            for way, pose in zip(("true", "one further", "one back"), (true, *frame.a_level_off(true))):
                found = predictor.peaks_in(case.image, pose)
                error = float(np.nanmedian(radial_error(found.first, points)))
                lost.setdefault((part, way), []).append(error > half_level_mm)
        print(work)
        for (part, way), cases in lost.items():
            print(f"  {part:<11}{way:<12}{sum(cases):3} of {len(cases)} lost")


if __name__ == "__main__":
    fire.Fire(main)
