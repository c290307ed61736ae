# SPDX-License-Identifier: Apache-2.0
"""HeatmapAlgo alone: parameters, score, devices, and its file; stock AutoRunner is in
test_stock_autorunner.py."""

from __future__ import annotations

import os
import shutil

import pytest
from monai.auto3dseg.utils import algo_from_json

from auto3dlandmark import LandmarkError, templates_path
from auto3dlandmark.auto3dseg.algo import HeatmapAlgo
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.training import run as training


@pytest.fixture
def built(tiny_bundle, tmp_path):
    """An algorithm over a copy of the tiny bundle."""
    folder = shutil.copytree(tiny_bundle, tmp_path / "heatmap_0")
    found = HeatmapAlgo()
    found.output_path = str(folder)
    return found


@pytest.fixture
def launched(monkeypatch):
    """Stands for both ways to start a training; holds the arguments of each call."""
    calls = []
    monkeypatch.setattr(training, "train_here", lambda bundle, **options: calls.append(("here", options)))
    monkeypatch.setattr(
        training,
        "run_on_devices",
        lambda bundle, devices, nodes, launcher, **options: calls.append((devices, nodes, launcher)),
    )
    return calls


def test_the_score_grows_as_the_error_falls(built):
    with pytest.raises(LandmarkError, match="The training has not ended"):
        built.get_score()
    path = os.path.join(built.output_path, "models", "training.json")
    scores = []
    for error in (4.0, 1.0, None):
        write_json(path, {"mre_mm": error})
        scores.append(built.get_score())
    assert scores == [0.2, 0.5, 0.0]


@pytest.mark.parametrize(
    "setting, expected",
    [
        (None, ("here", {})),
        ({"CUDA_VISIBLE_DEVICES": "", "n_devices": 0, "NUM_NODES": 1, "CMD_PREFIX": ""}, ("here", {})),
        ({"CUDA_VISIBLE_DEVICES": "0"}, ("here", {})),
        ({"CUDA_VISIBLE_DEVICES": "1"}, (["1"], 1, [])),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, (["0", "1"], 1, [])),
        (
            {"CUDA_VISIBLE_DEVICES": "0", "NUM_NODES": 2, "CMD_PREFIX": "torchrun --nnodes=2"},
            (["0"], 2, ["torchrun", "--nnodes=2"]),
        ),
    ],
)
def test_devices_decide_how_the_training_starts(built, launched, setting, expected, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    built.train(device_setting=setting)
    assert launched == [expected]


def test_several_nodes_need_a_command(built, launched):
    with pytest.raises(LandmarkError, match="NUM_NODES=2: set CMD_PREFIX"):
        built.train(device_setting={"CUDA_VISIBLE_DEVICES": "0", "NUM_NODES": 2})
    assert launched == []


def test_training_parameters_override_the_config(built, launched):
    built.train({"num_epochs": 3, "train#trainer#max_epochs": 3, "CUDA_VISIBLE_DEVICES": [0]})
    assert launched == [("here", {"epochs": 3, "minutes": None, "train#trainer#max_epochs": 3})]


def test_its_file_names_the_package_and_loads_from_anywhere(built, tmp_path):
    built.save()
    content = read_json(os.path.join(built.output_path, "algo_object.json"))
    assert content["_target_"] == "auto3dlandmark.auto3dseg.algo.HeatmapAlgo"
    assert "template_path" not in content["_state_"]
    moved = shutil.move(built.output_path, tmp_path / "elsewhere" / "heatmap_0")
    found, _ = algo_from_json(str(tmp_path / "elsewhere" / "heatmap_0" / "algo_object.json"))
    assert found.get_output_path() == str(moved)
    assert HeatmapAlgo.load(moved).get_output_path() == str(moved)


def test_a_folder_that_is_no_bundle_is_named(tmp_path):
    with pytest.raises(LandmarkError, match="it has no algo_object.json"):
        HeatmapAlgo.load(tmp_path)


def test_the_template_may_be_a_changed_copy(tiny_plan, demo_dataset, tiny_recipe, tmp_path):
    from auto3dlandmark.data.datalist import scan_folder, write_datalist
    from auto3dlandmark.planning.plan import write_plan

    templates = tmp_path / "my_templates"
    shutil.copytree(templates_path(), templates)
    (templates / "heatmap" / "docs" / "note.txt").write_text("mine")
    work = tmp_path / "work"
    write_datalist(work / "datalist.json", scan_folder(demo_dataset))
    write_plan(work / "plan.json", tiny_plan)
    mine = HeatmapAlgo(templates, recipe=tiny_recipe)
    mine.export_to_disk(str(work), "heatmap_1", fold=1, minutes=5)
    assert (work / "heatmap_1" / "docs" / "note.txt").read_text() == "mine"
    config = read_json(work / "heatmap_1" / "configs" / "train.json")
    assert (config["fold"], config["minutes"]) == (1, 5)
    assert mine.fill_records["train.json"]["fold"] == 1
