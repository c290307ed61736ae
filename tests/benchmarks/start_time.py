# SPDX-License-Identifier: Apache-2.0
"""CPU seconds of what should be quick: help, mistakes, and a look at six small cases.

    python tests/benchmarks/start_time.py

Each command runs in a process of its own, five times; the median and what it should stay below are printed.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from auto3dlandmark.data.demo import make_demo_dataset

RUNS = 5
# What is typed, and the CPU seconds it should stay below.
COMMANDS = {
    "--version": 1.0,
    "--help": 1.0,
    "run --help": 1.0,
    "run {data} {work} --minuts 1": 1.0,
    "run /nowhere {work}": 1.0,
    "run {data} {work} --network huge": 1.0,
    "predict /nowhere {data} {work}": 1.0,
    "check /nowhere": 1.0,
    "check {data}": 3.0,
}


def cpu_seconds(words: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "auto3dlandmark", *words], capture_output=True, env=os.environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data, work = Path(folder) / "data", Path(folder) / "work"
        make_demo_dataset(data, cases=6)
        print(f"{'command':<36}{'CPU s':>8}{'below':>8}")
        for command, most in COMMANDS.items():
            words = command.format(data=data, work=work).split()
            median = statistics.median(cpu_seconds(words) for _ in range(RUNS))
            print(f"{command.format(data='DATA', work='WORK'):<36}{median:>8.2f}{most:>8.1f}")


if __name__ == "__main__":
    main()
