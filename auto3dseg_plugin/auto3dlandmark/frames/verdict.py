# SPDX-License-Identifier: Apache-2.0
"""Which of several explanations of a case is right, and how far those who looked at it disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..shapes.oddness import DOUBT
from ..shapes.peaks import Peaks
from .shape_frame import ShapeFrame

__all__ = ["disagreement", "verdict"]

VOTE = 1.0  # nats of a landmark by which what all say outweighs what none says
PLACE = 1.0  # and by which a usual place outweighs the most unusual one
DETOUR = 0.3  # and by which a look from a level off has to outweigh one from where the landmarks were found
MOST_ELSEWHERE = 0.3  # of the looks at a case may find it elsewhere, as in two of seven views


def verdict(
    frame: ShapeFrame, views: Sequence[Peaks], looks: Sequence[Peaks], off: Sequence[Peaks] = ()
) -> Peaks:
    """
    The look that explains a case best: the better its peaks and the shape go together, the more of those who
    looked find the landmarks where it does, and the more usual it is that the image ends where it then does,
    the likelier it is.

    Args:
        frame: of the shape.
        views: what a first network found in each view of the image, the first one of the image as it is.
        looks: what a second one found, from frames laid by what the first one found, the likeliest first.
        off: what it found from a level off.

    Returns:
        one of ``looks`` or ``off``, with the sign ``doubt``: the share of views, or of the first look and
        those from a level off, that find the landmarks elsewhere; 1 is as much as is usual. Where it is more,
        also how far from there they do.
    """
    all_looks = [*looks, *off]
    poses = [frame.pose_as_found(look) for look in all_looks]
    others = [frame.pose(view) for view in views], [poses[0], *poses[len(looks) :]] if off else []
    cost = [
        frame.misfit(look)
        + VOTE * sum(_elsewhere(frame, pose, others))
        + PLACE * frame.misplaced(views[0], pose)
        for look, pose in zip(all_looks, poses)
    ]
    detours = np.repeat([0.0, DETOUR], [len(looks), len(off)])
    chosen = int(np.argmin(cost + detours))
    best = all_looks[chosen]
    doubt, far = disagreement(frame, poses[chosen], others)
    return replace(best, signs={**best.signs, DOUBT: doubt}, elsewhere_mm=far)


def disagreement(
    frame: ShapeFrame, pose: np.ndarray, others: Sequence[Sequence[np.ndarray]]
) -> tuple[float, np.ndarray | None]:
    """
    How far those who looked disagree with a pose.

    Args:
        frame: of the shape.
        pose: from the model's frame to RAS millimetres, shape (4, 4).
        others: what each of them found, in groups that each look in one way.

    Returns:
        doubt: the share of the group that disagrees most; 1 is as much as is usual.
        far: where it is more, how far from there the others put each landmark, millimetres, shape (N,).
    """
    doubt = max(_elsewhere(frame, pose, others), default=0.0) / MOST_ELSEWHERE
    apart = [frame.offsets_mm(pose, one) for some in others for one in some if not frame.alike(pose, one)]
    return doubt, np.median(apart, axis=0) if doubt > 1 else None


def _elsewhere(frame: ShapeFrame, pose: np.ndarray, others: Sequence[Sequence[np.ndarray]]) -> list[float]:
    """The share of each group that finds the landmarks in another pose."""
    return [float(np.mean([not frame.alike(pose, one) for one in some])) for some in others if some]
