# SPDX-License-Identifier: Apache-2.0
"""Whether radii hold what they promise, and who is called absent."""

from __future__ import annotations

import numpy as np
import pytest

from auto3dlandmark.evaluation.uncertainty import presence_figures, uncertainty_figures
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN


def test_coverage_is_the_share_of_points_within_their_radius():
    errors = np.array([[1.0, 2.0], [3.0, np.nan]])
    radii = np.array([[[0.5, 1, 1.5], [1, 2, 3]], [[1, 2, 2.9], [9, 9, 9]]])
    figures = uncertainty_figures(errors, radii)["uncertainty"]
    assert figures["coverage"] == {"50": 0.0, "90": 66.67, "95": 66.67}
    assert figures["radius95_mm"] == 2.9
    assert figures["risk_coverage"]["0.25"] == 1.0 and figures["risk_coverage"]["1"] == 2.0


def test_ranking_is_one_where_larger_radii_go_with_larger_errors():
    errors = np.array([[1.0, 2.0, 3.0, 4.0]])
    radii = np.repeat(errors[..., None], 3, axis=-1) * (1, 2, 3)
    assert uncertainty_figures(errors, radii)["uncertainty"]["spearman"] == pytest.approx(1)
    assert uncertainty_figures(errors, None) == {} == uncertainty_figures(errors, np.full((1, 4, 3), np.nan))


def test_f1_counts_absent_points_found_and_called():
    truth = np.array([ABSENT, ABSENT, PRESENT, PRESENT, UNKNOWN])
    called = np.array([ABSENT, PRESENT, ABSENT, PRESENT, ABSENT])
    assert presence_figures(truth, called) == {"f1_absent": 0.5, "accuracy": 0.5}
    assert presence_figures(truth[2:], called[2:]) == {}
