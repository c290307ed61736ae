# SPDX-License-Identifier: Apache-2.0
"""Two stages from the first command to the published bundle: by us and by stock MONAI, killed in each of
them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import said_by

from auto3dlandmark import LandmarkError, read_landmarks
from auto3dlandmark.bundles.fill import continue_bundle
from auto3dlandmark.bundles.folder import BundleFolder
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.frames.shape_frame import ShapeFrame
from auto3dlandmark.inference.predictor import LandmarkPredictor
from auto3dlandmark.shapes.peaks import Peaks, merged
from auto3dlandmark.workflow.publish import publish

ABOUT = {"name": "Test", "description": "A test.", "authors": "us", "copyright": "us"}


def run(dataset, work, recipe, *more):
    options = ["--folds", "1", "--network", "small", "--recipe", recipe, "--stages", "2", *map(str, more)]
    return said_by("run", dataset, work, *options)


def monai_bundle(*arguments):
    command = [sys.executable, "-m", "monai.bundle", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=400)


@pytest.fixture(scope="module")
def finished(demo_dataset, tiny_recipe, tmp_path_factory):
    work = tmp_path_factory.mktemp("stages") / "work"
    return work, run(demo_dataset, work, tiny_recipe)


@pytest.fixture
def untrained(finished, tmp_path):
    """A copy of the bundle as it was built."""
    folder = shutil.copytree(finished[0] / "heatmap_0", tmp_path / "heatmap_0")
    shutil.rmtree(folder / "models")
    shutil.rmtree(folder / "coarse" / "models")
    return folder


def steps_of(bundle):
    return read_json(Path(bundle) / "models" / "training.json")["steps"]


@pytest.mark.slow
def test_one_bundle_holds_both_trained_stages(finished):
    work, output = finished
    bundle = BundleFolder(work / "heatmap_0")
    assert steps_of(bundle.path) == steps_of(bundle.coarse.path) == 8
    assert bundle.read_plan().coarse == bundle.coarse.read_plan()
    assert bundle.coarse.read_config("train")["exact_from"] == 1 > bundle.read_config("train")["exact_from"]
    assert "Two stages, as asked" in output
    assert "train coarse stage" in output and "train fine stage" in output
    assert read_json(work / "evaluation" / "metrics.json")["mre_mm"] > 0


def test_the_minutes_are_split(demo_dataset, finished, tiny_recipe, tmp_path):
    work = shutil.copytree(finished[0], tmp_path / "work")
    from auto3dlandmark.workflow.work_folder import WorkFolder

    folder = WorkFolder(work, say=lambda line: None)
    folder.build(0, tiny_recipe, minutes=10)
    bundle = folder.bundle(0)
    parts = [one.read_config("train")["minutes"] for one in (bundle.coarse, bundle)]
    assert sum(parts) == pytest.approx(10) and min(parts) == pytest.approx(2)


def test_the_same_command_again_does_nothing(finished, demo_dataset, tiny_recipe):
    assert "train fold 0: unchanged, kept" in run(demo_dataset, finished[0], tiny_recipe)


def looks_once(predictor, image):
    """As stock MONAI, which never looks again from a better pose."""
    return predictor.conclude(predictor.peaks_of(*predictor.heatmaps(image)))


def test_a_second_stage_that_finds_another_pose_looks_again_from_there(finished, demo_dataset, monkeypatch):
    predictor = LandmarkPredictor([finished[0] / "heatmap_0"])
    frame = predictor.members[0].frame
    truth = read_landmarks(demo_dataset / "landmarks" / "demo_00.mrk.json").select(predictor.names).points
    true = frame.true_pose(truth)
    poses = []

    def found(image, alone, read, pose, places=lambda look: truth):
        poses.append(pose)
        positions, masses = places(len(poses))[:, None] + 0.01 * len(poses), np.full((len(truth), 1), 0.9)
        return Peaks(positions, masses, np.zeros_like(masses), np.eye(4), (500, 500, 500))

    off = true.copy()
    off[:3, 3] += 0.5 * frame.model.size_mm
    monkeypatch.setattr(predictor, "_found_in", found)
    monkeypatch.setattr(predictor, "_coarse", lambda image, alone: [found(image, alone, {}, None)])
    monkeypatch.setattr(ShapeFrame, "poses", lambda frame, peaks: [off])
    predictor.predict("image")
    assert len(poses) == 3 and poses[1] is off and frame.apart(poses[2], true) < 0.05
    monkeypatch.setattr(ShapeFrame, "poses", lambda frame, peaks: [true])
    poses.clear()
    predictor.peaks("image")
    assert len(poses) == 2  # the first stage and one look
    # What is found elsewhere again counts for nothing.
    away = truth + (0, 0, frame.model.size_mm)
    monkeypatch.setattr(ShapeFrame, "poses", lambda frame, peaks: [off])
    places = partial(found, places=lambda look: away if look == 3 else truth)
    monkeypatch.setattr(predictor, "_found_in", places)
    poses.clear()
    best = predictor.peaks("image")
    assert len(poses) == 3 and np.allclose(best.first, truth + 0.02)
    assert best.signs["doubt"] == 0  # the one view agrees


def test_an_image_is_read_once_however_often_it_is_looked_at(finished, demo_dataset, tmp_path):
    member = LandmarkPredictor([finished[0] / "heatmap_0"]).members[0]
    image = Path(shutil.copy(demo_dataset / "images" / "demo_00.nii.gz", tmp_path))
    here, there = np.eye(4), np.eye(4)
    there[:3, 3] = 5.0
    fresh = [member.load(image, pose) for pose in (here, there)]
    read = {}
    looks = [member.load(image, here, read)]
    image.unlink()
    looks.append(member.load(image, there, read))
    for one, again in zip(fresh, looks):
        assert np.array_equal(one, again) and np.array_equal(one.affine, again.affine)
    assert not np.array_equal(looks[0], looks[1])


def test_stock_inference_finds_the_same_points(finished, demo_dataset, tmp_path):
    work, _ = finished
    bundle = work / "heatmap_0"
    (tmp_path / "images").mkdir()
    image = shutil.copy(demo_dataset / "images" / "demo_00.nii.gz", tmp_path / "images")
    config = bundle / "configs" / "inference.json"
    result = monai_bundle(
        "run", "--config_file", config, "--bundle_root", bundle,
        "--dataset_dir", tmp_path / "images", "--output_dir", tmp_path / "out",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    stock, ours = (
        read_landmarks(tmp_path / "out" / "demo_00.mrk.json"),
        looks_once(LandmarkPredictor([bundle]), image),
    )
    assert np.allclose(stock.points, ours.points, atol=0.02, equal_nan=True)
    assert stock.estimates.unusual == pytest.approx(ours.estimates.unusual, abs=0.01)  # with its doubt


@pytest.mark.slow
def test_stock_training_trains_both_stages_and_evaluating_gives_their_error(untrained, finished, tmp_path):
    config = untrained / "configs" / "train.json"
    result = monai_bundle("run", "training", "--config_file", config, "--bundle_root", untrained)
    assert result.returncode == 0, result.stderr[-3000:]
    assert steps_of(untrained) == steps_of(untrained / "coarse") == 8
    configs = [str(untrained / "configs" / name) for name in ("train.json", "evaluate.json")]
    result = monai_bundle(
        "run", "evaluating", "--config_file", repr(configs), "--bundle_root", untrained,
        "--output_dir", tmp_path / "eval",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    metric = (tmp_path / "eval" / "metrics.csv").read_text().replace(",", " ").split()[-1]
    assert float(metric) == pytest.approx(
        read_json(untrained / "models" / "training.json")["mre_mm"], abs=1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["coarse", "."])
def test_stopped_in_either_stage_the_training_goes_on(finished, demo_dataset, tiny_recipe, tmp_path, stage):
    """A stop keeps a checkpoint; the stage that was finished is not trained again."""
    recipe = tmp_path / "longer.json"
    write_json(recipe, {"epochs": 25})
    work = tmp_path / "work"
    command = [
        sys.executable, "-m", "auto3dlandmark", "run", str(demo_dataset), str(work), "--folds", "1",
        "--network", "small", "--stages", "2", "--recipe", f"{tiny_recipe}+{recipe}",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bundle = work / "heatmap_0" / stage
    waited = time.time()
    while not list(bundle.glob("eval/events*")) and time.time() - waited < 200:
        time.sleep(0.05)
    time.sleep(2)  # until its first step
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    checkpoint = bundle / "models" / "checkpoint.pt"
    assert checkpoint.is_file(), "the training never came to a checkpoint"
    coarse = work / "heatmap_0" / "coarse" / "models" / "model.pt"
    before = coarse.stat().st_mtime_ns if stage == "." else None
    run(demo_dataset, work, f"{tiny_recipe}+{recipe}")
    assert steps_of(work / "heatmap_0") == steps_of(work / "heatmap_0" / "coarse") == 100
    assert not list((work / "heatmap_0").rglob("models_old_*"))
    if before is not None:
        assert coarse.stat().st_mtime_ns == before


def test_a_fine_stage_without_its_coarse_one_says_how_to_train_it(finished, demo_dataset, tmp_path):
    folder = shutil.copytree(finished[0] / "heatmap_0", tmp_path / "heatmap_0")
    (folder / "coarse" / "models" / "model.pt").unlink()
    with pytest.raises(LandmarkError, match="coarse stage has not been trained.*run training"):
        LandmarkPredictor([folder]).predict(demo_dataset / "images" / "demo_00.nii.gz")


def test_foreign_code_in_the_coarse_stage_is_refused(finished, demo_dataset, tmp_path):
    folder = shutil.copytree(finished[0] / "heatmap_0", tmp_path / "heatmap_0")
    config = folder / "coarse" / "configs" / "inference.json"
    write_json(config, {**read_json(config), "imports": ["$import subprocess"]})
    with pytest.raises(LandmarkError, match=r"coarse.*subprocess"):
        LandmarkPredictor([folder])


def test_a_published_bundle_is_whole_and_finds_the_same(finished, demo_dataset, tmp_path):
    write_json(tmp_path / "about.json", ABOUT)
    publish(finished[0], tmp_path / "published", tmp_path / "about.json")
    moved = shutil.move(tmp_path / "published", tmp_path / "elsewhere")
    image = demo_dataset / "images" / "demo_00.nii.gz"
    published, own = LandmarkPredictor([moved]), LandmarkPredictor([finished[0] / "heatmap_0"])
    coarse = merged(own._coarse(image, None))
    pose = own.members[0].frame.pose(coarse)  # networks that have learnt nothing waver between poses
    apart = np.linalg.norm(merged(published._coarse(image, None)).first - coarse.first, axis=1)
    fine_apart = np.linalg.norm(
        published.peaks_in(image, pose).first - own.peaks_in(image, pose).first, axis=1
    )
    assert np.median(apart) < 0.5 and np.median(fine_apart) < 0.5  # half precision
    text = "".join(path.read_text() for path in Path(moved).rglob("*.json"))
    assert str(finished[0]) not in text


def test_a_bundle_that_is_trained_on_takes_its_coarse_stage_along(finished, demo_dataset, tmp_path):
    source = finished[0] / "heatmap_0"
    continue_bundle(source, tmp_path / "new", dataset_dir=str(demo_dataset))
    new = BundleFolder(tmp_path / "new")
    assert new.coarse.models.weights.is_file() and new.frame.is_file()
    assert (
        read_json(new.config_path("train"))["framing"]
        == read_json(source / "configs" / "train.json")["framing"]
    )
