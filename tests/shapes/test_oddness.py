# SPDX-License-Identifier: Apache-2.0
"""What is usual is learnt from held-out cases that went well; one odd sign is enough."""

from __future__ import annotations

import numpy as np
import pytest

from auto3dlandmark.shapes.oddness import Oddness, fit_oddness


def signs_of(cases, seed=0):
    random = np.random.default_rng(seed)
    return [{"misfit": 5 + random.normal(), "median_either_way": 0.1 * random.normal()} for _ in range(cases)]


@pytest.mark.parametrize("cases", [6, 40])
def test_new_cases_of_the_same_kind_are_usual_and_others_are_not(cases):
    known = fit_oddness(signs_of(cases), [1.0] * cases)
    assert np.mean([known.value(one) > 1 for one in signs_of(200, seed=1)]) < 0.02
    assert known.value({"misfit": 30.0, "median_either_way": 0.0}) > 1
    assert known.value({"misfit": 5.0, "median_either_way": 3.0}) > 1


def test_small_is_odd_only_where_either_way_counts():
    known = fit_oddness(signs_of(20), [1.0] * 20)
    assert known.value({"misfit": -100.0}) == 0
    assert known.value({"median_either_way": -100.0}) > 1


def test_a_held_out_case_that_failed_does_not_make_failures_usual():
    signs = [*signs_of(10), {"misfit": 40.0, "median_either_way": 0.0}]
    known = fit_oddness(signs, [1.0] * 10 + [35.0])
    assert known.value(signs[-1]) > 1
    assert fit_oddness(signs, [1.0] * 11).value(signs[-1]) < fit_oddness(signs, [1.0] * 10 + [35.0]).value(
        signs[-1]
    )


def test_unknown_signs_are_left_out_and_without_any_nothing_is_said():
    known = fit_oddness(signs_of(10), [np.nan] * 10)
    assert known.value({"something": 1.0, "misfit": 5.0}) < 1
    assert np.isnan(known.value({})) and np.isnan(fit_oddness(signs_of(1), [1.0]).value(signs_of(1)[0]))


def test_it_survives_json():
    known = fit_oddness(signs_of(10), [1.0] * 10)
    again = Oddness.from_json(known.to_json())
    assert again.value({"misfit": 12.0}) == pytest.approx(known.value({"misfit": 12.0}), abs=1e-3)


def test_a_sign_that_never_varied_is_no_reason_for_alarm_by_its_last_decimal():
    fitted = fit_oddness([{"mass": 0.5}] * 8, [1.0] * 8)
    kept = Oddness.from_json(fitted.to_json())
    assert kept.value({"mass": 0.5}) == 0 and kept.value({"mass": 0.501}) < 1 < kept.value({"mass": 0.6})
    assert np.isfinite(Oddness.from_json({"mass": [0.5, 0.0]}).value({"mass": 0.6}))  # of an earlier version


def test_doubt_needs_no_held_out_cases():
    signs = [{**one, "doubt": 3.0} for one in signs_of(10)]
    known = fit_oddness(signs, [1.0] * 10)
    assert "doubt" not in known.usual  # and what is usual is not learnt from it
    assert known.value(signs[0]) == 3 and known.value({**signs[0], "doubt": 0.0}) < 1
    assert Oddness({}).value({"doubt": 2.0, "misfit": 9.0}) == 2
