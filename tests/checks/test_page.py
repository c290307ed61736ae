# SPDX-License-Identifier: Apache-2.0
"""The page of a check names what is wrong and shows it, and runs nothing that stands in the data."""

from __future__ import annotations

import base64
import io
import re
import shutil

import pytest
from PIL import Image

from auto3dlandmark.checks.findings import ERROR, SUSPECT, WARNING, Finding
from auto3dlandmark.checks.page import write_check_report
from auto3dlandmark.cli import main
from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.formats import read_landmarks


def test_serious_findings_come_with_three_slices(demo_dataset, tmp_path):
    found = [
        Finding(ERROR, "demo_00", "is all wrong."),
        Finding(SUSPECT, "demo_03", "looks odd.", ("ring_centre",)),
        Finding(WARNING, "demo_04", "a little odd."),
    ]
    write_check_report(tmp_path / "page.html", found, scan_folder(demo_dataset))
    page = (tmp_path / "page.html").read_text()
    pictures = re.findall(r"base64,([^\"]+)", page)
    assert len(pictures) == 2 and page.index("demo_00") < page.index("demo_03") < page.index("demo_04")
    with Image.open(io.BytesIO(base64.b64decode(pictures[1]))) as image:
        assert image.size == (576, 192)
        colours = {colour: count for count, colour in image.getcolors(10**6)}
    assert len(colours) > 50 and colours[90, 220, 120] > 60  # a circle in each slice
    assert "6 annotated cases, 3 findings" in page and "http" not in page


def test_the_expected_position_is_told_and_marked(demo_dataset, tmp_path):
    case = scan_folder(demo_dataset).training[3]
    place = read_landmarks(case.label).points[0] + 8
    found = [Finding(SUSPECT, case.id, "looks odd.", ("ring_centre",), "move it", tuple(place))]
    write_check_report(tmp_path / "page.html", found, scan_folder(demo_dataset))
    page = (tmp_path / "page.html").read_text()
    (picture,) = re.findall(r"base64,([^\"]+)", page)
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        colours = {colour: count for count, colour in image.getcolors(10**6)}
    assert colours[255, 90, 90] > 30  # a cross in each slice
    assert "Suggestion: move it." in page and "cross: where it is expected" in page


def test_suggestions_are_told_below_the_findings_when_wanted(demo_dataset, tmp_path, capsys):
    dataset = shutil.copytree(demo_dataset, tmp_path / "dataset")
    for folder, suffix in (("images", ".nii.gz"), ("landmarks", ".mrk.json")):
        shutil.copy(dataset / folder / f"demo_00{suffix}", dataset / folder / f"twin{suffix}")
    main(["check", str(dataset)])
    assert "suggestion: " not in capsys.readouterr().out
    main(["check", str(dataset), "--fix_suggestions"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("suspect: demo_00: ") and lines[1].startswith("    suggestion: remove ")
    assert "twin.nii.gz" in lines[1]


def test_names_in_the_data_cannot_become_code(demo_dataset, tmp_path):
    found = [Finding(SUSPECT, "<script>alert(1)</script>", "<b>", ("<img src=x>",))]
    write_check_report(tmp_path / "page.html", found, scan_folder(demo_dataset))
    page = (tmp_path / "page.html").read_text()
    assert "<script>" not in page and "<b>" not in page and "<img src=x>" not in page


def test_the_command_writes_the_page_even_when_the_data_has_errors(demo_dataset, tmp_path):
    dataset = shutil.copytree(demo_dataset, tmp_path / "dataset")
    (dataset / "landmarks" / "demo_03.mrk.json").write_text("{")
    with pytest.raises(SystemExit):
        main(["check", str(dataset), "--html", str(tmp_path / "page.html")])
    assert "demo_03.mrk.json: is not valid JSON" in (tmp_path / "page.html").read_text()
