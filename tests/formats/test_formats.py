# SPDX-License-Identifier: Apache-2.0
"""One way to read and write every kind of landmark file."""

from __future__ import annotations

import numpy as np
import pytest

from auto3dlandmark import LandmarkError, LandmarkSet, read_landmarks, write_landmarks
from auto3dlandmark.formats import SUFFIXES, landmark_suffix
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN


@pytest.fixture
def random_landmarks():
    """Fifty landmarks of every status, some with a score."""
    random = np.random.default_rng(0)
    status = random.choice([UNKNOWN, PRESENT, ABSENT], size=50)
    points = np.where((status == PRESENT)[:, None], random.uniform(-300, 300, size=(50, 3)), np.nan)
    scores = np.where(random.random(50) < 0.5, random.random(50), np.nan)
    return LandmarkSet([f"L.{row} ö" for row in range(50)], points, status, scores)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_back(tmp_path, suffix, random_landmarks, assert_same):
    write_landmarks(tmp_path / f"case{suffix}", random_landmarks)
    assert_same(read_landmarks(tmp_path / f"case{suffix}"), random_landmarks)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_four_points_are_the_same_in_every_format(data_dir, suffix, four_points, assert_same):
    assert_same(read_landmarks(data_dir / f"four_points{suffix}"), four_points)


@pytest.mark.parametrize("first", SUFFIXES)
@pytest.mark.parametrize("second", SUFFIXES)
def test_changing_the_format_changes_no_point(tmp_path, first, second, four_points, assert_same):
    write_landmarks(tmp_path / f"one{first}", four_points)
    write_landmarks(tmp_path / f"two{second}", read_landmarks(tmp_path / f"one{first}"))
    assert_same(read_landmarks(tmp_path / f"two{second}"), four_points)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_writing_the_same_points_twice_gives_the_same_bytes(tmp_path, suffix, random_landmarks):
    write_landmarks(tmp_path / f"one{suffix}", random_landmarks)
    write_landmarks(tmp_path / f"two{suffix}", read_landmarks(tmp_path / f"one{suffix}"))
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_set_is_kept(tmp_path, suffix):
    write_landmarks(tmp_path / f"case{suffix}", LandmarkSet((), np.zeros((0, 3))))
    assert len(read_landmarks(tmp_path / f"case{suffix}")) == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_set_without_any_point_is_kept(tmp_path, suffix, assert_same):
    landmarks = LandmarkSet(("a", "b"), np.full((2, 3), np.nan), np.array([ABSENT, UNKNOWN]))
    write_landmarks(tmp_path / f"case{suffix}", landmarks)
    assert_same(read_landmarks(tmp_path / f"case{suffix}"), landmarks)


@pytest.mark.parametrize(
    "name, suffix",
    [
        ("C3HeB.FeJ_.mrk.json", ".mrk.json"),
        ("case.MRK.JSON", ".mrk.json"),
        ("a.nii.gz.csv", ".csv"),
        ("case.json", None),
        ("casemrk.json", None),
        ("case.csv.bak", None),
        ("csv", None),
    ],
)
def test_the_suffix_decides(name, suffix):
    assert landmark_suffix(f"folder.csv/{name}") == suffix


def test_a_case_id_with_dots_is_no_hindrance(tmp_path, four_points, assert_same):
    write_landmarks(tmp_path / "C3HeB.FeJ_.mrk.json", four_points)
    assert_same(read_landmarks(str(tmp_path / "C3HeB.FeJ_.mrk.json")), four_points)


@pytest.mark.parametrize("name", ["case.json", "case.txt", "case.nii.gz", "case"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path, name, four_points):
    with pytest.raises(
        LandmarkError, match=rf"{name}: unknown kind of landmark file.*\.mrk\.json, \.fcsv, \.csv"
    ):
        read_landmarks(tmp_path / name)
    with pytest.raises(LandmarkError, match="unknown kind of landmark file"):
        write_landmarks(tmp_path / name, four_points)
    assert list(tmp_path.iterdir()) == []


def test_a_real_slicer_file_holds_its_landmarks_in_lps(shared_data):
    landmarks = read_landmarks(shared_data / "mouse_skull" / "landmarks" / "C57L_J_.mrk.json")
    assert len(landmarks) == 45 and landmarks.present.all()
    np.testing.assert_allclose(
        landmarks.points[0], [-6.25364, -9.04585, 23.4349]
    )  # the file says 6.25, 9.05, 23.4
