# SPDX-License-Identifier: Apache-2.0
"""Point lists of 3D Slicer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.formats.markups import read_markups, write_markups
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN, LandmarkSet


@pytest.fixture
def write_node(tmp_path):
    """Write one markup of these control points, with any other keys of the markup."""

    def write(*control_points, **node):
        path = tmp_path / "case.mrk.json"
        node = {"type": "Fiducial", "controlPoints": list(control_points), **node}
        path.write_text(json.dumps({"markups": [node]}))
        return path

    return write


def point(label="nose", position=(1, 2, 3), **more):
    return {"label": label, "position": position, **more}


def test_a_hand_written_file_is_read_in_ras(data_dir, four_points, assert_same):
    assert_same(read_markups(data_dir / "four_points.mrk.json"), four_points)


def test_a_slicer_file_without_a_system_is_lps(write_node):
    assert read_markups(write_node(point())).points.tolist() == [[-1, -2, 3]]


@pytest.mark.parametrize("system, x", [("LPS", -1), ("RAS", 1), (1, -1), (0, 1), ("1", -1), ("0", 1)])
def test_the_coordinate_system_is_honoured(write_node, system, x):
    assert read_markups(write_node(point(), coordinateSystem=system)).points[0, 0] == x


@pytest.mark.parametrize("units, z_mm", [("mm", 3), ("um", 0.003), ("cm", 30), ("m", 3000)])
def test_points_are_millimetres_whatever_the_unit(write_node, units, z_mm):
    assert read_markups(write_node(point(), coordinateUnits=units)).points[0, 2] == pytest.approx(z_mm)


def test_a_unit_may_be_a_dicom_code_as_the_schema_allows(write_node):
    path = write_node(point(), coordinateUnits=["um", "UCUM", "micrometer"])
    assert read_markups(path).points[0, 2] == pytest.approx(0.003)


@pytest.mark.parametrize(
    "key, value", [("coordinateUnits", "inch"), ("coordinateSystem", "IJK"), ("coordinateUnits", None)]
)
def test_an_unknown_unit_or_system_is_refused_by_name(write_node, key, value):
    with pytest.raises(LandmarkError, match=rf"case\.mrk\.json: {key} is {value!r}"):
        read_markups(write_node(point(), **{key: value}))


@pytest.mark.parametrize(
    "item, status",
    [
        (point(position=""), UNKNOWN),
        (point(position=None), UNKNOWN),
        (point(position=[]), UNKNOWN),
        ({"label": "nose"}, UNKNOWN),
        (point(position=[0, 0, 0], positionStatus="undefined"), UNKNOWN),
        (point(position=[0, 0, 0], positionStatus="preview"), UNKNOWN),
        (point(position=[0, 0, 0], positionStatus="missing"), ABSENT),
        (point(position="", positionStatus="missing"), ABSENT),
        (point(position="", description="status=missing"), ABSENT),
        (point(position="", description="score=0.5 status=missing"), ABSENT),
        (point(position="", description="mystatus=missingness"), UNKNOWN),
        (point(position=[0, 0, 0], positionStatus="defined"), PRESENT),
        (point(position=[0, 0, 0], positionStatus=None), PRESENT),
        (point(position=[0, 0, 0], description=None), PRESENT),
    ],
)
def test_only_a_placed_point_is_present(write_node, item, status):
    landmarks = read_markups(write_node(item))
    assert landmarks.status.tolist() == [status]
    assert np.isnan(landmarks.points).all() == (status != PRESENT)


@pytest.mark.parametrize(
    "position",
    ["[1, 2, NaN]", "[1, 2, Infinity]", "[1, 2]", "[1, 2, 3, 4]", '["1", "2", "3"]', '"1 2 3"', "7", "{}"]
    + ["[1, 2, null]", "[true, 2, 3]", f"[1, 2, 1{'0' * 400}]"],
)
def test_a_position_that_is_not_three_numbers_is_refused_by_name(tmp_path, position):
    path = tmp_path / "case.mrk.json"
    path.write_text(
        f'{{"markups": [{{"controlPoints": [{{"label": "left ear", "position": {position}}}]}}]}}'
    )
    with pytest.raises(LandmarkError, match=r"case\.mrk\.json: 'left ear' has the position"):
        read_markups(path)


@pytest.mark.parametrize(
    "label", ["Left.Ear 2", " x ", "Größe", "左耳", "a,b\"c'", "score=1", "1", "M [ 3 ]"]
)
def test_names_are_kept_to_the_letter(tmp_path, label):
    path = tmp_path / "case.mrk.json"
    write_markups(path, LandmarkSet((label, label.swapcase() + "2"), np.zeros((2, 3))))
    assert read_markups(path).names == (label, label.swapcase() + "2")


@pytest.mark.parametrize("label", ["", None, 7, ["a"]])
def test_a_point_without_a_label_is_refused_by_its_number(write_node, label):
    with pytest.raises(LandmarkError, match="point 2: has no label"):
        read_markups(write_node(point(), point(label=label)))


def test_all_point_lists_of_a_file_are_read_each_in_its_own_frame(tmp_path):
    path = tmp_path / "case.mrk.json"
    nodes = [
        {"type": "Fiducial", "coordinateSystem": system, "controlPoints": [point(label=system)]}
        for system in ("RAS", "LPS")
    ]
    path.write_text(json.dumps({"markups": nodes}))
    landmarks = read_markups(path)
    assert landmarks.names == ("RAS", "LPS")
    assert landmarks.points.tolist() == [[1, 2, 3], [-1, -2, 3]]


def test_one_name_twice_is_refused_with_the_file(write_node):
    with pytest.raises(LandmarkError, match=r"case\.mrk\.json: .*'nose' is used more than once"):
        read_markups(write_node(point(), point(position="")))


@pytest.mark.parametrize(
    "text, message",
    [
        ("[]", "no 'markups' list"),
        ("{}", "no 'markups' list"),
        ('{"markups": []}', "no 'markups' list"),
        ('{"markups": {"type": "Fiducial"}}', "no 'markups' list"),
        ('{"markups": [{"type": "Curve", "controlPoints": []}]}', "type 'Curve'"),
        ('{"markups": ["Fiducial"]}', "type 'Fiducial'"),
        ('{"markups": [{"controlPoints": {"label": "nose"}}]}', "not a list of points"),
        ('{"markups": [{"controlPoints": ["nose"]}]}', "not a list of points"),
        ('{"markups": [{"controlPoints": [{"label": "no', "not valid JSON"),
        ("", "the file is empty"),
    ],
)
def test_another_document_is_refused_with_the_file(tmp_path, text, message):
    path = tmp_path / "case.mrk.json"
    path.write_text(text)
    with pytest.raises(LandmarkError, match=rf"case\.mrk\.json.*{message}"):
        read_markups(path)


def test_a_score_is_kept_in_the_description(tmp_path):
    path = tmp_path / "case.mrk.json"
    write_markups(path, LandmarkSet(("a", "b", "c"), np.zeros((3, 3)), scores=np.array([0.93, np.nan, 1e-7])))
    assert read_markups(path).scores == pytest.approx([0.93, np.nan, 1e-7], nan_ok=True)


@pytest.mark.parametrize(
    "description, score", [("score=0.5", 0.5), ("by AB, score=0.5, sure", 0.5), ("underscore=0.5", np.nan)]
)
def test_a_score_is_found_among_other_words(write_node, description, score):
    assert read_markups(write_node(point(description=description))).scores == pytest.approx(
        [score], nan_ok=True
    )


def test_a_score_that_is_no_number_is_refused_by_name(write_node):
    with pytest.raises(LandmarkError, match="'nose' is described as 'score=1.2.3'"):
        read_markups(write_node(point(description="score=1.2.3")))


def test_a_written_file_is_what_slicer_expects(tmp_path, four_points):
    write_markups(tmp_path / "case.mrk.json", four_points)
    node = json.loads((tmp_path / "case.mrk.json").read_text(encoding="utf-8"))["markups"][0]
    assert (node["type"], node["coordinateSystem"], node["coordinateUnits"]) == ("Fiducial", "LPS", "mm")
    assert [item["position"] for item in node["controlPoints"]] == [[-1, -2, 3], [40.5, 0, 12.25], "", ""]
    assert [item["positionStatus"] for item in node["controlPoints"]] == ["defined"] * 2 + ["undefined"] * 2
    assert "-0.0" not in (tmp_path / "case.mrk.json").read_text(encoding="utf-8")


def test_lines_are_points_too(tmp_path):
    path = tmp_path / "case.mrk.json"
    nodes = [
        {"type": "Line", "controlPoints": [point("a"), point("b")]},
        {"type": "Fiducial", "controlPoints": [point("c")]},
    ]
    path.write_text(json.dumps({"markups": nodes}))
    assert read_markups(path).names == ("a", "b", "c")


@pytest.mark.parametrize(
    "version, known", [("v1.0.0", True), ("v1.0.3", True), ("v1.1.0", False), ("v2.0.0", False)]
)
def test_only_known_versions_are_read(tmp_path, version, known):
    path = tmp_path / "case.mrk.json"
    schema = f"https://raw.githubusercontent.com/Slicer/Slicer/main/Schema/markups-schema-{version}.json#"
    path.write_text(json.dumps({"@schema": schema, "markups": [{"controlPoints": [point()]}]}))
    if known:
        assert len(read_markups(path)) == 1
    else:
        with pytest.raises(LandmarkError, match=rf"is of the version .*{version}"):
            read_markups(path)
