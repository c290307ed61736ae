# SPDX-License-Identifier: Apache-2.0
"""How far places found as windows come are from those found in whole heatmaps, on real images.

    python tests/benchmarks/streamed_agreement.py WORK/heatmap_0 IMAGES

Both in float32, and in the precision of this machine: where that is bfloat16, the whole heatmaps hold its
rounding, and what is reduced as it comes does not, as its last layer is computed in float32.
"""

from __future__ import annotations

import fire
import numpy as np

from auto3dlandmark.data.folder import find_images
from auto3dlandmark.inference.predictor import LandmarkPredictor
from auto3dlandmark.shapes.peaks import merged

FOUND = 0.05  # the score below which nothing was found, so that there is no place to compare


def main(bundle: str, images: str, cases: int = 6) -> None:
    """
    Print the largest differences.

    Args:
        bundle: the folder of a trained bundle.
        images: a folder of images.
        cases: the first so many are taken.
    """
    predictor = LandmarkPredictor([bundle])
    (member,) = predictor.members
    for exact in (True, False):
        member.inferer.enabled = not exact
        apart, scores = [], []
        for image in find_images(images)[:cases]:
            pose = member.frame.pose(merged(member.framing.found(image))) if member.framing else None
            streamed = predictor.peaks_in(image, pose)
            dense = predictor.peaks_of(*predictor.heatmaps(image, pose))
            found = dense.masses[:, 0] > FOUND
            apart.append(np.linalg.norm(streamed.first - dense.first, axis=1)[found])
            scores.append(np.abs(streamed.masses[:, 0] - dense.masses[:, 0]))
        places = np.concatenate(apart)
        name = "float32" if exact else "this machine's precision"
        print(f"{name}: {len(places)} places, median {np.median(places):.6f} mm, at most {places.max():.5f}")
        print(f"  scores at most {np.concatenate(scores).max():.5f} apart")


if __name__ == "__main__":
    fire.Fire(main)
