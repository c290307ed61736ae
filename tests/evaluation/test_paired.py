# SPDX-License-Identifier: Apache-2.0
"""A difference that is there is found, one that is not is not, and scipy says the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auto3dlandmark.evaluation.paired import differences_to_best, holm, rank_shares


@pytest.fixture
def errors():
    """Forty cases of five landmarks: the same as the best but for the last decimals, half a millimetre worse,
    and as good on average."""
    random = np.random.default_rng(1)
    best = random.gamma(2, 0.5, size=(40, 5))
    noise = random.normal(0, 0.3, size=(40, 5))
    return {
        "worse": best + 0.5 + noise,
        "best": best,
        "alike": best + np.abs(noise.mean()) + noise - noise.mean(),
    }


def test_what_is_worse_is_told_from_what_is_not(errors):
    best, found = differences_to_best(errors)
    assert best == "best" and set(found) == {"worse", "alike"}
    worse, alike = found["worse"], found["alike"]
    assert worse.verdict() == "worse" and worse.p_holm < 0.001
    assert worse.low_mm < 0.5 < worse.high_mm and worse.low_mm > 0.3
    assert alike.verdict() == "not clear" and alike.low_mm < 0 < alike.high_mm
    assert worse.units == alike.units == 40


def test_the_figures_are_those_of_scipy(errors):
    _, found = differences_to_best(errors)
    per_case = (errors["worse"] - errors["best"]).mean(axis=1)
    assert found["worse"].mean_mm == pytest.approx(per_case.mean())
    assert found["worse"].p == pytest.approx(stats.wilcoxon(per_case).pvalue)
    t = stats.ttest_1samp(per_case, 0).confidence_interval(0.95)
    assert (found["worse"].low_mm, found["worse"].high_mm) == pytest.approx((t.low, t.high), abs=0.03)


def test_holm_multiplies_the_smallest_by_their_number():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, np.nan]), [0.03, 0.06, 0.06, np.nan])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])


def test_false_alarms_stay_as_rare_as_they_are_said_to_be():
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(60):
        base = random.gamma(2, 1, size=(20, 1))
        systems = {str(number): base + random.normal(0, 0.2, size=(20, 1)) for number in range(4)}
        _, found = differences_to_best(systems)
        alarms += any(one.verdict() == "worse" for one in found.values())
    assert alarms <= 6  # one in ten, where one in twenty is said; the best of four is best by luck, too


def test_points_that_only_one_has_do_not_count():
    best, other = np.full((8, 2), 1.0), np.full((8, 2), 2.0)
    best[:, 1], other[:4, 1] = 9.0, np.nan
    other[0] = np.nan
    name, found = differences_to_best({"other": other, "best": best - 5})
    assert name == "best" and found["other"].units == 7
    assert found["other"].mean_mm == pytest.approx((3 * 6 + 4 * 2) / 7)


def test_few_cases_say_nothing():
    _, found = differences_to_best({"a": np.ones((5, 3)), "b": np.full((5, 3), 9.0)})
    assert found["b"].verdict() == "too few cases" and found["b"].mean_mm == 8
    random = np.random.default_rng(0)
    ten = {str(number): number + random.random((8, 3)) for number in range(10)}  # 45 pairs of eight cases
    assert {one.verdict() for one in differences_to_best(ten)[1].values()} == {"too few cases"}


def test_equal_systems_do_not_differ():
    same = np.random.default_rng(0).random((12, 3))
    _, found = differences_to_best({"a": same, "b": same.copy()})
    assert (found["b"].mean_mm, found["b"].p) == (0, 1) and found["b"].verdict() == "not clear"


def test_ranks_are_stable_where_a_system_is_always_better(errors):
    shares = rank_shares({"worst": errors["best"] + 9, **errors})
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    assert shares[0].tolist() == [0, 0, 0, 1]  # always last
    assert 0.05 < shares[3, 0] < 0.95  # now the best, now not


def test_who_leaves_out_what_is_hard_is_not_the_best_for_it():
    random = np.random.default_rng(0)
    easy, hard = random.gamma(4, 0.25, (20, 4)), random.gamma(4, 2, (20, 1))
    leaves_out = np.concatenate([easy + 0.3, np.full((20, 1), np.nan)], axis=1)
    best, found = differences_to_best(
        {"leaves out": leaves_out, "tries": np.concatenate([easy, hard], axis=1)}
    )
    assert best == "tries" and found["leaves out"].verdict() == "worse"


def test_one_failure_makes_nobody_worse_who_is_better_otherwise():
    random = np.random.default_rng(0)
    usual = random.gamma(4, 0.25, (20, 3))
    other = usual - 0.3
    other[7] += 30
    best, found = differences_to_best({"usual": usual, "other": other})
    assert best == "usual" and found["other"].mean_mm > 0 and found["other"].p_holm < 0.05
    assert found["other"].verdict() == "not clear"


def test_a_system_without_points_is_never_the_best():
    errors = {"none": np.full((9, 2), np.nan), "a": np.ones((9, 2)), "b": np.full((9, 2), 2.0)}
    best, found = differences_to_best(errors)
    assert best == "a" and np.isnan(found["none"].p) and found["none"].verdict() == "too few cases"


def test_several_cases_of_a_subject_count_once():
    """Else the same differences, seen four times each, would be taken for evidence."""
    random = np.random.default_rng(0)
    subjects, alarms = [str(number // 4) for number in range(40)], 0
    for _ in range(60):
        own = np.repeat(random.normal(0, 1, (10, 1)), 4, axis=0)
        base = random.gamma(2, 1, (40, 1))
        _, found = differences_to_best(
            {"a": base, "b": base + own + random.normal(0, 0.1, (40, 1))}, subjects
        )
        (one,) = found.values()
        assert one.units == 10
        alarms += one.p < 0.05
    assert alarms <= 8
