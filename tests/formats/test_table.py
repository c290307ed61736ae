# SPDX-License-Identifier: Apache-2.0
"""Landmarks as a CSV table."""

from __future__ import annotations

import numpy as np
import pytest

from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.formats.table import read_table, write_table
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN, LandmarkSet


@pytest.fixture
def write_csv(tmp_path):
    """Write a file of this text or these bytes."""

    def write(text):
        path = tmp_path / "case.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_hand_written_table_is_read(data_dir, four_points, assert_same):
    assert_same(read_table(data_dir / "four_points.csv"), four_points)


def test_empty_coordinates_are_unknown_without_a_status(write_csv):
    landmarks = read_table(write_csv("name,x,y,z\nnose,1,2,3\nchin,,,\n"))
    assert landmarks.status.tolist() == [PRESENT, UNKNOWN]


def test_an_empty_status_is_left_to_the_coordinates(write_csv):
    landmarks = read_table(write_csv("name,x,y,z,status\na,1,2,3,\nb,,,,\nc,,,,Absent\n"))
    assert landmarks.status.tolist() == [PRESENT, UNKNOWN, ABSENT]


@pytest.mark.parametrize(
    "text",
    [
        "z,y,x,name\n3,2,1,nose\n",
        "Name, X ,Y,Z\nnose,1,2,3\n",
        "name,x,y,z\r\nnose,1,2,3\r\n",
        "name,x,y,z\nnose, 1 ,2.0,3e0",
        "\ufeffname,x,y,z\nnose,1,2,3\n",
        'name,x,y,z\n\n"nose","1","2","3"\n\n',
    ],
    ids=[
        "order",
        "case and spaces",
        "windows",
        "no last newline",
        "byte order mark",
        "quotes and blank lines",
    ],
)
def test_a_table_may_be_written_in_many_ways(write_csv, text):
    landmarks = read_table(write_csv(text))
    assert landmarks.names == ("nose",) and landmarks.points.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    "header", ["", "x,y,z", "name,x,y", "name;x;y;z", "name,x,y,z,colour", "name,x,y,z,x", "nose,1,2,3"]
)
def test_another_header_is_refused_with_the_file(write_csv, header):
    with pytest.raises(LandmarkError, match=r"case\.csv: the header is"):
        read_table(write_csv(header))


@pytest.mark.parametrize("text", ["abc", "1;5", "nan", "inf", "-inf", "1,5"])
def test_a_cell_that_is_no_finite_number_is_refused_by_row_and_column(write_csv, text):
    with pytest.raises(LandmarkError, match=rf"case\.csv, row 3: y is '{text}', not a number"):
        read_table(write_csv(f'name,x,y,z\na,1,2,3\nb,1,"{text}",3\n'))


@pytest.mark.parametrize("row", ["nose,1,2", "nose,1,2,3,4", "nose"])
def test_a_row_of_another_length_is_refused_by_its_number(write_csv, row):
    with pytest.raises(LandmarkError, match=r"case\.csv, row 3: has \d fields, the header has 4"):
        read_table(write_csv(f"name,x,y,z\na,1,2,3\n{row}\n"))


def test_a_row_is_counted_as_an_editor_counts_lines(write_csv):
    with pytest.raises(LandmarkError, match="row 4: x is 'one'"):
        read_table(write_csv("name,x,y,z\na,1,2,3\n\nb,one,2,3\n"))


@pytest.mark.parametrize(
    "row, message",
    [
        ("nose,1,,3,", "'nose' has the position"),
        ("nose,1,2,3,absent", "'nose' has a position but is absent"),
        ("nose,,,,present", "'nose' has no position but is present"),
        ("nose,1,2,3,extracted", "the status is 'extracted'"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(write_csv, row, message):
    with pytest.raises(LandmarkError, match=rf"case\.csv.*{message}"):
        read_table(write_csv(f"name,x,y,z,status\n{row}\n"))


def test_a_row_without_a_name_is_refused(write_csv):
    with pytest.raises(LandmarkError, match=r"case\.csv.*name"):
        read_table(write_csv("name,x,y,z\n,1,2,3\n"))


def test_one_name_twice_is_refused_with_the_file(write_csv):
    with pytest.raises(LandmarkError, match=r"case\.csv: .*'a' is used more than once"):
        read_table(write_csv("name,x,y,z\na,1,2,3\na,1,2,3\n"))


@pytest.mark.parametrize(
    "content", [b"name,x,y,z\nGr\xf6\xdfe,1,2,3\n", b'name,x,y,z\n"nose,1,2,3\n', b"\x89PNG\r\n\x1a\n\x00"]
)
def test_what_is_no_text_or_no_table_is_a_landmark_error(write_csv, content):
    with pytest.raises(LandmarkError, match=r"case\.csv: "):
        read_table(write_csv(content))


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name in ("missing.csv", "folder.csv"):
        with pytest.raises(LandmarkError, match=f"{name}: cannot be read"):
            read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["Left.Ear 2", " x ", "Größe", "a,b", 'the "old" one', "1", "#1"])
def test_names_are_kept_to_the_letter(tmp_path, name):
    write_table(tmp_path / "case.csv", LandmarkSet((name,), np.zeros((1, 3))))
    assert read_table(tmp_path / "case.csv").names == (name,)


def test_every_digit_is_kept(tmp_path):
    points = np.array([[0.1 + 0.2, 1 / 3, -1e-12]])
    write_table(tmp_path / "case.csv", LandmarkSet(("a",), points))
    assert (read_table(tmp_path / "case.csv").points == points).all()


def test_status_and_score_are_written_only_when_there_are_any(tmp_path):
    write_table(tmp_path / "case.csv", LandmarkSet(("a", "b"), np.array([[1, 2, 3], [np.nan] * 3])))
    assert (tmp_path / "case.csv").read_text() == "name,x,y,z\na,1.0,2.0,3.0\nb,,,\n"


def test_a_table_without_rows_is_an_empty_set(write_csv):
    assert len(read_table(write_csv("name,x,y,z\n"))) == 0


@pytest.mark.parametrize("axes, place", [("l,p,s", "-1,-2,3"), ("r,a,s", "1,2,3")])
def test_the_table_that_slicer_exports_is_read(tmp_path, axes, place):
    path = tmp_path / "F.csv"
    path.write_text(
        f"label,{axes},defined,selected,visible,locked,description\n"
        f"nose,{place},1,1,1,0,score=0.5\n"
        f'"left ear",0,0,0,0,1,1,0,\n'
        f"tooth,0,0,0,0,1,1,0,status=missing\n"
    )
    found = read_table(path)
    assert found.names == ("nose", "left ear", "tooth")
    np.testing.assert_array_equal(found.points[0], [1, 2, 3])
    assert found.status.tolist() == [PRESENT, UNKNOWN, ABSENT]
    assert found.scores[0] == 0.5 and np.isnan(found.points[1:]).all()


@pytest.mark.parametrize(
    "text, message",
    [
        ("label,l,a,s\nnose,1,2,3\n", "Slicer's tables hold"),
        ("label,l,p,s,colour\nnose,1,2,3,red\n", "Slicer's tables hold"),
        ("label,l,p,s\nnose,1,2\n", "has 3 fields"),
        ("label,l,p,s\nnose,1,x,3\n", "y is '-x'"),
    ],
)
def test_a_broken_slicer_table_is_refused(tmp_path, text, message):
    (tmp_path / "F.csv").write_text(text)
    with pytest.raises(LandmarkError, match=message):
        read_table(tmp_path / "F.csv")
