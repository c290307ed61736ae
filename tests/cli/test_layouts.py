# SPDX-License-Identifier: Apache-2.0
"""However a folder keeps its images and landmarks, every command that takes a folder finds the same cases."""

from __future__ import annotations

import shutil
import sys
import types

import pytest

from auto3dlandmark.cli import main
from auto3dlandmark.cli import review as review_command
from auto3dlandmark.files import read_json
from auto3dlandmark.review.store import ReviewStore
from auto3dlandmark.review.versions import ServedModel

CASES = [f"demo_0{number}" for number in range(6)]
# Where images and landmark files go, below the dataset's folder.
LAYOUTS = {
    "images and landmarks": ("images/CASE", "landmarks/CASE"),
    "studies folder": ("CASE", "labels/final/CASE"),
    "side by side": ("CASE", "CASE"),
    "SlicerMorph": ("Volumes/CASE", "LMs/CASE"),
    "a folder for each case": ("CASE/volume", "CASE/F"),
    "other names": ("images/CASE", "landmarks/CASE_landmarks"),
}


@pytest.fixture(params=LAYOUTS)
def laid_out(request, demo_dataset, tmp_path):
    """The demo dataset in one of the layouts, and the first case's landmark file there."""
    image, landmarks = LAYOUTS[request.param]
    folder = tmp_path / "dataset"
    for case in CASES:
        for file, pattern in ((f"images/{case}.nii.gz", image), (f"landmarks/{case}.mrk.json", landmarks)):
            place = folder / f"{pattern.replace('CASE', case)}{file[file.index('.') :]}"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(demo_dataset / file, place)
    return folder, folder / f"{landmarks.replace('CASE', CASES[0])}.mrk.json"


def cases_in(folder):
    return sorted(path.name.removesuffix(".mrk.json") for path in folder.glob("*.mrk.json"))


def test_check_finds_all_cases(laid_out, capsys):
    main(["check", str(laid_out[0])])
    assert "6 cases with 5 landmarks: no errors" in capsys.readouterr().out


def test_predict_and_evaluate_find_all_cases(laid_out, trained_bundle, tmp_path, capsys):
    folder, _ = laid_out
    main(["predict", str(trained_bundle), str(folder), str(tmp_path / "out")])
    assert cases_in(tmp_path / "out") == CASES
    main(["evaluate", str(folder), str(tmp_path / "out"), str(tmp_path / "tables")])
    assert read_json(tmp_path / "tables" / "metrics.json")["cases"] == 6
    assert "all landmarks" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("laid_out", ["studies folder", "a folder for each case"], indirect=True)
def test_run_trains_on_a_folder_and_evaluates_a_test_folder(laid_out, tiny_recipe, tmp_path, capsys):
    folder, _ = laid_out
    shutil.copytree(folder, tmp_path / "test")
    options = ["--folds", "1", "--network", "small", "--recipe", tiny_recipe]
    main(["run", str(folder), str(tmp_path / "work"), "--test", str(tmp_path / "test"), *options])
    assert cases_in(tmp_path / "work" / "test_predictions") == CASES
    assert read_json(tmp_path / "work" / "test_evaluation" / "metrics.json")["cases"] == 6
    assert "test cases: 6 cases" in capsys.readouterr().out


def test_serve_shows_all_images_and_keeps_labels_where_they_are(laid_out, trained_bundle, monkeypatch):
    folder, first = laid_out
    started = []
    monkeypatch.setitem(sys.modules, "monailabel", types.ModuleType("monailabel"))
    sys.modules["monailabel"].__spec__ = types.SimpleNamespace(name="monailabel")
    monkeypatch.setattr(review_command.os, "execve", lambda *command: started.append(command))
    main(["serve", str(folder), "--bundle", str(trained_bundle)])
    assert str(folder) in started[0][1]
    store = ReviewStore(folder, ServedModel(folder / "review" / "models", [trained_bundle]).names)
    assert list(store.images()) == CASES and store.labelled() == CASES
    before = first.read_bytes()
    store.save("demo_00", before + b"\n")
    assert first.read_bytes() == before + b"\n"
    assert store.history("demo_00")[0].read_bytes() == before
    assert ReviewStore(folder, store.names).labelled() == CASES
    main(["check", str(folder)])  # what reviewing leaves in the folder is not taken for data


@pytest.mark.slow
def test_a_test_folder_without_landmarks_is_predicted_and_the_rest_is_said(
    demo_dataset, tiny_recipe, tmp_path, capsys
):
    shutil.copytree(demo_dataset / "images", tmp_path / "test")
    options = ["--folds", "1", "--network", "small", "--recipe", tiny_recipe]
    main(["run", str(demo_dataset), str(tmp_path / "work"), "--test", str(tmp_path / "test"), *options])
    assert cases_in(tmp_path / "work" / "test_predictions") == CASES
    assert not (tmp_path / "work" / "test_evaluation").exists()
    assert "has no landmarks to compare" in capsys.readouterr().out
