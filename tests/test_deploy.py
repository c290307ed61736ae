# SPDX-License-Identifier: Apache-2.0
"""The files for clusters: linted where the linters are, and the SLURM script run against stand-ins."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
DEPLOY = PROJECT / "deploy"
STAND_INS = {
    "scontrol": 'printf "one\\ntwo\\nthree\\n"',
    "hostname": "echo 10.0.0.1 10.0.0.2",
    # The node is the word after --nodelist=; the rest is what it runs.
    "srun": (
        'for word in "$@"; do case "$word" in --nodelist=*) node="${word#*=}";; --*) ;; *) break;; esac; '
        'shift; done; echo "$node: $*" >> "$LOG"; exec "$@"'
    ),
    "ray": 'case "$1" in status) test -e "$LOG.up";; start) touch "$LOG.up"; exec sleep 30;; esac',
    "auto3dlandmark": 'sleep 1; echo "driver: $*" >> "$LOG"',
}


def tool(name):
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


@pytest.mark.parametrize(
    ("linter", "file"), [("shellcheck", "predict.slurm"), ("hadolint", "Dockerfile")], ids=lambda one: one
)
def test_linters_are_quiet(linter, file):
    found = tool(linter)
    if found is None:
        pytest.skip(f"{linter} is not installed")
    said = subprocess.run([found, str(DEPLOY / file)], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.fixture
def stand_ins(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in STAND_INS.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
        (folder / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "SLURM_JOB_NODELIST": "x[1-3]",
        "SLURM_CPUS_PER_TASK": "4",
    }


def test_a_slurm_job_starts_ray_on_all_nodes_and_predicts(stand_ins):
    command = ["bash", str(DEPLOY / "predict.slurm"), "BUNDLE", "IMAGES", "OUT", "--gpus", "1"]
    done = subprocess.run(command, env=stand_ins, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = Path(stand_ins["LOG"]).read_text().splitlines()
    assert said[0] == "one: hostname --ip-address"
    assert said[1].startswith("one: ray start --head --block --port=6379 --num-cpus=4")
    assert said[-1] == "driver: predict BUNDLE IMAGES OUT --gpus 1 --cluster 10.0.0.1:6379"
    workers = sorted(line for line in said if "--address" in line)
    assert workers == [
        f"{node}: ray start --block --address=10.0.0.1:6379 --num-cpus=4" for node in ("three", "two")
    ]


def test_a_head_that_does_not_start_ends_the_job(stand_ins, tmp_path):
    (tmp_path / "bin" / "ray").write_text("#!/usr/bin/env bash\nexit 1\n")
    command = ["bash", str(DEPLOY / "predict.slurm"), "BUNDLE", "IMAGES", "OUT"]
    done = subprocess.run(command, env=stand_ins, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "Ray did not start on one" in done.stderr
    assert "driver" not in Path(stand_ins["LOG"]).read_text()


def test_the_kubernetes_job_runs_a_command_that_there_is():
    from auto3dlandmark.cli.entry import COMMANDS

    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    words = job["spec"]["entrypoint"].split()
    assert words[0] == "auto3dlandmark" and words[1] in COMMANDS and "--cluster" in words
    cluster = job["spec"]["rayClusterSpec"]
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for pod in pods:
        spec = pod["template"]["spec"]
        mounted = {one["name"] for container in spec["containers"] for one in container["volumeMounts"]}
        assert mounted == {one["name"] for one in spec["volumes"]}
        assert all(container["image"].startswith("auto3dlandmark") for container in spec["containers"])
