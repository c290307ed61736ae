# SPDX-License-Identifier: Apache-2.0
"""Constructed shapes: what the landmarks of a case say about each other, and what they must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from auto3dlandmark.geometry import voxel_to_world
from auto3dlandmark.shapes.hypotheses import hypotheses_for, level_move
from auto3dlandmark.shapes.model import ShapeModel, fit_shape
from auto3dlandmark.shapes.peaks import Peaks
from auto3dlandmark.shapes.posterior import shape_posterior
from auto3dlandmark.shapes.symmetry import flip_groups, lie_between_sides, mirrored_pairs

NOISE = 0.3


def make_shapes(count, cases, seed=0, missing=0.0):
    """Shapes of one kind in any pose: a mean, two ways to differ, and 0.2 mm of everything else."""
    random = np.random.default_rng(seed)
    mean, modes = random.normal(size=(count, 3)) * 20, random.normal(size=(count, 3, 2)) * 0.5
    shapes = []
    for _ in range(cases):
        shape = mean + modes @ random.normal(size=2) + random.normal(size=(count, 3)) * 0.2
        turn = Rotation.random(random_state=int(random.integers(2**31))).as_matrix()
        shape = shape @ turn.T + random.normal(size=3) * 100
        shape[random.random(count) < missing] = np.nan
        shapes.append(shape)
    return np.array(shapes)


def names_of(count):
    return [f"landmark {number}" for number in range(count)]


def found(points, others=(), masses=(0.9, 0.1)):
    """One peak at each point, and perhaps a second one; in an image of two metres."""
    layers = np.stack([points, *others], axis=1)
    known = np.isfinite(layers).all(axis=2)
    affine = np.eye(4)
    affine[:3, 3] = -1000
    weights = np.where(known, np.array(masses)[: layers.shape[1]], 0.0)
    return Peaks(layers, weights, np.ones(known.shape), affine, (2000, 2000, 2000))


def errors(posterior, truth):
    return np.linalg.norm(posterior.points - truth, axis=1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 10, 45, 200])
def test_right_peaks_stay_where_they_are(count):
    *training, truth = make_shapes(count, 25)
    noisy = truth + np.random.default_rng(1).normal(size=truth.shape) * NOISE
    posterior = shape_posterior(
        fit_shape(np.array(training), names_of(count)), found(noisy), np.full(count, NOISE)
    )
    assert errors(posterior, noisy).max() < 4 * NOISE
    assert np.isfinite(posterior.covariance).all() and posterior.hypothesis == "as found"
    assert (np.linalg.eigvalsh(posterior.covariance) > 0).all()


def test_one_wrong_peak_is_put_right_and_told_by_its_distance():
    *training, truth = make_shapes(10, 25)
    wrong = truth.copy()
    wrong[4] += (0, 40, 0)
    posterior = shape_posterior(fit_shape(np.array(training), names_of(10)), found(wrong), np.full(10, NOISE))
    assert errors(posterior, truth)[4] < 2 and np.delete(errors(posterior, truth), 4).max() < 0.5
    assert posterior.distance[4] > 50 and np.delete(posterior.distance, 4).max() < 2
    assert posterior.near_mass[4] == 0


def test_a_second_peak_is_taken_where_the_first_does_not_fit():
    *training, truth = make_shapes(10, 25)
    first, second = truth.copy(), truth.copy()
    first[4] += (0, 40, 0)
    peaks = found(first, [second])
    posterior = shape_posterior(fit_shape(np.array(training), names_of(10)), peaks, np.full(10, 0.05))
    assert errors(posterior, truth)[4] < 0.1


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_third_to_half_of_wrong_peaks_do_not_move_the_others(share):
    *training, truth = make_shapes(45, 25)
    random = np.random.default_rng(2)
    wrong = truth + random.normal(size=truth.shape) * NOISE
    astray = random.random(45) < share
    away = random.normal(size=(astray.sum(), 3))
    wrong[astray] += 30 * away / np.linalg.norm(away, axis=1, keepdims=True)
    posterior = shape_posterior(fit_shape(np.array(training), names_of(45)), found(wrong), np.full(45, NOISE))
    assert errors(posterior, truth).max() < 3 and np.median(errors(posterior, truth)) < 0.6


def test_half_of_the_points_missing_in_training_and_in_the_case():
    *training, truth = make_shapes(12, 60, missing=0.5)
    complete = make_shapes(12, 60)[-1]
    seen = np.where(np.isfinite(truth), complete, np.nan)
    posterior = shape_posterior(fit_shape(np.array(training), names_of(12)), found(seen), np.full(12, NOISE))
    there = np.isfinite(truth).all(axis=1)
    assert errors(posterior, complete)[there].max() < 1
    assert errors(posterior, complete)[~there].max() < 12  # far nearer than the shape's 35 mm
    spread = np.sqrt(np.trace(posterior.covariance, axis1=1, axis2=2))
    assert spread[~there].min() > spread[there].max()


def test_a_mirrored_case_is_not_turned_inside_out():
    """Poses are proper rotations: a mirror image fits badly, and says so."""
    *training, truth = make_shapes(10, 25)
    model = fit_shape(np.array(training), names_of(10))
    right = shape_posterior(model, found(truth), np.full(10, NOISE))
    mirrored = shape_posterior(model, found(truth * (-1, 1, 1)), np.full(10, NOISE))
    assert mirrored.misfit > right.misfit + 2


def test_exchanged_sides_are_exchanged_back():
    random = np.random.default_rng(0)
    right = random.normal(size=(5, 3)) * 10 + (30, 0, 0)
    mean = np.concatenate([right, right * (-1, 1, 1), random.normal(size=(3, 3)) * (0, 20, 20)])
    names = [f"right {n}" for n in range(5)] + [f"left {n}" for n in range(5)] + ["chin", "nose", "top"]
    cases = [mean + random.normal(size=mean.shape) for _ in range(20)]
    model = fit_shape(np.array(cases[:-1]), names)
    swapped = cases[-1][[5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 10, 11, 12]]
    posterior = shape_posterior(model, found(swapped), np.full(13, 0.5))
    assert posterior.hypothesis == "left and right exchanged"
    assert errors(posterior, cases[-1]).max() < 2


def chain(levels=5, seed=0):
    """Three points on each of five vertebrae that grow from top to bottom; their middle line is curved."""
    random = np.random.default_rng(seed)
    names, points = [], []
    for level in range(1, levels + 1):
        middle = np.array([0.0, 0.3 * (level - 3) ** 2, -35.0 * level])
        for part, offset in (("front", 15 + level), ("back", -15 - level), ("top", 0)):
            names.append(f"L{level}_{part}")
            points.append(middle + (0, offset, 12 if part == "top" else 0))
    return names, np.array(points) + random.normal(size=(3 * levels, 3)) * 0.3


def test_a_chain_one_level_off_is_found_when_its_ends_say_so():
    names, _ = chain()
    cases = [chain(seed=seed)[1] for seed in range(30)]
    model = fit_shape(np.array(cases[:-1]), names)
    off = np.full_like(cases[-1], np.nan)
    off[3:] = cases[-1][:-3]  # what is L1 was called L2, and so on; nothing is called L1
    posterior = shape_posterior(model, found(off), np.full(15, 0.5))
    assert posterior.hypothesis == "one level up"
    assert errors(posterior, cases[-1])[:12].max() < 2


def test_chains_are_told_by_numbers_in_names_and_bare_numbers_are_none():
    assert [one.name for one in hypotheses_for(["1", "2", "3", "10"])] == ["as found"]
    tried = {one.name: one.source.tolist() for one in hypotheses_for(["L1", "L2", "L3", "tip"])}
    assert tried == {"as found": [0, 1, 2, 3], "one level up": [1, 2, -1, 3], "one level down": [-1, 0, 1, 3]}


def test_symmetry_is_seen_in_the_mean_shape():
    random = np.random.default_rng(3)
    right = random.normal(size=(4, 3)) * 10 + (30, 0, 0)
    middle = random.normal(size=(3, 3)) * (0, 20, 20)
    mean = np.concatenate([right, right * (-1, 1, 1), middle]) @ Rotation.random(random_state=1).as_matrix().T
    pairs = [(0, 4), (1, 5), (2, 6), (3, 7)]
    assert mirrored_pairs(mean) == pairs
    assert flip_groups(mean, pairs) == [list(pair) for pair in pairs]
    assert flip_groups(mean, pairs[:1]) is None  # six that stand alone are too many
    one_sided = np.concatenate([mean, mean.mean(axis=0, keepdims=True) + 25])
    assert flip_groups(one_sided, pairs) == [*(list(pair) for pair in pairs), [11]]
    assert mirrored_pairs(one_sided) == pairs
    assert mirrored_pairs(random.normal(size=(9, 3)) * 20) is None
    assert mirrored_pairs(random.normal(size=(9, 3)) * (20, 20, 0)) is None  # flat: its own mirror image


def test_landmarks_between_left_and_right_are_their_own_partners():
    random = np.random.default_rng(3)
    plane = random.normal(size=(9, 3)) * (0.2, 20, 40)
    slightly, across = (Rotation.from_euler("z", angle, degrees=True).as_matrix().T for angle in (15.0, 60.0))
    cases = np.stack([plane @ slightly + random.normal(size=3) * 50 for _ in range(5)])
    cases[0, :4] = np.nan
    assert lie_between_sides(cases)
    assert not lie_between_sides(cases @ across)  # a plane, but not between left and right
    assert not lie_between_sides(cases * (1, 1, 1) + random.normal(size=cases.shape) * (8, 0, 0))
    assert not lie_between_sides(cases[:, :3])  # any three lie in a plane


def test_a_model_survives_its_file():
    model = fit_shape(make_shapes(6, 20), names_of(6))
    again = ShapeModel.from_json(model.to_json())
    assert again.names == model.names and np.allclose(again.modes, model.modes, atol=1e-4)
    assert np.allclose(again.mean, model.mean, atol=1e-4) and again.seen.tolist() == [20] * 6


def test_the_mean_and_the_spread_of_known_shapes_are_recovered():
    shapes = make_shapes(8, 400)
    model = fit_shape(shapes, names_of(8))
    distances = np.linalg.norm(shapes[:, 0] - shapes[:, 1], axis=1)
    assert np.linalg.norm(model.mean[0] - model.mean[1]) == pytest.approx(distances.mean(), rel=0.02)
    assert model.modes.shape[2] <= 40 and model.spread_mm < 0.6


def test_the_way_to_the_next_level_turns_where_the_chain_is_bent_and_not_about_a_line():
    names = [f"L{level}" for level in range(1, 6)]
    line = np.outer(np.arange(5.0), (0, 3, -30))
    move = level_move(names, line)
    assert np.allclose(move[:3, :3], np.eye(3)) and np.allclose(move[:3, 3], (0, 3, -30))
    angles = np.radians(15 * np.arange(5.0))
    arc = 100 * np.stack([np.zeros(5), np.cos(angles), -np.sin(angles)], axis=1)
    turn = Rotation.from_matrix(level_move(names, arc)[:3, :3])
    assert np.degrees(turn.magnitude()) == pytest.approx(15, abs=0.1)
    assert np.allclose(voxel_to_world(arc[:-1], level_move(names, arc)), arc[1:])
    assert level_move(["a", "b", "c"], line[:3]) is None
