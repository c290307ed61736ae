# SPDX-License-Identifier: Apache-2.0
"""What the server takes of the memory after many inferences, and how long reviewers wait for it.

    .venv-label/bin/python tests/benchmarks/server_load.py ../shared/data/hippocampus

First 200 inferences, one after the other: the memory of the server and its processes at 20, 100 and 200
should be the same. Then 20 reviewers at once, each asking for a case, inferring and submitting; first alone,
then while somebody uploads files that claim or become far too much: nobody should wait for more than 5 s.
Needs the label environment.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import requests

PROJECT = Path(__file__).parents[2]
BUNDLE = PROJECT / "bundles" / "hippocampus_mri_landmarks"
IMAGES, INFERENCES, REVIEWERS, ROUNDS = 20, 200, 20, 5
LONGEST_WAIT = 5.0


def memory_mb(server: psutil.Process) -> tuple[float, float]:
    """Of the server's own process, and of all that it has begun."""
    children = server.children(recursive=True)
    return server.memory_info().rss / 2**20, sum(child.memory_info().rss for child in children) / 2**20


def start(studies: Path, log: Path) -> tuple[subprocess.Popen, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "auto3dlandmark", "serve", str(studies), "--bundle", str(BUNDLE)]
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [*command, "--port", str(port)], stdout=stream, stderr=stream, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    while True:
        try:
            requests.get(f"{url}/info/", timeout=60)
            return process, url
        except requests.ConnectionError:
            if process.poll() is not None:
                sys.exit(log.read_text())
            time.sleep(0.2)


def measure_memory(url: str, server: psutil.Process, cases: list[str]) -> None:
    seconds: list[float] = []
    print(f"{'inferences':>10}{'server MB':>12}{'its processes MB':>18}")
    for number in range(1, INFERENCES + 1):
        case = cases[number % len(cases)]
        began = time.time()
        answer = requests.post(f"{url}/infer/landmarks", params={"image": case}, timeout=600)
        answer.raise_for_status()
        seconds.append(time.time() - began)
        if number in (1, 20, 100, 200):
            own, others = memory_mb(server)
            print(f"{number:>10}{own:>12.0f}{others:>18.0f}", flush=True)
    print(f"an inference takes {np.median(seconds):.2f} s (median), {max(seconds[1:]):.2f} s (longest)")


def bombs(folder: Path) -> dict[str, bytes]:
    """Small files that would take the memory or the minutes of a whole server."""
    header = "NRRD0004\ntype: uchar\nencoding: {}\ndimension: 3\nsizes: {}\n\n"
    rng = np.random.default_rng(0)
    coarse = nib.Nifti1Image(rng.normal(100, 20, (48, 48, 48)).astype(np.float32), np.diag([12, 12, 12, 1.0]))
    nib.save(coarse, folder / "coarse.nii.gz")
    claim = nib.Nifti1Header()
    claim.set_data_dtype(np.uint8)
    claim.set_data_shape((2000, 2000, 2000))
    zeros = gzip.compress(bytes(2**30), 1)
    return {
        "claims 2000^3 voxels.nrrd": header.format("raw", "2000 2000 2000").encode(),
        "claims 2000^3 voxels.nii": claim.binaryblock + bytes(4),
        "zeros.nrrd": header.format("gzip", "1000 1000 1000").encode() + zeros[: 2**20],
        "whole zeros.nrrd": header.format("gzip", "1024 1024 1024").encode() + zeros,
        "12 mm.nii.gz": (folder / "coarse.nii.gz").read_bytes(),
    }


def measure_waits(url: str, files: dict[str, bytes], cases: list[str]) -> None:
    for case in cases:
        requests.delete(f"{url}/datastore/label", params={"id": case, "tag": "final"})
    waits: dict[str, list[float]] = {}
    over = threading.Event()

    def timed(what: str, ask: Callable[[], requests.Response]) -> requests.Response:
        began = time.time()
        answer = ask()
        waits.setdefault(what, []).append(time.time() - began)
        return answer

    def review(number: int) -> None:
        client = {"client_id": f"reviewer {number}"}
        for _ in range(ROUNDS):
            found = timed(
                "next case", lambda: requests.post(f"{url}/activelearning/first", json=client)
            ).json()
            if not found:
                return
            query: dict[str, Any] = {"image": found["id"], "output": "image"}
            points = timed("infer", lambda query=query: requests.post(f"{url}/infer/landmarks", params=query))
            label = {"label": ("x.mrk.json", points.content)}
            place = {"image": found["id"], "tag": "final"}
            params = {"params": json.dumps({"reviewer": client["client_id"]})}
            timed(
                "submit",
                lambda place=place, label=label, params=params: requests.put(
                    f"{url}/datastore/label", params=place, files=label, data=params
                ),
            ).raise_for_status()
            timed("info", lambda: requests.get(f"{url}/info/"))

    def attack() -> None:
        while files and not over.is_set():
            for name, content in files.items():
                for method, path in (("POST", "/infer/landmarks"), ("PUT", "/datastore/image?image=bomb")):
                    answer = requests.request(method, url + path, files={"file": (name, content)})
                    said.setdefault(f"{method} {name}", f"{answer.status_code} {answer.text[:150]}")
                    requests.delete(f"{url}/datastore/image?id=bomb")

    said: dict[str, str] = {}
    attacker = threading.Thread(target=attack)
    reviewers = [threading.Thread(target=review, args=(number,)) for number in range(REVIEWERS)]
    attacker.start()
    for thread in reviewers:
        thread.start()
    for thread in reviewers:
        thread.join()
    over.set()
    attacker.join()
    for name, answer in said.items():
        print(f"  {name}: {answer}")
    print(f"{'request':<12}{'count':>7}{'median s':>10}{'longest s':>11}   should be below {LONGEST_WAIT:g}")
    for what, seconds in waits.items():
        print(f"{what:<12}{len(seconds):>7}{np.median(seconds):>10.2f}{max(seconds):>11.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with images/CASE.nii.gz of hippocampi")
    data = parser.parse_args().data
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server never outlives this
    with tempfile.TemporaryDirectory() as folder:
        studies = Path(folder) / "studies"
        studies.mkdir()
        for path in sorted((data / "images").glob("*.nii.gz"))[:IMAGES]:
            shutil.copy(path, studies)
        files = bombs(Path(folder))
        process, url = start(studies, Path(folder) / "log")
        try:
            cases = [path.name.removesuffix(".nii.gz") for path in sorted(studies.glob("*.nii.gz"))]
            measure_memory(url, psutil.Process(process.pid), cases)
            for sent in ({}, files):
                print(f"{REVIEWERS} reviewers, {'bombs among them' if sent else 'alone'}:")
                measure_waits(url, sent, cases)
            print(
                "after it: server {:.0f} MB, its processes {:.0f} MB".format(
                    *memory_mb(psutil.Process(process.pid))
                )
            )
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


if __name__ == "__main__":
    main()
