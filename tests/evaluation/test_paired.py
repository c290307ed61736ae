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
    assert alike.verdict() == "no clear difference" and alike.low_mm < 0 < alike.high_mm
    assert worse.cases == alike.cases == 40


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
    assert alarms <= 12  # the best of four is best by luck, too


def test_points_that_only_one_has_do_not_count():
    best, other = np.full((8, 2), 1.0), np.full((8, 2), 2.0)
    best[:, 1], other[:4, 1] = 9.0, np.nan
    other[0] = np.nan
    name, found = differences_to_best({"other": other, "best": best - 5})
    assert name == "best" and found["other"].cases == 7
    assert found["other"].mean_mm == pytest.approx((3 * 6 + 4 * 2) / 7)


def test_few_cases_say_nothing():
    _, found = differences_to_best({"a": np.ones((5, 3)), "b": np.full((5, 3), 9.0)})
    assert found["b"].verdict() == "too few cases to tell" and found["b"].mean_mm == 8


def test_equal_systems_do_not_differ():
    same = np.random.default_rng(0).random((12, 3))
    _, found = differences_to_best({"a": same, "b": same.copy()})
    assert (found["b"].mean_mm, found["b"].p) == (0, 1) and found["b"].verdict() == "no clear difference"


def test_ranks_are_stable_where_a_system_is_always_better(errors):
    shares = rank_shares({"worst": errors["best"] + 9, **errors})
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    assert shares[0].tolist() == [0, 0, 0, 1]  # always last
    assert 0.05 < shares[3, 0] < 0.95  # now the best, now not
