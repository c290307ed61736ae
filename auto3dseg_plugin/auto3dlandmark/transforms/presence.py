# SPDX-License-Identifier: Apache-2.0
"""Which of a network's points are there at all: the one place where a score becomes "present" or "absent"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..landmarks import ABSENT, PRESENT, LandmarkSet

__all__ = ["predicted_landmarks"]


def predicted_landmarks(
    names: Sequence[str],
    points: torch.Tensor,
    scores: torch.Tensor,
    may_be_absent: Sequence[str] | set[str],
    min_score: float,
) -> LandmarkSet:
    """
    A network's points and scores as landmarks; see :class:`SaveLandmarksd` for who may be absent.

    Args:
        points: RAS millimetres, shape (N, 3).
        scores: in [0, 1], shape (N,).
    """
    score_values = torch.as_tensor(scores).double().cpu().numpy()
    absent = np.array(
        [name in may_be_absent and score < min_score for name, score in zip(names, score_values)], dtype=bool
    )
    positions = np.where(absent[:, None], np.nan, torch.as_tensor(points).double().cpu().numpy())
    return LandmarkSet(names, positions, np.where(absent, ABSENT, PRESENT), score_values)
