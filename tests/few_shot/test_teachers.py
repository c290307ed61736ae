# SPDX-License-Identifier: Apache-2.0
"""Opinions that agree are believed, and those that do not are unknown."""

from __future__ import annotations

import dataclasses

import numpy as np

from auto3dlandmark.estimates import Estimates
from auto3dlandmark.few_shot.teachers import of_templates, weighed
from auto3dlandmark.landmarks import LandmarkSet

NAMES = ("a", "b")
TRUTH = np.array([[0.0, 0, 0], [10, 0, 0]])


def said(points, scores=None, unusual=np.nan):
    estimates = dataclasses.replace(Estimates.unknown(len(NAMES)), unusual=unusual)
    return LandmarkSet(NAMES, points, scores=scores, estimates=estimates)


def spread_of(landmarks):
    return np.sqrt(np.trace(landmarks.estimates.covariance, axis1=1, axis2=2))


def test_templates_are_fused_by_their_median_and_tell_how_far_they_lie_apart():
    answer = of_templates([said(TRUTH), said(TRUTH + [0, 0, 3]), said(TRUTH)])
    np.testing.assert_allclose(answer.points, TRUTH)
    np.testing.assert_allclose(spread_of(answer), np.sqrt(3.0))


def test_templates_that_call_themselves_unusual_do_not_count():
    answer = of_templates([said(TRUTH), said(TRUTH + 50, unusual=2.0)])
    np.testing.assert_allclose(answer.points, TRUTH)
    assert of_templates([said(TRUTH, unusual=1.5)]) is None


def test_a_landmark_that_most_templates_lack_is_unknown():
    lacking = TRUTH.copy()
    lacking[1] = np.nan
    answer = of_templates([said(TRUTH), said(lacking), said(lacking)])
    assert answer.present.tolist() == [True, False]


def test_the_better_teacher_counts_more():
    first, second = {"x": said(TRUTH)}, {"x": said(TRUTH + [0, 4, 0])}
    np.testing.assert_allclose(weighed([(first, 3.0), (second, 1.0)])["x"].points, TRUTH + [0, 1, 0])
    assert weighed([(first, 1.0), (second, 1.0)])["x"].present.all()


def test_where_opinions_lie_far_apart_nobody_is_believed():
    cases = [f"case{number}" for number in range(9)]
    first = {case: said(TRUTH) for case in cases}
    second = {case: said(TRUTH + [0.5, 0, 0]) for case in cases}
    wrong = TRUTH + [0.5, 0, 0]
    wrong[1] += 20
    second["case3"] = said(wrong)
    for hardly in (1.0, 1e-6):
        answer = weighed([(first, 1.0), (second, hardly)])
        assert answer["case3"].present.tolist() == [True, False]
        assert all(answer[case].present.all() for case in cases if case != "case3")
    np.testing.assert_allclose(answer["case0"].points, TRUTH, atol=1e-5)
    assert spread_of(answer["case0"]).max() < 0.01  # a hardly heard opinion makes no target wider


def test_a_case_that_one_teacher_alone_knows_and_a_low_score():
    first = {"x": said(TRUTH), "y": said(TRUTH, scores=np.array([0.9, 0.2]))}
    answer = weighed([(first, 1.0), ({"x": said(TRUTH)}, 1.0)])
    assert answer["y"].present.tolist() == [True, False]
    np.testing.assert_allclose(answer["x"].points, TRUTH)
