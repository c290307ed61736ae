# SPDX-License-Identifier: Apache-2.0
"""Stock MONAI runs the bundle from its own command line, from any folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from auto3dlandmark import read_landmarks


def monai_bundle(arguments, cwd):
    command = [sys.executable, "-m", "monai.bundle", *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return result


@pytest.fixture(scope="module")
def stock_trained(tiny_bundle, tmp_path_factory):
    """The tiny bundle, copied and trained with ``python -m monai.bundle run training`` from another
    folder."""
    folder = tmp_path_factory.mktemp("stock") / "heatmap_0"
    shutil.copytree(tiny_bundle, folder)
    config = folder / "configs" / "train.json"
    overrides = [
        "--bundle_root",
        folder,
        "--epochs",
        "1",
        "--train#trainer#max_epochs",
        "1",
        "--patch_size",
        "[16,16,16]",
    ]
    monai_bundle(["run", "training", "--config_file", config, *overrides], cwd=folder.parent)
    return folder


def test_run_training_leaves_the_models_and_the_log(stock_trained):
    summary = json.loads((stock_trained / "models" / "training.json").read_text())
    assert summary["steps"] == 4  # one epoch of four steps: the overrides count
    assert summary["mre_mm"] > 0
    assert sorted(path.name for path in (stock_trained / "models").iterdir()) == [
        "model.pt",
        "model_best.pt",
        "training.json",
    ]
    assert list((stock_trained / "eval").glob("events.out.tfevents*"))


def test_run_evaluating_writes_the_same_error(stock_trained, tmp_path):
    configs = [str(stock_trained / "configs" / name) for name in ("train.json", "evaluate.json")]
    monai_bundle(
        [
            "run",
            "evaluating",
            "--config_file",
            configs,
            "--bundle_root",
            stock_trained,
            "--output_dir",
            tmp_path / "out",
        ],
        cwd=tmp_path,
    )
    text = (tmp_path / "out" / "metrics.csv").read_text()
    summary = json.loads((stock_trained / "models" / "training.json").read_text())
    assert float(text.replace(",", " ").split()[-1]) == pytest.approx(summary["mre_mm"], abs=1e-3)


def test_run_inference_writes_points_for_every_image(stock_trained, demo_dataset, tmp_path):
    config = stock_trained / "configs" / "inference.json"
    places = [
        "--bundle_root",
        stock_trained,
        "--dataset_dir",
        demo_dataset / "images",
        "--output_dir",
        tmp_path / "out",
    ]
    monai_bundle(["run", "--config_file", config, *places], cwd=tmp_path)
    assert len(list((tmp_path / "out").glob("*.mrk.json"))) == 6
    landmarks = read_landmarks(tmp_path / "out" / "demo_03.mrk.json")
    truth = read_landmarks(demo_dataset / "landmarks" / "demo_03.mrk.json")
    assert landmarks.names == truth.names
    assert np.isfinite(landmarks.scores).all()


def test_training_is_the_same_again_with_the_same_seed(stock_trained, tiny_bundle, tmp_path):
    import torch

    shutil.copytree(tiny_bundle, tmp_path / "again")
    overrides = ["--bundle_root", tmp_path / "again", "--epochs", "1", "--patch_size", "[16,16,16]"]
    monai_bundle(
        ["run", "training", "--config_file", tmp_path / "again" / "configs" / "train.json", *overrides],
        cwd=tmp_path,
    )
    first, second = (
        torch.load(folder / "models" / "model.pt") for folder in (stock_trained, tmp_path / "again")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
