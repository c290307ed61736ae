# SPDX-License-Identifier: Apache-2.0
"""Which of several explanations of a case is right, and how far those who looked at it disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..shapes.oddness import DOUBT
from ..shapes.peaks import Peaks
from .shape_frame import ShapeFrame

__all__ = ["verdict"]

VOTE = 1.0  # nats of a landmark by which what all say outweighs what none says
PLACE = 1.0  # and by which a usual place outweighs the most unusual one
MOST_ELSEWHERE = 0.3  # of the looks at a case may find it elsewhere, as in two of seven views


def verdict(
    frame: ShapeFrame, views: Sequence[Peaks], looks: Sequence[Peaks], voters: Sequence[Peaks] = ()
) -> Peaks:
    """
    The look that explains a case best: the better its peaks and the shape go together, the more of those who
    looked find the landmarks where it does, and the more usual it is that the image ends where it then does,
    the likelier it is.

    Args:
        frame: of the shape.
        views: what a first network found in each view of the image, the first one of the image as it is.
        looks: what a second one found, from different frames.
        voters: those of them that tell something that the frame has not told them.

    Returns:
        one of ``looks``, with the sign ``doubt``: the share of views, or of voters, that find the landmarks
        elsewhere; 1 is as much as is usual. Where it is more, also how far from there they do.
    """
    at = [frame.pose(view) for view in views], [frame.pose_as_found(voter) for voter in voters]

    def elsewhere(pose: np.ndarray) -> list[float]:
        return [float(np.mean([not frame.alike(pose, other) for other in some])) for some in at if some]

    poses = [frame.pose_as_found(look) for look in looks]
    cost = [
        frame.misfit(look) + VOTE * sum(elsewhere(pose)) + PLACE * frame.misplaced(views[0], pose)
        for look, pose in zip(looks, poses)
    ]
    chosen = int(np.argmin(cost))
    best, pose = looks[chosen], poses[chosen]
    doubt = max(elsewhere(pose), default=0.0) / MOST_ELSEWHERE
    off = [frame.offsets_mm(pose, other) for some in at for other in some if not frame.alike(pose, other)]
    far = np.median(off, axis=0) if doubt > 1 else None
    return replace(best, signs={**best.signs, DOUBT: doubt}, elsewhere_mm=far)
