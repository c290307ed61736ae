# SPDX-License-Identifier: Apache-2.0
"""Planted faults are found and named first; good data, real data included, give no serious finding."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from auto3dlandmark import read_landmarks, write_landmarks
from auto3dlandmark.checks.arrangement import compare_arrangements
from auto3dlandmark.checks.dataset import check_dataset
from auto3dlandmark.checks.findings import ERROR, SUSPECT
from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.geometry import lps_to_ras
from auto3dlandmark.landmarks import LandmarkSet

NAMES = ["apex", "left", "right", "front", "back", "low"]
SHAPE = np.array([[0, 0, 30], [-20, 0, 0], [22, 1, 2], [0, 25, -3], [3, -24, 1], [2, 3, -28.0]])


@pytest.fixture
def shapes():
    """Thirty cases of one shape that varies by a millimetre, in any pose and place."""
    random = np.random.default_rng(4)

    def case(number):
        turn = Rotation.random(rng=random).as_matrix()
        points = SHAPE * random.uniform(0.95, 1.05) + random.normal(scale=1.0, size=SHAPE.shape)
        return points @ turn.T + random.uniform(-100, 100, size=3)

    return {f"case {number:02d}": case(number) for number in range(30)}


def test_good_cases_give_no_finding(shapes):
    assert compare_arrangements(shapes, NAMES) == []


def test_a_moved_landmark_is_named_with_how_far_and_what_is_usual(shapes):
    before = shapes["case 07"][4].copy()
    shapes["case 07"][4] += [0, 0, 20]
    (found,) = compare_arrangements(shapes, NAMES)
    assert np.linalg.norm(found.expected - before) < 4 and "move 'back' to (" in found.suggestion
    assert (found.case, found.landmarks) == ("case 07", ("back",))
    assert "'back' lies " in found.text and "in 95 % of the cases it is within" in found.text


def test_two_swapped_names_are_named(shapes):
    shapes["case 11"][[1, 2]] = shapes["case 11"][[2, 1]]
    (found,) = compare_arrangements(shapes, NAMES)
    assert (found.case, found.landmarks) == (
        "case 11",
        ("left", "right"),
    ) and "probably swapped" in found.text


def test_a_mirrored_case_is_told_from_a_turned_one(shapes):
    shapes["case 03"] = shapes["case 03"] * [1, -1, 1]
    (found,) = compare_arrangements(shapes, NAMES)
    assert found.case == "case 03" and "mirror image" in found.text


@pytest.mark.parametrize("factor", [1e-3, 0.1, 10, 1000])
def test_wrong_units_are_told_by_the_size(shapes, factor):
    shapes["case 20"] = shapes["case 20"] * factor
    (found,) = compare_arrangements(shapes, NAMES)
    times = float(found.text.split(" are ")[1].split()[0])
    assert found.case == "case 20" and times == pytest.approx(factor, rel=0.1) and "units" in found.text


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_voxel_size_is_told_by_the_size(shapes, factor):
    shapes["case 20"] = shapes["case 20"] * factor
    found = compare_arrangements(shapes, NAMES)[0]
    assert found.case == "case 20" and "voxel size in the image's header" in found.text


def test_the_worst_comes_first(shapes):
    shapes["case 01"][0] += 12
    shapes["case 02"] = shapes["case 02"] * 100
    shapes["case 05"][3] += 40
    assert [found.case for found in compare_arrangements(shapes, NAMES)] == ["case 02", "case 05", "case 01"]


def test_absent_landmarks_are_no_fault(shapes):
    for number, case in enumerate(shapes):
        shapes[case][number % 6] = np.nan
    assert compare_arrangements(shapes, NAMES) == []


@pytest.mark.parametrize("cases, landmarks", [(7, 6), (30, 3), (0, 6)])
def test_too_little_to_compare_gives_no_finding(shapes, cases, landmarks):
    few = {
        case: points[:landmarks] * (1 if number else 50)
        for number, (case, points) in enumerate(shapes.items())
    }
    assert compare_arrangements(dict(list(few.items())[:cases]), NAMES[:landmarks]) == []


# On real data

CASE = "hippocampus_101"


@pytest.fixture
def hippocampus(shared_data, tmp_path):
    """A copy of sixty cases."""
    for part in ("images", "landmarks"):
        (tmp_path / part).mkdir()
        for path in sorted((shared_data / "hippocampus" / part).iterdir())[40:100]:
            shutil.copy(path, tmp_path / part)
    return tmp_path


def plant(dataset, change):
    path = dataset / "landmarks" / f"{CASE}.mrk.json"
    landmarks = read_landmarks(path)
    points = landmarks.points.copy()
    write_landmarks(
        path, LandmarkSet(landmarks.names, change(points, list(landmarks.names)), landmarks.status)
    )


def first(dataset):
    return check_dataset(scan_folder(dataset), progress=False)[0]


@pytest.mark.parametrize("name", ["hippocampus", "mouse_skull"])
def test_good_real_data_have_no_serious_finding(shared_data, name):
    found = check_dataset(scan_folder(shared_data / name), progress=False)
    assert [finding for finding in found if finding.severity in (ERROR, SUSPECT)] == []


def test_a_swap_in_a_real_case_is_named_first(hippocampus):
    def swap(points, names):
        pair = [names.index("anterior_tip"), names.index("posterior_tip")]
        points[pair] = points[pair[::-1]]
        return points

    plant(hippocampus, swap)
    finding = first(hippocampus)
    assert (finding.severity, finding.case) == (SUSPECT, CASE)
    assert set(finding.landmarks) == {"anterior_tip", "posterior_tip"}


def test_a_left_right_mirrored_real_case_is_named_first(hippocampus):
    plant(
        hippocampus, lambda points, names: (points - points.mean(axis=0)) * [-1, 1, 1] + points.mean(axis=0)
    )
    finding = first(hippocampus)
    assert (finding.severity, finding.case) == (SUSPECT, CASE) and "mirror" in finding.message


@pytest.mark.parametrize("direction", [(1, 0, 0), (0, 1, 0), (0, 0, -1), (-0.6, 0.8, 0)])
def test_a_landmark_moved_by_8_mm_in_a_real_case_is_named_first(hippocampus, direction):
    def move(points, names):
        points[names.index("body_centroid")] += 8 * np.array(direction)
        return points

    plant(hippocampus, move)
    finding = first(hippocampus)
    assert (finding.severity, finding.case, finding.landmarks) == (SUSPECT, CASE, ("body_centroid",))


@pytest.mark.parametrize("key, value", [("coordinateUnits", "um")])
def test_the_wrong_unit_in_a_real_case_is_named_first(hippocampus, key, value):
    path = hippocampus / "landmarks" / f"{CASE}.mrk.json"
    text = path.read_text()
    assert '"coordinateUnits": "mm"' in text
    path.write_text(text.replace('"coordinateUnits": "mm"', f'"{key}": "{value}"'))
    finding = first(hippocampus)
    assert finding.case == CASE
    said = " ".join(
        f.message for f in check_dataset(scan_folder(hippocampus), progress=False) if f.case == CASE
    )
    assert "Check the units" in said


def test_x_and_y_negated_in_a_real_case_is_named_first(hippocampus):
    plant(hippocampus, lambda points, names: lps_to_ras(points))
    finding = first(hippocampus)
    assert (finding.severity, finding.case) == (ERROR, CASE)


def test_a_duplicated_image_is_named_first(hippocampus):
    for part, suffix in (("images", ".nii.gz"), ("landmarks", ".mrk.json")):
        shutil.copy(hippocampus / part / f"{CASE}{suffix}", hippocampus / part / f"zz_copy{suffix}")
    finding = first(hippocampus)
    assert (finding.severity, finding.case) == (SUSPECT, CASE) and "'zz_copy'" in finding.message
