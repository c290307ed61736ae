# SPDX-License-Identifier: Apache-2.0
"""Who looked elsewhere counts against an explanation, and is told of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auto3dlandmark.frames.field_of_view import FieldOfView
from auto3dlandmark.frames.verdict import verdict
from auto3dlandmark.geometry import rigid
from auto3dlandmark.shapes.peaks import Peaks

LEVEL = np.array([0, 0, 30.0])


def seen(points, mass=0.9):
    masses = np.full((len(points), 1), mass)
    affine = rigid(np.eye(3), [-200] * 3)
    return Peaks(points[:, None], masses, np.ones_like(masses), affine, (400, 400, 400), {"sharp": 1.0})


def test_where_all_agree_there_is_no_doubt_and_signs_are_kept(chain_frame):
    frame, chain = chain_frame
    look = seen(chain + 0.5)
    best = verdict(frame, [seen(chain)] * 7, [look], [seen(chain)])
    assert np.array_equal(best.first, look.first) and best.signs == {"sharp": 1.0, "doubt": 0.0}


def test_a_look_from_a_level_off_has_to_be_clearly_better(chain_frame):
    frame, chain = chain_frame
    moved = np.random.default_rng(0).normal(size=chain.shape)
    direct, detour = seen(chain + moved), seen(chain + 0.7 * moved)
    gain = frame.misfit(direct) - frame.misfit(detour)
    assert 0 < gain < 0.3  # what it found goes together better, but not by much
    assert np.array_equal(verdict(frame, [seen(chain)], [direct], [detour]).first, direct.first)
    assert np.array_equal(verdict(frame, [seen(chain)], [direct, detour]).first, detour.first)


def test_views_that_find_another_level_win_where_the_looks_are_as_good(chain_frame):
    frame, chain = chain_frame
    right, wrong = seen(chain, 0.8), seen(chain + LEVEL, 0.9)
    best = verdict(frame, [seen(chain)] * 7, [wrong], [wrong, right])
    assert np.array_equal(best.first, right.first)
    assert best.signs["doubt"] == pytest.approx(2 / 3 / 0.3)  # two of three looked elsewhere


def test_a_look_that_fits_much_better_wins_against_views(chain_frame):
    frame, chain = chain_frame
    scattered = seen(chain + np.random.default_rng(0).normal(size=chain.shape) * 12)
    best = verdict(frame, [seen(chain + LEVEL)] * 3 + [seen(chain)], [scattered, seen(chain)])
    assert np.array_equal(best.first, chain)
    assert best.signs["doubt"] == pytest.approx(0.75 / 0.3)


def test_where_looks_disagree_the_end_of_the_image_says_which_is_right(chain_frame):
    frame, chain = chain_frame
    right, wrong = seen(chain), seen(chain + LEVEL)
    views, looks = [right] * 3 + [wrong] * 4, [wrong, right]
    assert np.array_equal(verdict(frame, views, looks).first, wrong.first)
    below = 200.5 + chain.mean(axis=0)[2]
    usual = FieldOfView(np.array([0, 0, -1.0]), below, 10.0, (400.0, 400.0))
    best = verdict(replace(frame, field_of_view=usual), views, looks)
    assert np.array_equal(best.first, right.first)
    assert best.signs["doubt"] == pytest.approx(4 / 7 / 0.3)  # and the doubt stays


@pytest.mark.parametrize("elsewhere, doubted", [(2, False), (3, True)])
def test_two_of_seven_views_may_lie_elsewhere(chain_frame, elsewhere, doubted):
    frame, chain = chain_frame
    views = [seen(chain)] * (7 - elsewhere) + [seen(chain - LEVEL)] * elsewhere
    best = verdict(frame, views, [seen(chain)])
    assert (best.signs["doubt"] > 1) == doubted
    if doubted:  # and it is said how far off the landmarks may be
        assert best.elsewhere_mm == pytest.approx(30, abs=1)
    else:
        assert best.elsewhere_mm is None
