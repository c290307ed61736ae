# SPDX-License-Identifier: Apache-2.0
"""Which cases a dataset has, where their files are, and in which fold each is held out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from auto3dlandmark.data.datalist import (
    Case,
    assign_folds,
    held_out_items,
    read_datalist,
    scan_folder,
    training_items,
    write_datalist,
)
from auto3dlandmark.errors import LandmarkError

TEN = tuple(f"case{number}.x" for number in range(10))


def cases(*ids):
    return [Case(case, Path(f"{case}.nii.gz")) for case in ids]


@pytest.fixture
def write_json_datalist(tmp_path):
    def write(**content):
        (tmp_path / "dataset.json").write_text(json.dumps(content))
        return tmp_path / "dataset.json"

    return write


def test_a_folder_is_scanned_for_pairs(write_dataset):
    folder = write_dataset(("b", "C3HeB.FeJ_", "a"))
    found = scan_folder(folder)
    assert [case.id for case in found.training] == ["C3HeB.FeJ_", "a", "b"]
    assert found.training[0].image == folder / "images" / "C3HeB.FeJ_.nii.gz"
    assert found.training[0].label == folder / "landmarks" / "C3HeB.FeJ_.mrk.json"
    assert found.landmark_names == ("nose", "left_ear", "right_ear", "chin")


def test_the_order_of_names_may_be_given(write_dataset):
    assert scan_folder(write_dataset(), ["chin", "nose"]).landmark_names == ("chin", "nose")


def test_a_monai_label_studies_folder_is_scanned_too(write_dataset, tmp_path):
    folder, studies = write_dataset(), tmp_path / "studies"
    shutil.copytree(folder / "images", studies)
    shutil.copytree(folder / "landmarks", studies / "labels" / "final")
    assert [case.id for case in scan_folder(studies).training] == ["a", "b", "c"]


def test_an_image_without_landmarks_is_no_training_case(write_dataset):
    folder = write_dataset()
    (folder / "landmarks" / "b.mrk.json").unlink()
    assert [case.id for case in scan_folder(folder).training] == ["a", "c"]


def test_hidden_and_other_files_are_passed_over(write_dataset):
    folder = write_dataset()
    for name in ("images/._a.nii.gz", "images/readme.txt", "landmarks/._a.mrk.json", "landmarks/view.mrml"):
        (folder / name).write_text("x")
    assert len(scan_folder(folder).training) == 3


def test_landmarks_without_an_image_are_refused_by_name(write_dataset):
    folder = write_dataset()
    (folder / "images" / "b.nii.gz").unlink()
    with pytest.raises(LandmarkError, match=r"b\.mrk\.json: there is no image for these landmarks"):
        scan_folder(folder)


def test_two_landmark_files_of_one_case_are_refused(write_dataset):
    folder = write_dataset()
    (folder / "landmarks" / "b.csv").write_text("name,x,y,z\n")
    with pytest.raises(LandmarkError, match="several landmark files for the image 'b.nii.gz'.*Keep one"):
        scan_folder(folder)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda folder: shutil.rmtree(folder), "there is no such folder"),
        (lambda folder: shutil.rmtree(folder / "landmarks"), "there is no folder landmarks"),
        (lambda folder: shutil.rmtree(folder / "images"), "holds no images"),
        (lambda folder: [path.unlink() for path in folder.glob("landmarks/*")], "no landmark file"),
    ],
    ids=["nothing", "no landmarks folder", "no images folder", "no landmarks"],
)
def test_a_folder_that_is_no_dataset_is_told_what_is_expected(write_dataset, spoil, message):
    folder = write_dataset()
    spoil(folder)
    with pytest.raises(LandmarkError, match=rf"{message}.*images/CASE\.nii\.gz|{message}.*Give the folder"):
        scan_folder(folder)


def test_folds_are_even_and_hold_out_every_case_once(write_dataset):
    found = scan_folder(write_dataset(TEN))
    assert found.folds == [0, 1, 2, 3, 4]
    held_out = [[case.id for case in found.held_out(fold)] for fold in found.folds]
    assert [len(ids) for ids in held_out] == [2] * 5
    assert sorted(case for ids in held_out for case in ids) == sorted(TEN)


def test_a_fold_depends_on_the_ids_and_not_on_their_order():
    forwards, backwards = assign_folds(cases(*TEN)), assign_folds(cases(*reversed(TEN)))
    assert {case.id: case.fold for case in forwards} == {case.id: case.fold for case in backwards}


@pytest.mark.parametrize("count", [1, 2, 4])
def test_fewer_cases_than_folds_give_each_its_own(count):
    assert sorted(case.fold for case in assign_folds(cases(*TEN[:count]))) == list(range(count))


def test_a_fold_that_is_given_stays():
    given = [Case(case, Path(case), fold=7) for case in TEN[:3]]
    assert [case.fold for case in assign_folds(given)] == [7, 7, 7]


def test_a_datalist_is_read_as_it_was_written(write_dataset, tmp_path):
    listed = scan_folder(write_dataset(TEN))
    write_datalist(tmp_path / "work" / "datalist.json", listed)
    assert read_datalist(tmp_path / "work" / "datalist.json") == listed
    content = json.loads((tmp_path / "work" / "datalist.json").read_text())
    assert content["training"][0]["image"] == "images/case0.x.nii.gz"


def test_a_linked_image_keeps_its_case(write_dataset, tmp_path):
    folder = write_dataset()
    (folder / "images" / "b.nii.gz").rename(tmp_path / "3f2a.nii.gz")  # as git-annex and DVC store files
    (folder / "images" / "b.nii.gz").symlink_to(tmp_path / "3f2a.nii.gz")
    write_datalist(tmp_path / "datalist.json", scan_folder(folder))
    assert [case.id for case in read_datalist(tmp_path / "datalist.json").training] == ["a", "b", "c"]


def test_a_dataset_json_decides_over_the_folders(write_dataset):
    folder = write_dataset()
    entry = {"image": "images/b.nii.gz", "label": "landmarks/b.mrk.json", "fold": 3}
    (folder / "dataset.json").write_text(json.dumps({"training": [entry], "testing": ["images/a.nii.gz"]}))
    found = scan_folder(folder)
    assert [(case.id, case.fold) for case in found.training] == [("b", 3)]
    assert [(case.id, case.label, case.fold) for case in found.testing] == [("a", None, None)]
    assert found.landmark_names == ("nose", "left_ear", "right_ear", "chin")


@pytest.mark.parametrize(
    "content, message",
    [
        ({}, "no list 'training'"),
        ({"training": []}, "no list 'training'"),
        ({"training": [{"label": "a.csv"}]}, "training entry 1 has no 'image'"),
        ({"training": [{"image": "a.nii"}]}, r"training entry 1 \(a\.nii\) has no 'label'"),
        (
            {"training": [{"image": "a.nii", "label": "a.csv"}], "testing": [7]},
            "testing entry 1 has no 'image'",
        ),
        (
            {"training": [{"image": "a.nii", "label": "a.csv"}], "testing": ["x/a.nii.gz"]},
            "'a' is listed more than once",
        ),
        ({"training": [{"image": "a.nii", "label": "a.csv", "fold": "0"}]}, "fold"),
    ],
)
def test_a_broken_datalist_is_named(write_json_datalist, content, message):
    with pytest.raises(LandmarkError, match=rf"dataset\.json.*{message}"):
        read_datalist(write_json_datalist(**content))


def test_training_and_held_out_items_share_no_case(write_dataset, tmp_path):
    folder = write_dataset(TEN)
    write_datalist(tmp_path / "datalist.json", scan_folder(folder))
    train, held_out = (
        training_items(tmp_path / "datalist.json", 1),
        held_out_items(tmp_path / "datalist.json", 1),
    )
    assert len(train) == 8 and len(held_out) == 2
    assert {item["image"] for item in train}.isdisjoint(item["image"] for item in held_out)
    assert all(Path(path).is_file() for item in train + held_out for path in item.values())


def test_items_are_found_where_the_dataset_is_now(write_dataset, tmp_path):
    folder = write_dataset()
    write_datalist(tmp_path / "datalist.json", scan_folder(folder))
    folder.rename(tmp_path / "moved")
    for item in training_items(tmp_path / "datalist.json", 0, dataset_dir=tmp_path / "moved"):
        assert Path(item["image"]).is_file() and Path(item["label"]).is_file()


def test_a_fold_without_cases_is_refused(write_dataset, tmp_path):
    write_datalist(tmp_path / "datalist.json", scan_folder(write_dataset()))
    with pytest.raises(LandmarkError, match=r"no case in fold 9.*\[0, 1, 2\]"):
        held_out_items(tmp_path / "datalist.json", 9)


def test_the_folds_are_nnunets():
    from sklearn.model_selection import KFold

    ids = [f"case_{number:03d}" for number in range(23)]
    cases = assign_folds([Case(case, Path(case)) for case in reversed(ids)])
    for fold, (_, held_out) in enumerate(KFold(5, shuffle=True, random_state=12345).split(ids)):
        assert {case.id for case in cases if case.fold == fold} == {ids[index] for index in held_out}


def test_cases_that_had_a_fold_keep_it_when_others_come(write_dataset):
    dataset = write_dataset(("a", "b", "c", "d"))
    before = {case.id: case.fold for case in scan_folder(dataset).training}
    for part, suffix in (("images", ".nii.gz"), ("landmarks", ".mrk.json")):
        shutil.copy(dataset / part / f"a{suffix}", dataset / part / f"aa{suffix}")
    after = {case.id: case.fold for case in scan_folder(dataset, folds=before).training}
    assert after.pop("aa") == min(
        set(range(5)) - set(before.values())
    )  # the smallest fold, here an empty one
    assert after == before


def grouped(count=20, size=3):
    return [Case(f"c{n:02d}", Path(f"c{n:02d}.nii.gz"), group=f"s{n // size}") for n in range(count)]


def test_cases_of_a_group_are_held_out_together():
    cases = assign_folds(grouped())
    folds = {}
    for case in cases:
        folds.setdefault(case.group, set()).add(case.fold)
    assert all(len(found) == 1 for found in folds.values())
    assert {case.fold for case in cases} == {0, 1, 2, 3, 4}


def test_a_late_comer_joins_its_group():
    cases = assign_folds(grouped())
    late = [*cases, Case("z1", Path("z1.nii.gz"), group="s2"), Case("z2", Path("z2.nii.gz"), group="new")]
    again = assign_folds(late)
    assert again[:20] == cases
    assert again[20].fold == next(case.fold for case in cases if case.group == "s2")
    assert again[21].fold is not None


def test_groups_csv_says_what_belongs_together_and_is_kept(demo_dataset, tmp_path):
    shutil.copytree(demo_dataset, tmp_path / "d")
    rows = [f"demo_{number:02d},subject {number // 2}" for number in range(6)]
    (tmp_path / "d" / "groups.csv").write_text("case,group\n" + "\n".join(rows) + "\n")
    listed = scan_folder(tmp_path / "d")
    folds = [case.fold for case in listed.training]
    assert folds[0] == folds[1] and folds[2] == folds[3] and folds[4] == folds[5] and len(set(folds)) == 3
    write_datalist(tmp_path / "list.json", listed)
    assert read_datalist(tmp_path / "list.json").training == listed.training


@pytest.mark.parametrize(
    "text, message",
    [
        ("name,group\na,b\n", "the header is 'name,group'"),
        ("case,group\ndemo_00\n", "row 2: must hold a case and its group"),
        ("case,group\ndemo_00,a,b\n", "row 2: must hold a case and its group"),
        ("case,group\ndemo_00,\n", "row 2: must hold"),
        ("case,group\nnobody,a\n", "row 2: there is no image of case 'nobody'"),
        ("case,group\ndemo_00,a\ndemo_00,b\n", "row 3: case 'demo_00' is listed twice"),
    ],
)
def test_a_broken_groups_file_is_refused(demo_dataset, tmp_path, text, message):
    shutil.copytree(demo_dataset, tmp_path / "d")
    (tmp_path / "d" / "groups.csv").write_text(text)
    with pytest.raises(LandmarkError, match=rf"groups\.csv.*{message}"):
        scan_folder(tmp_path / "d")


def test_pairs_of_a_dataset_are_kept_and_checked(write_json_datalist, tmp_path):
    entry = {"image": "a.nii.gz", "label": "a.mrk.json", "fold": 0}
    content = {"training": [entry], "landmark_names": ["7", "6", "5"], "left_right_pairs": [["7", "6"]]}
    found = read_datalist(write_json_datalist(**content))
    assert found.left_right_pairs == (("7", "6"),)
    write_datalist(tmp_path / "again.json", found)
    assert read_datalist(tmp_path / "again.json").left_right_pairs == found.left_right_pairs
    for pairs in ([["7", "8"]], [["7", "7"]], [["7"]], "7,6", [[7, 6]]):
        with pytest.raises(LandmarkError, match="left_right_pairs must be pairs of different names"):
            read_datalist(write_json_datalist(**{**content, "left_right_pairs": pairs}))
