# SPDX-License-Identifier: Apache-2.0
"""Whether a first stage finds the pose by what it sees, or by how an image lies: from the image as it is, and
tilted to each side.

    auto3dlandmark run DATA WORK --folds 1 --minutes 20
    python tests/benchmarks/tilted_views.py WORK/heatmap_0 [BUNDLE ...]

Of the cases that each bundle holds out. A view is lost where the pose is another one than that of the
annotated landmarks (by a quarter of the shape's size), such as a level off; a case is lost where that of all
views together is.
"""

from __future__ import annotations

import fire

from auto3dlandmark.bundles.folder import BundleFolder
from auto3dlandmark.data.datalist import read_datalist
from auto3dlandmark.formats import read_landmarks
from auto3dlandmark.frames.shape_frame import ShapeFrame
from auto3dlandmark.inference.coarse import CoarseStage
from auto3dlandmark.shapes.peaks import merged


def main(*bundles: str) -> None:
    for path in bundles:
        bundle = BundleFolder(path)
        frame, stage = ShapeFrame.read(bundle.frame), CoarseStage(bundle.coarse_path)
        learnt = bundle.read_config("train")
        upright, tilted, together = [], [], []
        for case in read_datalist(learnt["datalist"]).held_out(learnt["fold"]):
            truth = frame.true_pose(read_landmarks(case.label).select(frame.model.names).points)
            views = stage.views(case.image)
            lost = [not frame.alike(frame.pose(view), truth) for view in views]
            upright.append(lost[0])
            tilted += lost[1:]
            together.append(not frame.alike(frame.pose(merged(views)), truth))
        print(
            f"{path}: lost are {sum(upright)} of {len(upright)} images as they are, {sum(tilted)} of "
            f"{len(tilted)} tilted ones, {sum(together)} of {len(together)} cases by all views"
        )


if __name__ == "__main__":
    fire.Fire(main)
