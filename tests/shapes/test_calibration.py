# SPDX-License-Identifier: Apache-2.0
"""What held-out cases say: whether the shape helps, how far off points are, who is absent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from auto3dlandmark.conventions.same_slice import SameSlice
from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.geometry import rigid
from auto3dlandmark.landmarks import ABSENT, PRESENT, LandmarkSet
from auto3dlandmark.shapes.absence import fit_presence, groups_of_absence
from auto3dlandmark.shapes.calibration import HeldOut, evidence_of, in_slices
from auto3dlandmark.shapes.estimator import ShapeEstimator, fit_estimator, honest_landmarks
from auto3dlandmark.shapes.hypotheses import hypotheses_for
from auto3dlandmark.shapes.peaks import Peaks

NAMES = [f"part {letter}" for letter in "abcdefgh"]


def cases(count, astray, seed=0, free=False, cut=0.0):
    """
    Cases of one shape (or, ``free``, of none), found with 0.4 mm of noise, a share of the peaks 25 mm astray.

    The last two landmarks stand highest, and are cut off and absent in a share of the cases.
    """
    random = np.random.default_rng(seed)
    mean = np.random.default_rng(99).normal(size=(8, 3)) * 15
    mean[6:, 2] = (40, 42)
    found = []
    for number in range(count):
        points = mean + random.normal(size=(8, 3)) * (8.0 if free else 0.5)
        status = np.full(8, PRESENT)
        top = 60
        if random.random() < cut:
            status[6:], top = ABSENT, 35
        places = points + random.normal(size=(8, 3)) * 0.4
        away = random.normal(size=(8, 3))
        astray_now = random.random(8) < astray
        places[astray_now] += 25 * (away / np.linalg.norm(away, axis=1, keepdims=True))[astray_now]
        mass = np.where(status == PRESENT, 0.9, random.uniform(0.05, 0.6, size=8))
        points[status == ABSENT] = np.nan
        affine = np.eye(4)
        affine[:3, 3] = -60
        image = (120, 120, 60 + top)
        peaks = Peaks(places[:, None], mass[:, None], np.ones((8, 1)), affine, image)
        found.append((LandmarkSet(NAMES, points, status), peaks, f"case {number}"))
    return found


def estimator_of(training):
    return fit_estimator([landmarks for landmarks, _, _ in training], NAMES, noise_mm=0.4)


def held_out(found, estimator):
    return [HeldOut(name, peaks, truth.points, truth.status, estimator.model) for truth, peaks, name in found]


def test_it_is_used_where_it_helps_and_errors_show_it():
    found = cases(60, astray=0.2)
    shape = estimator_of(found[:30])
    known = shape.calibrated(held_out(found[30:45], shape)).calibration
    assert known.helps and known.before_mm > 4 and known.after_mm < 1
    for truth, peaks, _ in found[45:]:
        landmarks = shape.calibrated(held_out(found[30:45], shape)).landmarks(peaks)
        assert np.linalg.norm(landmarks.points - truth.points, axis=1).max() < 3


def test_where_landmarks_say_nothing_about_each_other_nothing_changes():
    found = cases(60, astray=0.0, free=True)
    shape = estimator_of(found[:30]).calibrated(held_out(found[30:], estimator_of(found[:30])))
    assert not shape.calibration.helps
    landmarks = shape.landmarks(found[-1][1])
    assert np.array_equal(landmarks.points, found[-1][1].first)
    moved = shape.landmarks(found[-1][1], "on")
    assert not np.array_equal(moved.points, landmarks.points)
    assert np.array_equal(moved.estimates.peaks, landmarks.points)  # what was found stays beside it


@pytest.mark.parametrize("astray", [0.0, 0.15])
def test_radii_hold_what_they_promise_on_cases_nobody_has_seen(astray):
    found = cases(160, astray, seed=5)
    shape = estimator_of(found[:30])
    known = shape.calibrated(held_out(found[30:60], shape))
    inside = []
    for truth, peaks, _ in found[60:]:
        landmarks = known.landmarks(peaks)
        inside.append(
            np.linalg.norm(landmarks.points - truth.points, axis=1)[:, None] <= landmarks.estimates.radii_mm
        )
    coverage = np.mean(np.concatenate(inside), axis=0)
    assert np.abs(coverage - (0.5, 0.9, 0.95)).max() < 0.09


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_held_out_cases_give_radii_of_the_size_of_their_errors(count):
    """What tells an error cannot be learnt from them, and must not be guessed by the power of e."""
    found = cases(80, astray=0.0, seed=7)
    shape = estimator_of(found[:30])
    known = shape.calibrated(held_out(found[30 : 30 + count], shape))
    odd = cases(1, astray=0.9, seed=8)
    radii = np.concatenate(
        [known.landmarks(peaks).estimates.radius95_mm for _, peaks, _ in [*found[60:], *odd]]
    )
    assert np.nanmin(radii) > 0.3 and np.nanmax(radii) < 10


def test_a_fold_with_three_held_out_cases_decides_alike_for_them_and_for_others():
    found = cases(33, astray=0.3, seed=11)
    shape = estimator_of(found[:30])
    evidence = held_out(found[30:], shape)
    assert shape.calibrated(evidence).calibration.helps
    for case, landmarks in zip(evidence, honest_landmarks(shape, evidence)):
        assert not np.array_equal(landmarks.points, case.peaks.first)


def test_held_out_cases_are_judged_by_the_others_alone():
    found = cases(40, astray=0.2)
    shape = estimator_of(found[:30])
    first, *others = evidence = held_out(found[30:], shape)
    honest = honest_landmarks(shape, evidence)[0]
    alone = shape.calibrated(others).landmarks(first.peaks)
    assert np.array_equal(honest.points, alone.points) and alone.present.all()
    assert np.array_equal(honest.estimates.radii_mm, alone.estimates.radii_mm)


def test_one_held_out_case_gives_points_and_no_radii():
    found = cases(31, astray=0.0)
    shape = estimator_of(found[:30])
    (landmarks,) = honest_landmarks(shape, held_out(found[30:], shape))
    assert np.isnan(landmarks.estimates.radii_mm).all() and landmarks.present.all()


def test_what_is_cut_off_is_absent_and_says_why():
    found = cases(80, astray=0.05, cut=0.4, seed=3)
    shape = estimator_of(found[:40])
    assert shape.groups.tolist() == [-1] * 6 + [6, 6]
    known = shape.calibrated(held_out(found[40:60], shape))
    right, notes = [], set()
    for truth, peaks, _ in found[60:]:
        landmarks = known.landmarks(peaks)
        right.append((landmarks.status == truth.status).mean())
        notes |= {landmarks.estimates.notes[row] for row in range(8) if landmarks.status[row] == ABSENT}
        assert ((landmarks.estimates.probability >= 0) & (landmarks.estimates.probability <= 1)).all()
    assert np.mean(right) > 0.97
    assert notes and all("outside the image" in note for note in notes)


def test_a_landmark_that_was_never_absent_is_so_only_far_outside_the_image():
    found = cases(50, astray=0.0)
    shape = estimator_of(found[:40])
    known = shape.calibrated(held_out(found[40:], shape))
    _, peaks, _ = found[-1]
    cut = Peaks(peaks.positions, peaks.masses, peaks.spreads, peaks.affine, (120, 120, 90))
    landmarks = known.landmarks(cut)
    assert landmarks.status[6:].tolist() == [ABSENT, ABSENT]
    assert landmarks.estimates.notes[6] == "outside the image"
    assert landmarks.present[:6].all()


def test_landmarks_that_were_always_absent_together_are_a_group():
    absent = np.array([[0, 1, 1, 0], [0, 0, 0, 1], [0, 1, 1, 1]], dtype=bool)
    assert groups_of_absence(absent).tolist() == [-1, 1, 1, 3]


def test_too_few_absent_points_teach_nothing():
    features = [np.ones((5, 4))]
    assert fit_presence(features, [np.array([True, True, True, False, False])]) is None
    assert fit_presence([], []) is None


def test_a_case_that_fits_badly_is_unusual():
    found = cases(60, astray=0.05)
    shape = estimator_of(found[:30])
    known = shape.calibrated(held_out(found[30:], shape))
    (odd,) = cases(1, astray=0.9, seed=17)
    usual = [known.landmarks(peaks).estimates.unusual for _, peaks, _ in found[30:]]
    assert max(usual) <= 1 and known.landmarks(odd[1]).estimates.unusual > 1.5


def test_radii_of_a_case_in_doubt_reach_where_others_find_the_landmarks():
    found = cases(40, astray=0.0)
    shape = estimator_of(found[:30])
    known = shape.calibrated(held_out(found[30:], shape))
    _, peaks, _ = found[-1]
    doubted = replace(peaks, elsewhere_mm=np.arange(8.0) + 30, signs={"doubt": 2.0})
    stored = Peaks.from_json(doubted.to_json(NAMES), NAMES, "peaks")
    sure, unsure = known.landmarks(peaks), known.landmarks(stored)
    wider = unsure.estimates.radii_mm - sure.estimates.radii_mm
    assert wider == pytest.approx(np.outer(np.arange(8.0) + 30, [0, 1, 1]), abs=1e-4)
    assert unsure.points == pytest.approx(sure.points, abs=1e-4) and unsure.estimates.unusual == 2
    assert all("landmarks are found elsewhere" in note for note in unsure.estimates.notes)


def test_it_survives_its_file_and_a_damaged_one_is_refused(tmp_path):
    found = cases(50, astray=0.1, cut=0.4)
    shape = estimator_of(found[:30])
    known = shape.calibrated(held_out(found[30:], shape))
    known.write(tmp_path / "shape.json")
    again = ShapeEstimator.read(tmp_path / "shape.json", NAMES)
    for _, peaks, _ in found[:5]:
        first, second = known.landmarks(peaks), again.landmarks(peaks)
        assert np.allclose(first.points, second.points, atol=1e-2, equal_nan=True)
        assert np.allclose(first.estimates.radii_mm, second.estimates.radii_mm, rtol=1e-2, equal_nan=True)
    with pytest.raises(LandmarkError, match="other landmarks than the bundle"):
        ShapeEstimator.read(tmp_path / "shape.json", NAMES[::-1])
    content = read_json(tmp_path / "shape.json")
    for damage in (
        {"version": 9},
        {"shape": 3},
        {"calibration": {"helps": True}},
        {"absent_together": [["no"]]},
    ):
        write_json(tmp_path / "damaged.json", {**content, **damage})
        with pytest.raises(LandmarkError, match=r"damaged\.json.*Calibrate the bundle again"):
            ShapeEstimator.read(tmp_path / "damaged.json")


def one_slice():
    """The first four landmarks in one sagittal slice."""
    groups = np.full((3, 8), -1)
    groups[0, :4] = 0
    return SameSlice(groups)


def test_points_that_are_annotated_in_one_slice_are_laid_into_one_and_what_was_found_stays(tmp_path):
    found = []
    for truth, peaks, name in cases(40, astray=0.0, free=True):
        points = truth.points.copy()
        points[:4, 0] = 4.5
        peaks.positions[:4, 0, 0] = 3 + np.arange(4)  # tilted, as the anatomy is
        found.append((LandmarkSet(NAMES, points, truth.status), peaks, name))
    shape = replace(estimator_of(found[:30]), same_slice=one_slice())
    known = shape.calibrated(held_out(found[30:], shape))
    known.write(tmp_path / "shape.json")
    again = ShapeEstimator.read(tmp_path / "shape.json", NAMES)
    truth, peaks, _ = found[0]
    for estimator in (shape, known, again):  # held-out cases or none
        landmarks = estimator.landmarks(peaks)
        assert np.allclose(landmarks.points[:4, 0], 4.5, atol=0.05)
        assert np.allclose(landmarks.estimates.peaks, peaks.first)
        assert np.allclose(estimator.landmarks(peaks, "off").points, peaks.first)
    turned = replace(peaks, affine=rigid(Rotation.from_euler("z", 60, degrees=True).as_matrix(), [0, 0, 0]))
    assert np.array_equal(in_slices(known.same_slice, peaks.first, turned), peaks.first)  # it lies askew
    without = replace(shape, same_slice=None).calibrated(held_out(found[30:], shape))
    assert known.calibration.before_mm < 0.9 * without.calibration.before_mm


def test_a_slice_that_held_out_cases_do_not_lie_in_is_forgotten():
    found = cases(40, astray=0.0)
    shape = replace(estimator_of(found[:30]), same_slice=one_slice())
    assert shape.calibrated(held_out(found[30:], shape)).same_slice is None


def test_what_is_likely_is_judged_by_the_noise_itself_however_near_the_peaks_points_are_drawn():
    found = cases(40, astray=0.0, free=True)
    shape = estimator_of(found[:30])
    known = shape.calibrated(held_out(found[30:], shape)).calibration
    assert known.factor < 1 and known.noise_mm == pytest.approx(np.full(8, 0.4), rel=0.3)
    _, peaks, _ = found[0]
    told, drawn = (
        evidence_of(shape.model, peaks, known.noise_mm, shape.groups, hypotheses_for(NAMES), factor)
        for factor in (1.0, known.factor)
    )
    assert told.signs == drawn.signs and np.array_equal(told.presence, drawn.presence)
    distances = [np.linalg.norm(one.posterior.points - peaks.first, axis=1).mean() for one in (told, drawn)]
    assert distances[1] < distances[0]


def test_a_stray_peak_is_not_followed_however_near_the_peaks_points_are_drawn():
    found = cases(40, astray=0.0)
    shape = estimator_of(found[:30])
    for truth, peaks, _ in found[30:]:
        positions, masses = peaks.positions.copy(), peaks.masses.copy()
        positions[2, 0] += (0, 9, 0)
        masses[2, 0] = 0.3
        astray = replace(peaks, positions=positions, masses=masses)
        tried = hypotheses_for(NAMES)
        drawn = evidence_of(shape.model, astray, np.full(8, 0.4), shape.groups, tried, 0.15).posterior
        assert np.linalg.norm(drawn.points[2] - truth.points[2]) < 2.5
        others = np.arange(8) != 2
        assert np.linalg.norm((drawn.points - peaks.first)[others], axis=1).max() < 0.2


def test_cases_in_doubt_do_not_widen_the_radii_of_others():
    found = cases(40, astray=0.0)
    shape = estimator_of(found[:30])
    sure = held_out(found[30:], shape)
    far = np.full(8, 52.0)
    lost = [
        replace(one, peaks=replace(one.peaks, positions=one.peaks.positions + 30, elsewhere_mm=far))
        for one in held_out(found[20:24], shape)
    ]
    _, peaks, _ = found[0]
    alone, beside = (
        shape.calibrated(known).landmarks(peaks, "off").estimates.radius95_mm for known in (sure, sure + lost)
    )
    assert beside == pytest.approx(alone, rel=0.1)


def test_cases_in_doubt_say_nothing_of_who_is_there():
    found = cases(60, astray=0.0, cut=0.4, seed=3)
    shape = estimator_of(found[:30])
    sure = held_out(found[30:50], shape)
    lost = [
        replace(one, peaks=replace(one.peaks, masses=1 - one.peaks.masses, elsewhere_mm=np.full(8, 30.0)))
        for one in held_out(found[50:], shape)
    ]
    alone, beside = (shape.calibrated(known).calibration.presence for known in (sure, sure + lost))
    assert beside.points == alone.points and np.array_equal(beside.weights, alone.weights)
