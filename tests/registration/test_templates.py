# SPDX-License-Identifier: Apache-2.0
"""Templates are fused by their middle, the odd one is left out, and doubts are told."""

from __future__ import annotations

import numpy as np
import pytest
from test_pose_search import phantom

from auto3dlandmark.landmarks import ABSENT, PRESENT, LandmarkSet
from auto3dlandmark.registration.elastix import elastix_is_there
from auto3dlandmark.registration.pose_search import Volume
from auto3dlandmark.registration.templates import Template, Transfer, fused, ratios_of, transferred

NAMES = ("a", "b", "c", "d", "e")
needs_elastix = pytest.mark.skipif(not elastix_is_there(), reason="the extra 'register' is not installed")


@pytest.fixture
def target():
    return Volume(np.zeros((60, 60, 60), dtype=np.float32), np.eye(4))


def templates_of(points, count, absent=()):
    """So many templates with the same landmarks, in which some are absent."""
    status = np.array([ABSENT if name in absent else PRESENT for name in NAMES])
    known = np.where((status == PRESENT)[:, None], points, np.nan)
    volume = Volume(np.zeros((60, 60, 60), dtype=np.float32), np.eye(4))
    return [Template(str(number), volume, LandmarkSet(NAMES, known, status)) for number in range(count)]


@pytest.fixture
def points():
    return np.random.default_rng(0).uniform(10, 50, size=(5, 3))


def said(points, count, noise=0.3, margin=0.3, seed=1):
    random = np.random.default_rng(seed)
    return [
        Transfer(points + random.normal(0, noise, points.shape), np.full(len(points), 0.4), margin)
        for _ in range(count)
    ]


def test_the_middle_is_taken_and_an_odd_template_is_left_out(points, target):
    answers = said(points, 5)
    answers[2] = Transfer(points + 15, answers[2].gap_mm, 0.3)
    found = fused(templates_of(points, 5), answers, target)
    assert np.linalg.norm(found.points - points, axis=1).max() < 1
    assert found.estimates.unusual < 1 and found.estimates.notes == ("",) * 5
    assert (found.estimates.radii_mm[:, 0] < found.estimates.radii_mm[:, 2]).all()


def test_templates_that_disagree_are_not_to_be_trusted(points, target):
    answers = [Transfer(points + [0, 0, 12 * number], np.full(5, 0.4), 0.3) for number in (-1, 0, 0, 1)]
    found = fused(templates_of(points, 4), answers, target)
    assert found.estimates.unusual > 1 and "templates lead to different places" in found.estimates.notes


def test_an_ambiguous_pose_is_told(points, target):
    found = fused(templates_of(points, 1), said(points, 1, margin=0.02), target)
    assert found.estimates.unusual > 1 and set(found.estimates.notes) == {"another pose fits nearly as well"}


def test_one_template_alone_goes_by_its_own_steps(points, target):
    found = fused(templates_of(points, 1), said(points, 1), target)
    np.testing.assert_allclose(found.estimates.radii_mm[:, 0], 1.2 * 0.4)


def test_what_is_absent_or_outside_is_absent(points, target):
    points[0] = [70, 20, 20]
    templates = [*templates_of(points, 2, absent=("b",)), *templates_of(points, 1)]
    answers = said(points, 3)
    for answer in answers[:2]:
        answer.points[1] = np.nan
    found = fused(templates, answers, target)
    assert found.status.tolist() == [ABSENT, ABSENT, PRESENT, PRESENT, PRESENT]
    assert np.isnan(found.points[:2]).all() and found.estimates.notes[0] == "outside the image"


def test_radii_hold_what_templates_say_of_each_other(target):
    random = np.random.default_rng(0)
    truth = random.uniform(10, 50, size=(5, 3))
    templates, answers = [], []
    for number in range(6):
        own = truth + random.normal(0, 1, truth.shape)
        templates.append(Template(str(number), target, LandmarkSet(NAMES, own)))
    for row, template in enumerate(templates):
        of_row = said(template.landmarks.points, 6, 1.0, seed=row)
        answers += [[None if column == row else one for column, one in enumerate(of_row)]]
    ratios = ratios_of(templates, answers)
    assert ratios[0] < ratios[1] < ratios[2]
    inside, total = 0, 0
    for seed in range(40):
        own = truth + random.normal(0, 1, truth.shape)
        found = fused(templates, said(own, 6, 1.0, seed=1000 + seed), target, ratios)
        errors = np.linalg.norm(found.points - own, axis=1)
        inside, total = inside + (errors <= found.estimates.radii_mm[:, 1]).sum(), total + len(errors)
    assert 0.8 < inside / total <= 1
    assert ratios_of(templates[:2], answers) is None


def test_a_single_landmark_has_a_spread_too(target):
    point = np.array([[30.0, 30, 30]])
    templates = [Template("t", target, LandmarkSet(("a",), point))]
    found = fused(templates, [Transfer(point + 1, np.array([0.5]), 0.3)], target)
    assert found.points.tolist() == [[31, 31, 31]] and np.isfinite(found.estimates.unusual)


@needs_elastix
def test_points_land_where_the_image_shows_them():
    """Fixed and moving are not exchanged: the wrong way round errs by centimetres."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = (
        Rotation.from_euler("xyz", [100, 20, -50], degrees=True).as_matrix(),
        [5, 80, -40],
    )
    volume, centres = phantom()
    moving, wanted = phantom(matrix)
    found = transferred(Template("t", volume, LandmarkSet(NAMES, centres)), moving)
    assert np.linalg.norm(found.points - wanted, axis=1).max() < 2
    assert found.margin > 0.06
