# SPDX-License-Identifier: Apache-2.0
"""The whole run on generated data: complete, restartable at any moment, and doing nothing twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import said_by

from auto3dlandmark import LandmarkError, read_landmarks
from auto3dlandmark.data.folder import find_images
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.workflow.work_folder import WorkFolder

STEPS = ["check", "analyze", "plan", "build fold 0", "train fold 0", "predict fold 0", "evaluate predictions"]


def words(dataset, work, recipe, *more):
    return ["run", dataset, work, "--folds", "1", "--network", "small", "--recipe", recipe, *more]


def run(*arguments):
    return said_by(*words(*arguments))


@pytest.fixture(scope="module")
def finished(demo_dataset, tiny_recipe, tmp_path_factory):
    """A work folder after one undisturbed run, and what the run printed."""
    work = tmp_path_factory.mktemp("finished") / "work"
    return work, run(demo_dataset, work, tiny_recipe)


def assert_complete(work, dataset):
    held_out = [item for item in read_json(work / "datalist.json")["training"] if item["fold"] == 0]
    predictions = sorted(path.name for path in (work / "predictions").glob("*.mrk.json"))
    assert predictions == sorted(os.path.basename(item["label"]) for item in held_out)
    metrics = read_json(work / "evaluation" / "metrics.json")
    assert metrics["cases"] == len(held_out) and metrics["mre_mm"] > 0
    for path in (work / "predictions").glob("*.mrk.json"):
        assert read_landmarks(path).names == read_landmarks(dataset / "landmarks" / path.name).names
    leftovers = [path for path in work.rglob("*") if path.name.endswith(".tmp")]
    assert not leftovers


@pytest.mark.slow
def test_a_run_is_complete_and_says_where_things_are(finished, demo_dataset):
    work, output = finished
    assert_complete(work, demo_dataset)
    for word in ("rod_tip", "all landmarks", "MRE mm", "evaluation", "predictions", "heatmap_0"):
        assert word in output


def test_the_same_command_again_does_nothing(finished, demo_dataset, tiny_recipe):
    work, _ = finished
    model = work / "heatmap_0" / "models" / "model.pt"
    before = model.stat().st_mtime_ns
    said = run(demo_dataset, work, tiny_recipe)
    for step in STEPS:
        assert f"{step}: unchanged, kept" in said
    assert model.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_changed_setting_repeats_what_depends_on_it_and_keeps_the_old_models(
    finished, demo_dataset, tiny_recipe, tmp_path
):
    work = shutil.copytree(finished[0], tmp_path / "work")
    recipe = write_changed_recipe(tiny_recipe, tmp_path / "other.json")
    WorkFolder(work, say=lambda line: None)
    said = run(demo_dataset, work, recipe)
    assert "check: unchanged" in said and "plan: unchanged" in said
    assert "train fold 0: running" in said
    assert (work / "heatmap_0" / "models_old_1" / "model.pt").exists()
    assert read_json(work / "heatmap_0" / "models" / "training.json")["steps"] == 4


def write_changed_recipe(recipe, path):
    write_json(path, {"epochs": 1})
    return f"{recipe}+{path}"


def killed_in(step, arguments):
    """Start a run, and kill it as soon as it says that it has begun a step."""
    process = subprocess.Popen(
        [sys.executable, "-m", "auto3dlandmark", *map(str, words(*arguments))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    begun = any(line.startswith(f"{step}: running") for line in process.stdout)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return begun


@pytest.mark.slow
def test_killed_in_every_step_the_run_still_completes(demo_dataset, tiny_recipe, tmp_path):
    work = tmp_path / "work"
    for step in STEPS:
        assert killed_in(step, (demo_dataset, work, tiny_recipe)), f"the run never came to {step}"
    said = run(demo_dataset, work, tiny_recipe)
    assert f"{STEPS[-1]}: running" in said
    assert read_json(work / "heatmap_0" / "models" / "training.json")["steps"] == 8
    held_out = read_json(work / "evaluation" / "metrics.json")["cases"]
    assert held_out == len(list((work / "predictions").glob("*.mrk.json")))


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_lost_output_is_made_again(finished, demo_dataset, tiny_recipe, tmp_path, step):
    work = shutil.copytree(finished[0], tmp_path / "work")
    output = {
        "check": "check.json",
        "analyze": "fingerprint.json",
        "plan": "plan.json",
        "build fold 0": "heatmap_0/configs/train.json",
        "train fold 0": "heatmap_0/models/model.pt",
        "predict fold 0": "predictions",
        "evaluate predictions": "evaluation/metrics.json",
    }[step]
    target = work / output
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    said = run(demo_dataset, work, tiny_recipe)
    assert f"{step}: running" in said
    assert target.exists()


@pytest.mark.slow
def test_minutes_end_the_training(demo_dataset, tiny_recipe, tmp_path):
    recipe = tmp_path / "endless.json"
    write_json(recipe, {"epochs": 1_000_000})
    run(demo_dataset, tmp_path / "work", f"{tiny_recipe}+{recipe}", "--minutes", 0.2)
    assert read_json(tmp_path / "work" / "heatmap_0" / "models" / "training.json")["steps"] > 0


@pytest.mark.slow
def test_a_test_folder_is_predicted_and_evaluated(finished, demo_dataset, tiny_recipe, tmp_path):
    work = shutil.copytree(finished[0], tmp_path / "work")
    run(demo_dataset, work, tiny_recipe, "--test", demo_dataset)
    assert len(list((work / "test_predictions").glob("*.mrk.json"))) == 6
    assert read_json(work / "test_evaluation" / "metrics.json")["cases"] == 6


def test_images_are_found_in_a_folder_its_images_folder_or_one_file(demo_dataset):
    assert len(find_images(demo_dataset)) == len(find_images(demo_dataset / "images")) == 6
    assert len(find_images(demo_dataset / "images" / "demo_00.nii.gz")) == 1
    with pytest.raises(LandmarkError, match="holds no images"):
        find_images(demo_dataset / "landmarks")


@pytest.mark.slow
def test_folds_are_spread_over_devices(demo_dataset, tiny_recipe, tmp_path):
    work = WorkFolder(tmp_path / "work", say=lambda line: None)
    work.check(demo_dataset)
    work.analyze()
    work.make_plan("small")
    for fold in (0, 1):
        work.build(fold, tiny_recipe)
    work.train_folds((0, 1), devices=("0", "1"))  # without GPUs, two processes on the CPU
    for fold in (0, 1):
        assert read_json(work.bundle(fold).models.outcome)["steps"] == 8
        assert read_json(work.bundle(fold).algo_object)["best_metric"] > 0


def test_a_moved_work_folder_keeps_its_training_and_finds_the_same_points(
    finished, demo_dataset, tiny_recipe, tmp_path
):
    moved = shutil.copytree(finished[0], tmp_path / "moved")
    (moved / "predictions").rename(tmp_path / "before")
    said = run(demo_dataset, moved, tiny_recipe)
    assert "train fold 0: unchanged" in said
    for path in (tmp_path / "before").iterdir():
        again = read_landmarks(moved / "predictions" / path.name)
        assert np.array_equal(read_landmarks(path).points, again.points, equal_nan=True)


def test_errors_and_scores_are_kept_with_the_bundle(finished):
    work = finished[0]
    kept = read_json(work / "heatmap_0" / "models" / "cross_validation.json")
    assert len(kept["cases"]) == read_json(work / "evaluation" / "metrics.json")["cases"]
    for column in kept["landmarks"].values():
        assert all(score is None or 0 <= score <= 1 for score in column["score"])
