# SPDX-License-Identifier: Apache-2.0
"""Who looked elsewhere counts against an explanation, and is told of."""

from __future__ import annotations

import numpy as np
import pytest

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
    best = verdict(frame, [seen(chain)] * 7, [look], [look, seen(chain)])
    assert np.array_equal(best.first, look.first) and best.signs == {"sharp": 1.0, "doubt": 0.0}


def test_views_that_find_another_level_win_where_the_looks_are_as_good(chain_frame):
    frame, chain = chain_frame
    right, wrong = seen(chain, 0.8), seen(chain + LEVEL, 0.9)
    best = verdict(frame, [seen(chain)] * 7, [wrong, wrong, right], [wrong, wrong, right])
    assert np.array_equal(best.first, right.first)
    assert best.signs["doubt"] == pytest.approx(2 / 3 / 0.3)  # two of three looked elsewhere


def test_a_look_that_fits_much_better_wins_against_views(chain_frame):
    frame, chain = chain_frame
    scattered = seen(chain + np.random.default_rng(0).normal(size=chain.shape) * 12)
    best = verdict(frame, [seen(chain + LEVEL)] * 3 + [seen(chain)], [scattered, seen(chain)])
    assert np.array_equal(best.first, chain)
    assert best.signs["doubt"] == pytest.approx(0.75 / 0.3)


@pytest.mark.parametrize("elsewhere, doubted", [(2, False), (3, True)])
def test_two_of_seven_views_may_lie_elsewhere(chain_frame, elsewhere, doubted):
    frame, chain = chain_frame
    views = [seen(chain)] * (7 - elsewhere) + [seen(chain - LEVEL)] * elsewhere
    assert (verdict(frame, views, [seen(chain)]).signs["doubt"] > 1) == doubted
