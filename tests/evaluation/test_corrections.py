# SPDX-License-Identifier: Apache-2.0
"""What a reviewer changed is counted, and measured in millimetres."""

from __future__ import annotations

import numpy as np

from auto3dlandmark.evaluation.corrections import Corrections, corrections
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN, LandmarkSet

NAMES = ("a", "b", "c", "d", "e")
NOWHERE = [np.nan] * 3
AFTER = LandmarkSet(
    NAMES,
    [[0, 0, 3], [1, 1, 1], [5, 5, 5], NOWHERE, NOWHERE],
    np.array([PRESENT, PRESENT, PRESENT, ABSENT, UNKNOWN]),
)


def test_moved_placed_and_removed_are_told_apart():
    shown = [[0, 4, 0], [1, 1, 1.001], NOWHERE, [9, 9, 9], NOWHERE]
    found = corrections(LandmarkSet(NAMES, shown), AFTER)
    assert found == Corrections(placed=1, moved=1, removed=1, moved_mm=5.0, landmarks=4)
    assert found.count == 3


def test_the_order_of_the_names_does_not_matter():
    order = [3, 0, 2, 1, 4]
    assert corrections(AFTER.select([NAMES[i] for i in order]), AFTER).count == 0


def test_shown_nothing_every_point_was_placed():
    assert corrections(None, AFTER) == Corrections(3, 0, 0, 0.0, 4)
