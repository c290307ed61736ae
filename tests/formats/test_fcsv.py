# SPDX-License-Identifier: Apache-2.0
"""Fiducial lists of older Slicers, in all the forms they are found in."""

from __future__ import annotations

import numpy as np
import pytest

from auto3dlandmark import LandmarkError, LandmarkSet
from auto3dlandmark.formats.fcsv import read_fcsv, write_fcsv
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN

COLUMNS = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
ROW = "7,1,2,3,0,0,0,1,1,1,0,nose,,"


@pytest.fixture
def write(tmp_path):
    """Write a file of these lines."""

    def write(*lines, end="\n"):
        path = tmp_path / "case.fcsv"
        path.write_bytes((end.join(lines) + end).encode())
        return path

    return write


def lines(system="0", version="4.10"):
    return [f"# Markups fiducial file version = {version}", f"# CoordinateSystem = {system}", COLUMNS]


@pytest.mark.parametrize("system, x", [("0", 1), ("RAS", 1), ("1", -1), ("LPS", -1)])
def test_the_coordinate_system_is_honoured_by_number_or_name(write, system, x):
    assert read_fcsv(write(*lines(system), ROW)).points.tolist() == [[x, 2 * x, 3]]


@pytest.mark.parametrize(
    "header", [[], [COLUMNS], ["# Markups fiducial file version = 4.6", COLUMNS], ["# a remark"]]
)
def test_without_a_coordinate_system_it_is_ras(write, header):
    assert read_fcsv(write(*header, ROW)).points.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("version", ["4.0", "4.6", "4.10", "4.11", "5.0", "5.6", "4"])
def test_known_versions_are_read(write, version):
    assert len(read_fcsv(write(*lines(version=version), ROW))) == 1


@pytest.mark.parametrize(
    "header, message",
    [
        (lines(version="3.6"), "is of version '3.6'"),
        (lines(version="6.0"), "is of version '6.0'"),
        (lines(version="4.x"), "is of version '4.x'"),
        (lines(system="IJK"), "CoordinateSystem is 'IJK'"),
        (lines(system="2"), "CoordinateSystem is '2'"),
        (["# columns = id,x,y,label"], "has no column 'z'"),
        (["# columns = id,x,y,z,name"], "has no column 'label'"),
    ],
)
def test_what_is_not_known_is_refused_by_name(write, header, message):
    with pytest.raises(LandmarkError, match=rf"case\.fcsv: {message}"):
        read_fcsv(write(*header, ROW))


@pytest.mark.parametrize("row", [ROW, ROW.rstrip(",") + ",", ROW + ",2,0", ROW.replace("nose", '"nose"')])
def test_short_and_long_rows_are_read(write, row):
    assert read_fcsv(write(*lines(), row)).names == ("nose",)


@pytest.mark.parametrize("row", ["7,1,2,3", ROW + ",2", ROW + ",2,0,0"])
def test_rows_of_another_length_are_refused_by_their_number(write, row):
    with pytest.raises(LandmarkError, match="row 5: has .* fields"):
        read_fcsv(write(*lines(), ROW, row))


def test_the_label_names_a_landmark_and_the_id_does_not(write):
    found = read_fcsv(write(*lines(), "1,0,0,0,0,0,0,1,1,1,0,2,first,", "2,0,0,0,0,0,0,1,1,1,0,1,second,"))
    assert found.names == ("2", "1")


@pytest.mark.parametrize(
    "label, name", [('"a,b"', "a,b"), ('"say ""x"""', 'say "x"'), ("9 ", "9 "), ("20'", "20'"), ("#1", "#1")]
)
def test_labels_are_kept_to_the_letter(write, label, name):
    assert read_fcsv(write(*lines(), ROW.replace("nose", label), end="\r\n")).names == (name,)


def test_columns_may_stand_in_another_order(write):
    found = read_fcsv(write("# columns = label,x,y,z,sel,vis", "nose,1,2,3,1,1"))
    assert found.names == ("nose",) and found.points.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("state, status", [("0", UNKNOWN), ("1", UNKNOWN), ("2", PRESENT), ("3", ABSENT)])
def test_slicer_5_says_whether_a_point_is_placed(write, state, status):
    assert read_fcsv(write(*lines(), f"{ROW},{state},0")).status.tolist() == [status]


def test_points_without_a_place_are_never_written_with_one(tmp_path):
    path = tmp_path / "case.fcsv"
    points = np.array([[1.5, 2, 3], [np.nan] * 3, [np.nan] * 3])
    status, scores = np.array([PRESENT, ABSENT, UNKNOWN]), np.array([0.25, np.nan, np.nan])
    write_fcsv(path, LandmarkSet(("a", "b", "c"), points, status, scores))
    rows = path.read_text().splitlines()
    assert (
        rows[1] == "# CoordinateSystem = 0"
        and rows[3].startswith("1,1.5,2.0,3.0,")
        and "score=0.25" in rows[3]
    )
    assert rows[4].startswith("2,nan,nan,nan,") and "status=missing" in rows[4] and rows[4].endswith(",3,0")
    assert rows[5].startswith("3,nan,nan,nan,") and rows[5].endswith(",0,0")


@pytest.mark.parametrize("place", ["1,2,x", "1,2,inf", "nan,2,3", "1,2,", "1e999,0,0"])
def test_a_position_that_is_not_three_numbers_is_refused_by_its_row(write, place):
    with pytest.raises(LandmarkError, match="row 4: the position is"):
        read_fcsv(write(*lines(), ROW.replace("1,2,3", place, 1)))


@pytest.mark.parametrize(
    "row, message",
    [
        (ROW.replace("nose", ""), "row 4: has no label"),
        (ROW + ",9,0", "row 4: the position's status is '9'"),
        (ROW.replace("nose,", "nose,score=1.2.3"), "'nose' is described as 'score=1.2.3'"),
        (ROW.replace("nose", '"nose'), "is not a table"),
        (ROW + "\n" + ROW, "'nose' is used more than once"),
    ],
)
def test_a_broken_row_is_refused_with_the_file(write, row, message):
    with pytest.raises(LandmarkError, match=rf"case\.fcsv.*{message}"):
        read_fcsv(write(*lines(), row))
