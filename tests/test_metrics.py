# SPDX-License-Identifier: Apache-2.0
"""Radial error and success rate."""

from __future__ import annotations

import math

import pytest
import torch

from auto3dlandmark.evaluation.compare import success_detection_rate
from auto3dlandmark.metrics import RadialErrorMetric


@pytest.mark.parametrize("shift_mm, error_mm", [((3, 4, 0), 5), ((1, 2, 2), 3)])
def test_the_error_is_the_euclidean_distance(shift_mm, error_mm):
    metric = RadialErrorMetric()
    metric([torch.zeros(2, 3)], [torch.tensor([shift_mm] * 2, dtype=torch.float64)])
    assert metric.aggregate().item() == pytest.approx(error_mm)


def test_unknown_landmarks_do_not_count():
    metric = RadialErrorMetric()
    metric([torch.zeros(2, 3)], [torch.tensor([[3.0, 4, 0], [math.nan] * 3])])
    assert metric.aggregate().item() == pytest.approx(5)


def test_cases_are_averaged_over_all_their_points():
    metric = RadialErrorMetric()
    metric([torch.zeros(1, 3)], [torch.tensor([[3.0, 4, 0]])])
    metric([torch.zeros(1, 3)], [torch.tensor([[1.0, 2, 2]])])
    assert metric.aggregate().item() == pytest.approx(4)


def test_without_any_annotated_point_the_error_is_infinite():
    metric = RadialErrorMetric()
    metric([torch.zeros(1, 3)], [torch.full((1, 3), math.nan)])
    assert metric.aggregate().item() == math.inf


def test_sets_of_different_landmarks_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        RadialErrorMetric()([torch.zeros(2, 3)], [torch.zeros(3, 3)])


def test_the_success_rate_counts_errors_up_to_the_threshold():
    assert success_detection_rate([1, 2, 3, math.nan, 5], (2, 3, 4)) == [50, 75, 75]


def test_no_errors_have_no_success_rate():
    assert math.isnan(success_detection_rate([math.nan], (2,))[0])
