# SPDX-License-Identifier: Apache-2.0
"""Two processes on the CPU train one network: shared cases, one metric, one checkpoint."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.training import distributed
from auto3dlandmark.training.run import run_on_devices

# Two processes without a launcher: gloo over a file, and each prints what it got.
SHARDS = """
import sys, torch.distributed as dist
from auto3dlandmark import distributed
rank, place = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
items = [{"image": str(n), "label": str(n)} for n in range(5)]
training = "".join(sorted(item["image"] for item in distributed.shard_for_training(items)))
testing = "".join(item["image"] for item in distributed.shard_for_testing(items))
single = distributed.shard_for_testing(items[:1])
print(training, testing, repr(single[0]["label"]), distributed.agreed(0.25 + rank))
dist.destroy_process_group()
"""


def test_alone_a_process_has_all_cases_and_agrees_with_itself():
    items = [{"image": "a", "label": "b"}]
    assert distributed.rank() == 0
    assert distributed.shard_for_training(items) == distributed.shard_for_testing(items) == items
    assert distributed.agreed(0.5) == 0.5


def test_two_processes_share_the_cases_and_agree_on_a_value(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SHARDS, str(rank), str(tmp_path / "meeting")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    first, second = (process.communicate(timeout=120)[0].split() for process in processes)
    assert set(first[0]) | set(second[0]) == set("01234")
    assert len(first[0]) == len(second[0]) == 3
    assert (first[1], second[1]) == ("024", "13")
    assert (first[2], second[2]) == ("'0'", "''")  # one case: the second process has nothing to measure
    assert first[3] == second[3] == "0.25"


@pytest.fixture(scope="module")
def trained_by_two(tiny_bundle, tmp_path_factory):
    """The tiny bundle, trained by two processes that torchrun starts."""
    folder = tmp_path_factory.mktemp("two") / "heatmap_0"
    shutil.copytree(tiny_bundle, folder)
    run_on_devices(folder, ["0", "1"], epochs=1)
    return folder


def evaluate(folder, out):
    configs = [str(folder / "configs" / name) for name in ("train.json", "evaluate.json")]
    command = [sys.executable, "-m", "monai.bundle", "run", "evaluating", "--config_file", repr(configs)]
    command += ["--bundle_root", str(folder), "--output_dir", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return float((out / "metrics.csv").read_text().replace(",", " ").split()[-1])


def test_two_processes_give_the_metric_of_one_on_the_same_weights(trained_by_two, tmp_path):
    summary = read_json(trained_by_two / "models" / "training.json")
    assert summary["steps"] == 4
    assert evaluate(trained_by_two, tmp_path / "out") == pytest.approx(summary["mre_mm"], abs=1e-3)


def test_the_models_are_those_of_any_training(trained_by_two):
    names = sorted(path.name for path in (trained_by_two / "models").iterdir())
    assert names == ["model.pt", "model_best.pt", "training.json"]


@pytest.mark.slow
def test_two_processes_end_together_when_the_minutes_are_over(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle, tmp_path / "heatmap_0")
    run_on_devices(folder, ["0", "1"], minutes=0.2)
    assert read_json(folder / "models" / "training.json")["steps"] > 0


def test_a_failing_training_is_reported(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle, tmp_path / "heatmap_0")
    config = read_json(folder / "configs" / "train.json")
    write_json(folder / "configs" / "train.json", {**config, "dataset_dir": str(tmp_path / "nowhere")})
    with pytest.raises(LandmarkError, match="failed with exit status"):
        run_on_devices(folder, ["0"])
