# SPDX-License-Identifier: Apache-2.0
"""Which case is reviewed next: the one the model is least sure of, and not the one somebody else has."""

from __future__ import annotations

import pytest

from auto3dlandmark.review.choice import STRATEGIES, next_case
from auto3dlandmark.review.submission import ReviewError

NOTES = {
    "a": {"version": 1, "confidence": 0.9, "disagreement": 3.0},
    "b": {"version": 1, "confidence": 0.2, "disagreement": 1.0},
    "c": {"version": 1, "confidence": 0.5, "disagreement": None},
    "d": {"version": 0, "confidence": 0.0, "disagreement": 99.0},  # of an older model
}
CASES = ["d", "c", "b", "a", "e"]


@pytest.mark.parametrize(
    "strategy, case", [("lowest_confidence", "b"), ("disagreement", "a"), ("first", "a")]
)
def test_each_strategy_has_its_own_next_case(strategy, case):
    assert next_case(CASES, NOTES, strategy, version=1) == case


def test_cases_without_a_score_come_last():
    order, waiting = [], list(CASES)
    while waiting:
        order.append(next_case(waiting, NOTES, "lowest_confidence", version=1))
        waiting.remove(order[-1])
    assert order == ["b", "c", "a", "d", "e"]


def test_any_case_may_be_the_random_one():
    assert {next_case(CASES, {}, "random") for _ in range(300)} == set(CASES)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_case_that_somebody_else_was_given_comes_last_for_a_while(strategy):
    notes = {case: {"given": {"to": "ann", "at": 1000.0}} for case in CASES if case != "c"}
    assert next_case(CASES, notes, strategy, "ben", now=1100.0) == "c"
    assert next_case(["a"], notes, strategy, "ben", now=1100.0) == "a"
    assert next_case(["a", "b"], {"a": notes["a"]}, "first", "ann", now=1100.0) == "b"  # she goes on
    assert (
        next_case(["a", "c"], {**notes, "c": {"given": {"to": "ben", "at": 1.0}}}, "first", "ann", now=1100.0)
        == "a"
    )
    assert next_case(["a", "c"], notes, "first", "ben", now=9000.0) == "a"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_image_that_could_not_be_read_comes_last(strategy):
    notes = {**NOTES, "b": {"unreadable": True}, "a": {"given": {"to": "ann", "at": 1000.0}}}
    assert next_case(["a", "b"], notes, strategy, "ben", now=1001.0, version=1) == "a"


def test_nothing_waits():
    assert next_case([], {}, "first") is None


def test_an_unknown_strategy_is_named():
    with pytest.raises(ReviewError, match="no strategy 'best'. There are expected_gain") as caught:
        next_case(CASES, {}, "best")
    assert caught.value.status == 404
