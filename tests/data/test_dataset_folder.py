# SPDX-License-Identifier: Apache-2.0
"""Ways to keep images and landmark files that are understood without being told."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from auto3dlandmark.data.datalist import read_datalist, scan_folder, write_datalist
from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.formats import read_landmarks
from auto3dlandmark.workflow.work_folder import dataset_state


@pytest.mark.parametrize(
    "images, landmarks", [("", ""), ("Volumes", "LMs")], ids=["side by side", "SlicerMorph"]
)
def test_other_ways_to_keep_images_and_landmarks_are_understood(write_dataset, tmp_path, images, landmarks):
    folder, other = write_dataset(("a", "C3HeB.FeJ_", "c")), tmp_path / "other"
    shutil.copytree(folder / "images", other / images, dirs_exist_ok=True)
    shutil.copytree(folder / "landmarks", other / landmarks, dirs_exist_ok=True)
    (other / "groups.csv").write_text("case,group\na,one\n")
    found = scan_folder(other)
    assert [case.id for case in found.training] == ["C3HeB.FeJ_", "a", "c"]
    assert found.training[1].label == other / landmarks / "a.mrk.json"
    assert found.training[1].group == "one"


@pytest.fixture
def laid_out(write_dataset, tmp_path):
    """Makes a folder of files that are called as patterns say; CASE stands for the case."""

    def lay_out(image, landmarks, cases=("004", "010", "011")):
        folder, other = write_dataset(cases), tmp_path / "other"
        for case in cases:
            files = [(folder / "images" / f"{case}.nii.gz", image)]
            files += [(folder / "landmarks" / f"{case}.mrk.json", pattern) for pattern in landmarks]
            for file, pattern in files:
                place = other / pattern.replace("CASE", case)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
        return other

    return lay_out


def test_two_folders_of_landmarks_are_a_question(laid_out):
    other = laid_out("Volumes/CASE.nii.gz", ["rater1/CASE.mrk.json", "rater2/CASE.mrk.json"])
    with pytest.raises(LandmarkError, match="several folders with landmarks.*--landmarks 'rater1' or"):
        scan_folder(other)
    found = scan_folder(other, landmarks="rater2")
    assert [case.label.parent.name for case in found.training] == ["rater2"] * 3


@pytest.mark.parametrize(
    "places",
    [("rater1", "rater2"), ("landmarks/rater1", "landmarks/rater2")],
)
def test_two_raters_beside_images_are_a_question_too(laid_out, places):
    other = laid_out("images/CASE.nii.gz", [f"{place}/CASE.mrk.json" for place in places])
    with pytest.raises(LandmarkError, match=f"several folders with landmarks.*--landmarks '{places[0]}'"):
        scan_folder(other)
    assert len(scan_folder(other, landmarks=places[1]).training) == 3


def test_any_one_folder_of_landmarks_beside_images_is_found(laid_out):
    other = laid_out("images/CASE.nii.gz", ["points/CASE.mrk.json"])
    assert scan_folder(other).training[0].label == other / "points" / "004.mrk.json"


def test_nnunets_folders_are_understood(laid_out):
    other = laid_out("imagesTr/CASE_0000.nii.gz", ["labels/CASE.mrk.json"])
    assert scan_folder(other).training[0].label == other / "labels" / "004.mrk.json"


def test_a_table_that_is_none_is_named(laid_out):
    other = laid_out("images/CASE.nii.gz", ["was/CASE.mrk.json"])
    shutil.rmtree(other / "was")
    (other / "points.csv").write_text("case;name;x;y;z\n")
    with pytest.raises(
        LandmarkError, match="points.csv is no table of landmarks, its header is 'case;name;x;y;z'"
    ):
        scan_folder(other)


@pytest.mark.parametrize(
    "image, landmarks, rule",
    [
        ("CASE/volume.nii.gz", "CASE/F.mrk.json", "a folder for each case.*004/F.mrk.json"),
        ("images/CASE/volume.nii.gz", "images/CASE/F.mrk.json", "a folder for each case"),
        ("images/CASE.nii.gz", "landmarks/CASE_landmarks.mrk.json", "3 landmark files have other names"),
        ("CASE.nii.gz", "CASE_landmarks.mrk.json", "CASE_landmarks.mrk.json of CASE"),
        ("images/CASE_0000.nii.gz", "landmarks/CASE.mrk.json", "CASE.mrk.json of CASE_0000"),
        ("images/CASE.nii.gz", "landmarks/CASE-1.mrk.json", "CASE-1.mrk.json of CASE"),
        ("Volumes/CASE_T1.nii.gz", "LMs/CASE_F.mrk.json", "CASE_F.mrk.json of CASE_T1"),
        ("CASE/volume.nii.gz", "CASE/CASE.mrk.json", None),
    ],
)
def test_names_that_only_begin_alike_are_paired_and_the_rule_is_said(laid_out, image, landmarks, rule):
    other = laid_out(image, [landmarks])
    found = scan_folder(other)
    for case, name in zip(found.training, ("004", "010", "011")):
        assert case.label == other / landmarks.replace("CASE", name)
        assert case.id.startswith(name)
    if rule is None:
        assert found.pairing is None
    else:
        assert re.search(rule.replace("CASE", "004"), found.pairing)


@pytest.mark.parametrize(
    "landmarks, answer",
    [
        (["landmarks/CASE-1.mrk.json", "landmarks/CASE-2.mrk.json"], "*-2.mrk.json"),
        (["landmarks/CASE.mrk.json", "landmarks/CASE-2.mrk.json"], "CASE.mrk.json"),
        (["landmarks/CASE.mrk.json", "landmarks/CASE.copy.fcsv"], "*.copy.fcsv"),
    ],
)
def test_two_landmark_files_of_an_image_are_a_question(laid_out, landmarks, answer):
    other = laid_out("images/CASE.nii.gz", landmarks)
    with pytest.raises(LandmarkError, match="several landmark files for the image '004.nii.gz'") as question:
        scan_folder(other)
    assert f"--landmarks '{answer}'" in str(question.value)
    wanted = next(one for one in landmarks if one.endswith(answer.lstrip("*")))
    found = scan_folder(other, landmarks=answer, landmark_names=["tip"])
    assert found.training[1].label == other / wanted.replace("CASE", "010")


def test_two_landmark_files_in_the_folder_of_a_case_are_a_question(laid_out):
    other = laid_out("CASE/volume.nii.gz", ["CASE/F.mrk.json", "CASE/old.mrk.json"])
    with pytest.raises(LandmarkError, match="--landmarks 'F.mrk.json' or --landmarks 'old.mrk.json'"):
        scan_folder(other)
    assert scan_folder(other, landmarks="F.mrk.json").training[0].label == other / "004" / "F.mrk.json"


def test_a_choice_of_landmarks_that_are_not_there_is_said(laid_out):
    other = laid_out("images/CASE.nii.gz", ["landmarks/CASE.mrk.json"])
    for choice in ("rater3", "*-9.mrk.json", "../*.mrk.json", "/etc/*.csv"):
        with pytest.raises(LandmarkError, match="names no landmark file"):
            scan_folder(other, landmarks=choice)


def test_channels_of_a_case_in_files_side_by_side_are_told(laid_out):
    other = laid_out("images/CASE_0000.nii.gz", ["landmarks/CASE.mrk.json"])
    shutil.copyfile(other / "images" / "004_0000.nii.gz", other / "images" / "004_0001.nii.gz")
    with pytest.raises(LandmarkError, match="004.mrk.json: fits the images '004_0000', '004_0001'. Put"):
        scan_folder(other)


@pytest.mark.parametrize("place", ["points.csv", "landmarks/points.csv", "LMs/points.csv"])
def test_one_table_for_all_cases_is_read(laid_out, place):
    other = laid_out("images/CASE.nii.gz", ["was/CASE.mrk.json"])
    if place.startswith("LMs"):
        (other / "images").rename(other / "Volumes")
    table = ["case,name,x,y,z"]
    expected = {}
    for number, case in enumerate(("004", "010")):
        expected[case] = [[number + 0.25, -2.0, 3.5], [float("nan")] * 3]
        table += [f"{case},tip,{number + 0.25},-2,3.5", f"{case},root,,,"]
    shutil.rmtree(other / "was")
    (other / place).parent.mkdir(exist_ok=True)
    (other / place).write_text("\n".join(table) + "\n")
    found = scan_folder(other)
    assert [case.id for case in found.training] == ["004", "010"]
    assert found.pairing == "the landmarks of all cases are in points.csv"
    assert found.landmark_names == ("tip", "root")
    for case in found.training:
        np.testing.assert_array_equal(read_landmarks(case.label).points, expected[case.id])
    write_datalist(other / "list.json", found)
    again = read_datalist(other / "list.json")
    assert [case.label for case in again.training] == [case.label for case in found.training]


def test_faults_of_a_table_for_all_cases_are_told_with_their_row(laid_out):
    other = laid_out("images/CASE.nii.gz", ["was/CASE.mrk.json"])
    shutil.rmtree(other / "was")
    for text, said in [
        ("case,name,x,y,z\n099,tip,1,2,3\n", "points.csv#099: there is no image for these landmarks"),
        ("case,name,x,y,z\n,tip,1,2,3\n", "points.csv, row 2: has no case"),
        ("case,name,x,y\n004,tip,1,2\n", "points.csv#004: the header is 'name,x,y'"),
        ("case,name,x,y,z\n004,tip,1,2,three\n", "points.csv#004, row 2: z is 'three'"),
        ("case,name,x,y,z\n004,tip,1,2\n", "points.csv, row 2: has 4 fields, the header has 5"),
    ]:
        (other / "points.csv").write_text(text)
        with pytest.raises(LandmarkError, match=re.escape(said)):
            read_landmarks(scan_folder(other, ["tip"]).training[0].label)


def test_a_changed_table_changes_the_state_of_the_dataset(laid_out):
    other = laid_out("images/CASE.nii.gz", ["was/CASE.mrk.json"])
    shutil.rmtree(other / "was")
    table = other / "points.csv"
    table.write_text("case,name,x,y,z\n004,tip,1,2,3\n010,tip,1,2,3\n")
    before = dataset_state(scan_folder(other))
    assert dataset_state(scan_folder(other)) == before
    table.write_text("case,name,x,y,z\n004,tip,1,2,3\n010,tip,1,2,3.25\n")
    assert dataset_state(scan_folder(other)) != before
    assert read_landmarks(scan_folder(other).training[1].label)["tip"][2] == 3.25
