# SPDX-License-Identifier: Apache-2.0
"""Images without landmarks are learnt from, and only what is no worse for it is used."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark import LandmarkError, LandmarkSet, read_landmarks, write_landmarks
from auto3dlandmark.bundles.trust import foreign_code
from auto3dlandmark.cli import main
from auto3dlandmark.data.datalist import Case, item_weights, read_datalist, training_items
from auto3dlandmark.few_shot import unlabelled
from auto3dlandmark.few_shot.unlabelled import better_of, unlabelled_images
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.workflow.work_folder import WorkFolder


def evaluated(folder, mre_mm, missed=0):
    work = WorkFolder(folder, say=lambda line: None)
    metrics = {"mre_mm": mre_mm, "presence": {"present_missed": missed}}
    write_json(work.folder / "evaluation" / "metrics.json", metrics)
    return work


@pytest.mark.parametrize(
    "student, missed, used",
    [(1.9, 0, True), (2.0, 0, True), (2.1, 0, False), (1.0, 1, False), (None, 0, False)],
)
def test_a_student_is_used_only_if_it_is_no_worse(student, missed, used, tmp_path):
    before, after = evaluated(tmp_path / "a", 2.0), evaluated(tmp_path / "b", student, missed)
    best, sentence = better_of(before, after, 150)
    assert (best is after) == used
    assert ("is not used" in sentence) != used and "150 images" in sentence


def test_with_nothing_held_out_nobody_knows(tmp_path):
    before, after = WorkFolder(tmp_path / "a"), WorkFolder(tmp_path / "b")
    best, sentence = better_of(before, after, 3)
    assert best is after and "nobody knows" in sentence


def test_with_no_teacher_the_network_of_the_annotated_images_stays(tmp_path):
    before = evaluated(tmp_path / "a", 2.0)
    best, sentence = better_of(before, None, 3)
    assert best is before and "are not used" in sentence


def test_annotated_images_are_left_out_and_names_must_differ(tmp_path):
    case = Case("a", tmp_path / "a.nii.gz", tmp_path / "a.mrk.json", 0)
    found = unlabelled_images([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"], [case])
    assert found == [tmp_path / "b.nii.gz"]
    with pytest.raises(LandmarkError, match="are annotated"):
        unlabelled_images([case.image], [case])
    with pytest.raises(LandmarkError, match="several images are called 'a'"):
        unlabelled_images([tmp_path / "other" / "a.nii.gz"], [case])


def test_those_taught_are_so_large_a_share_of_what_is_drawn():
    items = [{}, {}, {"taught": True}, {"taught": True}, {"taught": True}]
    weights = item_weights(items, 0.75)
    np.testing.assert_allclose([sum(weights[:2]), sum(weights[2:])], [0.25, 0.75])
    assert item_weights(items[:2], 0.75) == [1.0, 1.0]


@pytest.fixture
def few(demo_dataset, tmp_path):
    """Three annotated cases and three images: the same one, coarse, at different places."""
    image = nib.load(demo_dataset / "images" / "demo_00.nii.gz").slicer[::2, ::2, ::2]
    landmarks = read_landmarks(demo_dataset / "landmarks" / "demo_00.mrk.json")
    for number in range(6):
        affine = image.affine.copy()
        affine[:3, 3] += moved(number)
        place = tmp_path / ("few" if number < 3 else "more")
        (place / "images").mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(image.dataobj, affine), place / "images" / f"case_{number}.nii.gz")
        if number < 3:
            points = landmarks.points + moved(number)
            label = LandmarkSet(landmarks.names, points, landmarks.status)
            write_landmarks(place / "landmarks" / f"case_{number}.mrk.json", label)
    (tmp_path / "more" / "images" / "broken.nii.gz").write_bytes(b"broken")
    return tmp_path / "few", tmp_path / "more"


def moved(number):
    return np.array([2.0, -1.0, 3.0]) * number


@pytest.mark.slow
def test_images_without_landmarks_are_learnt_from(few, tiny_recipe, tmp_path, capsys):
    dataset, more = few
    work = tmp_path / "work"
    words = ["run", str(dataset), str(work), "--recipe", tiny_recipe, "--network", "small", "--folds", "1"]
    words += ["--unlabelled", str(more)]
    main(words)
    said = capsys.readouterr().out
    assert "learning from 4 images without landmarks, too" in said and "left out: " in said
    held_out = {case.id for case in read_datalist(work / "datalist.json").held_out(0)}
    for name in ("first_student", "second_student"):
        bundle = work / "unlabelled" / name / "heatmap_0"
        assert (bundle / "models" / "model.pt").is_file()
        config = read_json(bundle / "configs" / "train.json")
        assert foreign_code(config) == []
        items = training_items(config["datalist"], 0, taught=config["taught"])
        taught = [item for item in items if item.get("taught")]
        assert len(items) == 2 + len(taught) and 1 <= len(taught) <= 3
        assert not held_out & {Path(item["image"]).name.split(".")[0] for item in taught}
    used = "unlabelled/second_student" if "is not used" not in said else "work/heatmap_0"
    assert used in said.split("bundles:")[1]
    main(words)
    again = capsys.readouterr().out
    assert "running" not in again and "train fold 0: unchanged" in again


@pytest.mark.slow
def test_a_teacher_that_errs_systematically_is_found_out(few, demo_dataset, tmp_path, monkeypatch, capsys):
    """Its students learn to be 15 mm off, and held-out cases say so."""
    dataset, more = few
    (more / "images" / "broken.nii.gz").unlink()
    one = read_landmarks(demo_dataset / "landmarks" / "demo_00.mrk.json")

    def shifted(work, registered, fold, images):
        said = {}
        for image in images:
            case = image.name.split(".")[0]
            points = one.points + moved(int(case[-1])) + [15, 0, 0]
            said[case] = LandmarkSet(one.names, points, one.status)
        return [(said, 1.0)]

    monkeypatch.setattr(unlabelled, "_teachers", shifted)
    monkeypatch.setattr(unlabelled, "_registered", lambda *unused: {})
    write_json(
        tmp_path / "short.json", {"epochs": 5, "epoch_length": 10, "val_interval": 5, "num_workers": 0}
    )
    work, recipe = tmp_path / "work", f"quick+{tmp_path / 'short.json'}"
    words = ["run", str(dataset), str(work), "--recipe", recipe, "--network", "small", "--folds", "1"]
    main([*words, "--unlabelled", str(more), "--test", str(more)])
    said = capsys.readouterr().out
    assert "is worse, and is not used" in said
    assert f"bundles:     {work / 'heatmap_0'}\n" in said
    assert (work / "test_predictions" / "case_3.mrk.json").is_file()
