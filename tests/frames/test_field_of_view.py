# SPDX-License-Identifier: Apache-2.0
"""Where images end says which level of a chain is which, and only where images usually end there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auto3dlandmark.frames.field_of_view import fit_field_of_view
from auto3dlandmark.frames.shape_frame import ShapeFrame
from auto3dlandmark.geometry import rigid
from auto3dlandmark.shapes.peaks import Peaks

LEVEL = np.array([0, 0, 30.0])
ORIGIN = np.zeros(3)


def image(below, above):
    """Of 2 mm voxels, stored upside down, that reaches so far below and above the origin."""
    size = round((below + above) / 2)
    affine = np.diag([-2.0, 2, -2, 1])
    affine[:3, 3] = 99, -99, above - 1
    return (100, 100, size), affine


def usual_images(count=12, steady_mm=3.0, seed=0):
    random = np.random.default_rng(seed)
    reach = 100 + steady_mm * random.normal(size=count)
    return [image(*one) for one in zip(reach, random.uniform(60, 120, size=count))]


def fitted(images):
    count = len(images)
    return fit_field_of_view(images, np.zeros((count, 3)), np.tile(LEVEL, (count, 1)))


def test_the_steadiest_end_is_the_one_to_go_by():
    usual = fitted(usual_images())
    assert usual.direction.tolist() == [0, 0, -1]
    assert usual.reach_mm == pytest.approx(100, abs=3) and 2 < usual.deviation_mm < 6
    shape, affine = image(100, 90)
    assert usual.unlikely(affine, shape, ORIGIN) < 0.1
    assert usual.unlikely(affine, shape, LEVEL) > 0.9 and usual.unlikely(affine, shape, -LEVEL) > 0.9
    assert usual.unlikely(affine, shape, 40 * LEVEL) == pytest.approx(1)


@pytest.mark.parametrize("below, above", [(200, 90), (50, 40)])
def test_an_image_that_was_taken_otherwise_or_cut_says_nothing(below, above):
    usual = fitted(usual_images())
    shape, affine = image(below, above)
    assert usual.unlikely(affine, shape, ORIGIN) == usual.unlikely(affine, shape, LEVEL) == 0


def test_ends_that_are_not_steady_and_few_cases_say_nothing():
    assert fitted(usual_images(steady_mm=20)) is None
    assert fitted(usual_images(count=4)) is None


def test_a_frame_learns_it_of_annotated_chains_and_keeps_it(chain_frame, tmp_path):
    frame, chain = chain_frame
    images = usual_images()
    turn = rigid(np.eye(3), -chain.mean(axis=0))
    points = np.stack([chain + turn[:3, 3]] * len(images))
    points[:, -3:] = np.nan  # one level is cut off in each
    points[0] = np.nan  # one has no points at all
    known = frame.seen_in(images, points)
    known.write(tmp_path / "frame.json")
    read = ShapeFrame.read(tmp_path / "frame.json")
    assert np.array_equal(read.field_of_view.direction, [0, 0, -1])
    shape, affine = image(100, 90)
    seen = Peaks(chain[:, None], np.ones((15, 1)), np.ones((15, 1)), affine, shape)
    right, off = turn, rigid(np.eye(3), LEVEL) @ turn
    assert read.misplaced(seen, right) < 0.2 < 0.8 < read.misplaced(seen, off)
    assert frame.misplaced(seen, off) == 0  # which does not know it


def test_landmarks_that_are_no_chain_learn_nothing(chain_frame):
    frame, chain = chain_frame
    names = tuple(f"part {letter}" for letter in "abcdefghijklmno")
    other = replace(frame, model=replace(frame.model, names=names))
    assert other.seen_in(usual_images(), np.stack([chain] * 12)) is other
