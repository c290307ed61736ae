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
MOST_ELSEWHERE = 0.3  # of the looks at a case may find it elsewhere, as in two of seven views


def verdict(
    frame: ShapeFrame, views: Sequence[Peaks], looks: Sequence[Peaks], voters: Sequence[Peaks] = ()
) -> Peaks:
    """
    The look that explains a case best: the better its peaks and the shape go together, and the more of those
    who looked find the landmarks where it does, the likelier it is.

    Args:
        frame: of the shape.
        views: what a first network found in each view of the image.
        looks: what a second one found, from different frames.
        voters: those of them that tell something that the frame has not told them.

    Returns:
        one of ``looks``, with the sign ``doubt``: the share of views, or of voters, that find the landmarks
        elsewhere; 1 is as much as is usual.
    """
    at = [frame.pose(view) for view in views], [frame.pose_as_found(voter) for voter in voters]

    def elsewhere(look: Peaks) -> list[float]:
        pose = frame.pose_as_found(look)
        return [float(np.mean([not frame.alike(pose, other) for other in some])) for some in at if some]

    best = min(looks, key=lambda look: frame.misfit(look) + VOTE * sum(elsewhere(look)))
    return replace(best, signs={**best.signs, DOUBT: max(elsewhere(best), default=0.0) / MOST_ELSEWHERE})
