# SPDX-License-Identifier: Apache-2.0
"""Every comparator is trained, found again when it is there, and stands in one table with what others
predicted."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from auto3dlandmark import LandmarkError
from auto3dlandmark.cli import main
from auto3dlandmark.data.datalist import read_datalist
from auto3dlandmark.data.images import read_geometry
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.formats import read_landmarks, write_landmarks
from auto3dlandmark.formats.nnlandmark_json import write_nnlandmark_cases
from auto3dlandmark.landmarks import LandmarkSet
from auto3dlandmark.planning.systems import FOLDER
from auto3dlandmark.workflow.benchmark import Benchmark
from auto3dlandmark.workflow.work_folder import WorkFolder

# One that sees patches, two that see images whole; networks of the others take a step in tests/networks, and
# plans of them are made in tests/planning.
TRAINED = ["auto3dlandmark", "landmarker", "unet"]
TINY = {"epochs": 1, "epoch_length": 2, "val_interval": 1, "num_workers": 0}


@pytest.fixture(scope="module")
def bench(demo_dataset, tmp_path_factory):
    """Systems, each as small as it can be, trained for two steps on one fold."""
    folder = tmp_path_factory.mktemp("bench")
    files = []
    for name in TRAINED:
        system = json.loads((FOLDER / f"{name}.json").read_text())
        system["values"] = {**system.get("values", {}), **TINY}
        system["network"] = "small"
        if "resize" in system:
            system["resize"] = 64 if name == "landmarker" else 32  # halved five times
        write_json(folder / f"tiny_{name}.json", system)
        files.append(str(folder / f"tiny_{name}.json"))
    words = ["benchmark", str(demo_dataset), str(folder / "work"), "--folds", "1"]
    main([*words, "--systems", ",".join([*files, "no_image"])])
    return folder, words, files


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as stream:
        return {row["system"]: row for row in csv.DictReader(stream)}


@pytest.mark.slow
def test_each_system_is_trained_and_stands_in_the_table(bench):
    rows = rows_of(bench[0] / "work" / "results.csv")
    assert set(rows) == {"no_image", *(f"tiny_{name}" for name in TRAINED)}
    for name in (f"tiny_{name}" for name in TRAINED):
        assert float(rows[name]["mre_mm"]) > 0 and rows[name]["steps"] == "2"
        assert int(rows[name]["parameters"]) > 1000 and float(rows[name]["seconds_per_image"]) > 0
    assert rows["no_image"]["parameters"] == ""
    assert sum(row["verdict"] == "best" for row in rows.values()) == 1
    page = (bench[0] / "work" / "report.html").read_text()
    assert all(name in page for name in TRAINED) and "Jonkers et al." in page


def test_nothing_is_trained_twice(bench, capsys):
    _, words, files = bench
    main([*words, "--systems", ",".join(files[:2])])
    said = capsys.readouterr().out
    assert "train fold 0: unchanged" in said and ": running" not in said.replace("evaluate", "")


def test_predictions_of_others_join_the_table(bench, tmp_path, capsys):
    folder = bench[0] / "work"
    listed, voxels = read_datalist(folder / "datalist.json"), {}
    for case in listed.held_out(0):
        truth = read_landmarks(case.label)
        near = LandmarkSet(truth.names, truth.points + 0.01, truth.status)
        write_landmarks(tmp_path / "theirs" / f"{case.id}.fcsv", near)
        voxels[case.id] = (near, read_geometry(case.image)[1])
    write_nnlandmark_cases(tmp_path / "voxels.json", voxels)
    joined = f"theirs={tmp_path / 'theirs'},in voxels={tmp_path / 'voxels.json'}"
    main(["benchmark", "report", str(folder), "--predictions", joined])
    rows = rows_of(folder / "results.csv")
    for name in ("theirs", "in voxels"):
        assert float(rows[name]["mre_mm"]) == pytest.approx(0.01 * np.sqrt(3), abs=2e-3)
    assert "theirs" in capsys.readouterr().out


def test_a_missing_prediction_is_told(bench, tmp_path):
    made = Benchmark(WorkFolder(bench[0] / "work", say=lambda line: None))
    (tmp_path / "theirs").mkdir()
    with pytest.raises(LandmarkError, match="has no prediction for the held-out case"):
        made.add_predictions("incomplete", tmp_path / "theirs")
    for case in read_datalist(bench[0] / "work" / "datalist.json").held_out(0):
        write_landmarks(tmp_path / "theirs" / f"{case.id}.mrk.json", LandmarkSet(("else",), np.zeros((1, 3))))
    with pytest.raises(LandmarkError, match="has none of the dataset's landmarks"):
        made.add_predictions("other names", tmp_path / "theirs")
    assert not {"incomplete", "other names"} & set(made.systems)


def test_names_that_would_share_a_folder_are_refused(bench, tmp_path):
    made = Benchmark(WorkFolder(bench[0] / "work", say=lambda line: None))
    with pytest.raises(LandmarkError, match="would share a folder"):
        made.add_predictions("NO image", tmp_path)


def test_a_system_of_other_data_is_left_out_and_named(bench):
    said = []
    made = Benchmark(WorkFolder(bench[0] / "work", say=said.append))
    made.systems["tiny_landmarker"] = {**made.systems["tiny_landmarker"], "made_of": "something else"}
    assert "tiny_landmarker" not in [row["system"] for row in made.report()]
    assert "note: tiny_landmarker is left out, as it is of other data or folds; name it again" in said


def test_predictions_never_replace_what_was_trained(bench, tmp_path):
    made = Benchmark(WorkFolder(bench[0] / "work", say=lambda line: None))
    with pytest.raises(LandmarkError, match="tiny_auto3dlandmark was trained here"):
        made.add_predictions("tiny_auto3dlandmark", tmp_path)


def test_a_system_without_all_cases_is_left_out_and_named(bench):
    said = []
    made = Benchmark(WorkFolder(bench[0] / "work", say=said.append))
    gone = sorted((made.work.folder / "systems" / "tiny_unet" / "predictions").glob("*.mrk.json"))[0]
    content = gone.read_bytes()
    gone.unlink()
    assert "tiny_unet" not in [row["system"] for row in made.report()]
    assert any(line.startswith("note: tiny_unet is left out") for line in said)
    gone.write_bytes(content)
    assert "tiny_unet" in [row["system"] for row in made.report()]


def test_a_network_of_ones_own_is_a_row(bench, tmp_path, monkeypatch):
    """As docs/benchmark.md says: ten lines of Python, and a file that names them."""
    (tmp_path / "my_networks.py").write_text(
        "import torch\n\n\n"
        "class Shallow(torch.nn.Module):\n"
        "    def __init__(self, in_channels, out_channels, features=8):\n"
        "        super().__init__()\n"
        "        self.first = torch.nn.Conv3d(in_channels, features, 5, padding=2)\n"
        "        self.last = torch.nn.Conv3d(features, out_channels, 5, padding=2)\n\n"
        "    def forward(self, image):\n"
        "        return self.last(torch.nn.functional.leaky_relu(self.first(image)))\n"
    )
    network = {"_target_": "my_networks.Shallow", "in_channels": 1, "out_channels": "$len(@landmark_names)"}
    write_json(tmp_path / "shallow.json", {"network_def": network, "recipe": "quick", "values": TINY})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folder, words, _ = bench
    main([*words, "--systems", str(tmp_path / "shallow.json")])
    row = rows_of(folder / "work" / "results.csv")["shallow"]
    assert int(row["parameters"]) == 5**3 * 8 + 8 + 5**3 * 8 * 5 + 5


def test_a_system_that_fails_stops_no_other(bench, tmp_path):
    network = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 3}
    write_json(tmp_path / "broken.json", {"network_def": network})
    _, words, files = bench
    with pytest.raises(SystemExit) as stop:
        main([*words, "--systems", f"{tmp_path / 'broken.json'},{files[0]}"])
    assert "1 of 2 systems failed:\nbroken: " in str(stop.value.code)


def test_test_cases_of_a_dataset_are_predicted_by_all_folds(demo_dataset, tmp_path):
    dataset = shutil.copytree(demo_dataset, tmp_path / "dataset")
    from auto3dlandmark.data.datalist import Datalist, scan_folder, write_datalist

    found = scan_folder(dataset)
    split = Datalist(found.root, found.landmark_names, found.training[:-1], found.training[-1:])
    write_datalist(dataset / "dataset.json", split)
    main(["benchmark", str(dataset), str(tmp_path / "work"), "--folds", "1", "--systems", "no_image"])
    assert rows_of(tmp_path / "work" / "test_results.csv")["no_image"]["cases"] == "1"
    assert read_json(tmp_path / "work" / "benchmark.json")["dataset"] == "dataset"


def test_a_folder_to_test_on_has_to_be_annotated_before_anything_is_trained(bench, tmp_path):
    folder, words, files = bench
    shutil.copytree(folder / "work", tmp_path / "work")
    words = [words[0], words[1], str(tmp_path / "work"), *words[3:], "--systems", files[0]]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--test", str(tmp_path / "nowhere")])
    assert "nowhere" in str(stop.value.code) and "systems failed" not in str(stop.value.code)


def test_published_tables_stand_beside_what_was_measured(bench, capsys):
    main(["benchmark", "tables"])
    assert "1.46 ± 1.01" in capsys.readouterr().out
    main(["benchmark", "tables", str(bench[0] / "work")])
    said = capsys.readouterr().out
    assert f"Measured here: {bench[0] / 'work'}" in said and "no_image" in said


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["/nowhere"], "benchmark takes two arguments: DATASET WORK"),
        (["/nowhere", "w", "--systems", "h3d"], "system 'h3d' is unknown"),
        (["/nowhere", "w", "--minutes", "1", "--epochs", "2"], "two ends of a training"),
        (["/nowhere", "w", "--predictions", "theirs"], "must be NAME=FOLDER"),
        (["report", "/nowhere/at/all"], "there is no benchmark yet"),
        (["report", "w", "--minutes", "3"], "benchmark report has no use for --minutes"),
        (["tables", "w", "--predictions", "a=b"], "benchmark tables has no use for --predictions"),
        (["/nowhere", "w", "--epochs", "0"], "epochs=0 must be a number greater than 0"),
    ],
)
def test_mistakes_are_told_before_any_work(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["benchmark", *words])
    assert sentence in str(stop.value.code)
