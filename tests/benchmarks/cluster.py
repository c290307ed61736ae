# SPDX-License-Identifier: Apache-2.0
"""A large job on a cluster of this machine, beside the same on one machine without.

    python tests/benchmarks/cluster.py speed BUNDLE IMAGES WORK --cases 400     # against predict --jobs 2
    python tests/benchmarks/cluster.py broken BUNDLE IMAGES WORK --cases 400    # three nodes, one is killed
    python tests/benchmarks/cluster.py sleeping WORK --cases 20000              # the driver's memory

IMAGES are linked under new names until there are as many cases.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fire
import numpy as np
import psutil

from auto3dlandmark.data.folder import find_images
from auto3dlandmark.formats import read_landmarks
from auto3dlandmark.inference.parallel import Outcome
from auto3dlandmark.landmarks import LandmarkSet


def speed(bundle: str, images: str, work: str, cases: int = 400, jobs: int = 2) -> None:
    """
    Print images per second of ``predict --jobs``, of ``predict --cluster``, and their ratio; both as whole
    commands and from the first image on.
    """
    folder = _images(Path(images), Path(work) / "images", cases)
    rates = {}
    for name, words in {"jobs": ["--jobs", str(jobs)], "cluster": ["--cluster"]}.items():
        out = Path(work) / name
        began = time.perf_counter()
        subprocess.run([*_command(), "predict", bundle, str(folder), str(out), *words], check=True)
        seconds = time.perf_counter() - began
        written = sorted(path.stat().st_mtime for path in out.rglob("*.mrk.json"))
        rates[name] = ((len(written) / seconds), (len(written) - 1) / (written[-1] - written[0]))
        print(f"{name}: {seconds:.1f} s, {rates[name][0]:.2f} images/s, {rates[name][1]:.2f} once it runs")
    whole, running = (rates["cluster"][number] / rates["jobs"][number] for number in (0, 1))
    print(
        f"cluster / jobs: {whole:.2f} as a whole, {running:.2f} once it runs; "
        f"{_difference(work):.1e} mm apart"
    )


def broken(bundle: str, images: str, work: str, cases: int = 400) -> None:
    """
    Predict on three nodes, three of the images broken; kill a node and a predictor on the way; predict again.
    """
    import pyarrow.parquet
    from ray.cluster_utils import Cluster

    folder, out = _images(Path(images), Path(work) / "broken_images", cases), Path(work) / "broken"
    for path in find_images(folder)[:3]:
        path.unlink()
        path.write_bytes(b"no image")
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1)
    third = cluster.add_node(num_cpus=1)
    command = [*_command(), "predict", bundle, str(folder), str(out), "--cluster", cluster.address]
    job = subprocess.Popen(command)
    _wait(lambda: len(list(out.glob("cases/*/*.mrk.json"))) > cases // 8, job)
    print("\na node is killed", flush=True)
    cluster.remove_node(third, allow_graceful=False)
    _wait(lambda: len(list(out.glob("cases/*/*.mrk.json"))) > cases // 3, job)
    victim = next(one for one in psutil.process_iter() if _title(one).startswith("ray::MapWorker"))
    print(f"\n{_title(victim)} is killed", flush=True)
    victim.send_signal(signal.SIGKILL)
    print(f"exit status {job.wait()}")
    _count(out, pyarrow.parquet)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.mrk.json")}
    print(f"again: exit status {subprocess.run(command).returncode}")
    _count(out, pyarrow.parquet)
    same = before == {path: path.stat().st_mtime_ns for path in out.rglob("*.mrk.json")}
    print("nothing was made again" if same else "SOMETHING WAS MADE AGAIN")
    cluster.shutdown()


def sleeping(work: str, cases: int = 20_000, seconds: float = 0.01) -> None:
    """
    Predict cases that only take time; print the driver's memory on the way.
    """
    from auto3dlandmark.cluster.listing import Listed
    from auto3dlandmark.cluster.predicting import predict_on_cluster

    image = Path(work) / "image"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_text("1")
    out, driver, began = Path(work) / "sleeping", psutil.Process(), time.perf_counter()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(10):
            done = sum(1 for _ in out.glob("cases/*/*.mrk.json"))
            memory = driver.memory_info().rss / 2**20
            print(f"\n{time.perf_counter() - began:.0f} s, {done} cases, {memory:.0f} MiB", flush=True)

    threading.Thread(target=watch).start()
    report = predict_on_cluster(
        SleepingMaker(seconds), [Listed(f"case_{number}", str(image)) for number in range(cases)], out
    )
    ended.set()
    took = time.perf_counter() - began
    print(f"{report.made} made, {report.kept} kept, {len(report.failed)} failed in {took:.0f} s")


@dataclass(frozen=True)
class SleepingMaker:
    """Makes 45 points of nothing, after some seconds."""

    seconds: float
    identity: str = "sleeping"

    def load(self) -> Callable[[Path], Outcome]:
        """As for bundles."""
        names, points = [f"point {number}" for number in range(45)], np.ones((45, 3))

        def predict(image: Path) -> Outcome:
            time.sleep(self.seconds)
            return Outcome(LandmarkSet(names, points))

        return predict


def _command() -> list[str]:
    return [sys.executable, "-m", "auto3dlandmark"]


def _images(source: Path, folder: Path, cases: int) -> Path:
    """So many links to the images of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    there = find_images(source)
    for number in range(cases):
        image = there[number % len(there)]
        link = folder / f"copy_{number // len(there)}_{image.name}"
        if not link.exists():
            link.symlink_to(image.resolve())
    return folder


def _difference(work: str) -> float:
    """Between the two, in millimetres at most."""
    jobs = {path.name: path for path in (Path(work) / "jobs").glob("*.mrk.json")}
    cluster = {path.name: path for path in (Path(work) / "cluster").rglob("*.mrk.json")}
    assert set(jobs) == set(cluster)
    apart = [read_landmarks(jobs[name]).points - read_landmarks(cluster[name]).points for name in jobs]
    return float(np.nanmax(np.abs(apart)))


def _count(out: Path, parquet: Any) -> None:
    table = parquet.read_table(out / "predictions.parquet", columns=["case", "landmark"]).to_pandas()
    failed = list(csv.DictReader((out / "failed.csv").open(encoding="utf-8")))
    print(
        f"{table.case.nunique()} cases, {len(table)} rows, {int(table.duplicated().sum())} twice, "
        f"{len(list(out.rglob('*.mrk.json')))} files; failed: {', '.join(row['case'] for row in failed)}"
    )


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _wait(true: Callable[[], bool], job: subprocess.Popen) -> None:
    while not true() and job.poll() is None:
        time.sleep(0.2)


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    fire.Fire({"speed": speed, "broken": broken, "sleeping": sleeping})
