# SPDX-License-Identifier: Apache-2.0
"""Real servers for tests. They need MONAI Label and its own environment: ``make test`` runs them there."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

PROJECT = Path(__file__).parents[2]
APP = PROJECT / "apps" / "monailabel_landmarks"
MODULE = APP / "slicer" / "LandmarkReview"
BUNDLE = PROJECT / "bundles" / "hippocampus_mri_landmarks"
VOLUMES = PROJECT.parent / "shared" / "data" / "hippocampus" / "images"
SECONDS_TO_START = 120

sys.path.insert(0, str(MODULE))
collect_ignore_glob = [] if importlib.util.find_spec("monailabel") else ["test_*.py"]


class Server:
    """A server in a process group of its own, so that nothing of it outlives a test."""

    def __init__(
        self,
        studies: Path,
        stock: list[str] | None = None,
        options: tuple[str, ...] = ("--bundle", str(BUNDLE)),
        token: str | None = None,
    ) -> None:
        self.studies, self.stock, self.options, self.token = studies, stock, options, token
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        ours = ["auto3dlandmark", "serve", str(self.studies), *self.options]
        if self.stock is not None:
            ours = ["monailabel.main", "start_server", "--app", str(APP), "--studies", str(self.studies)]
            ours += ["--host", "127.0.0.1", *self.stock]
        self.log = open(self.studies.parent / "server.log", "ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", *ours, "--port", str(self.port)],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **({} if self.token is None else {"AUTO3DLANDMARK_TOKEN": self.token})},
        )
        from LandmarkReviewLib.client import Client, ConnectionLost

        begun = time.time()
        while True:
            try:
                Client(self.url, token=self.token).info()
                return
            except ConnectionLost:
                assert self.process.poll() is None and time.time() - begun < SECONDS_TO_START, self.said()
                time.sleep(0.2)

    def said(self) -> str:
        return (self.studies.parent / "server.log").read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        """As a power cut does it: the server alone, its children are on their own."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()


def fill_studies(folder: Path, count: int = 3) -> Path:
    """Real volumes, or where the shared data is missing, noise of their size; one has dots in its name."""
    folder.mkdir(parents=True)
    real = sorted(VOLUMES.glob("*.nii.gz"))[:count] if VOLUMES.is_dir() else []
    for number in range(count):
        path = folder / (f"case {number}.nii.gz" if number else "C3HeB.FeJ_.nii.gz")
        if real:
            shutil.copy(real[number], path)
        else:
            import nibabel as nib

            noise = np.random.default_rng(number).normal(100, 20, (36, 50, 36)).astype(np.float32)
            nib.save(nib.Nifti1Image(noise, np.eye(4)), path)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A server for a module's tests, which predicts nothing in advance."""
    running = Server(fill_studies(tmp_path_factory.mktemp("server") / "studies"))
    yield running
    running.stop()


@pytest.fixture
def own_server(tmp_path: Path):
    """A server for one test alone."""
    running = Server(fill_studies(tmp_path / "studies"))
    yield running
    running.stop()


@pytest.fixture
def client(request: pytest.FixtureRequest):
    """The Slicer module's client, of the test's server."""
    from LandmarkReviewLib.client import Client

    name = "own_server" if "own_server" in request.fixturenames else "server"
    return Client(request.getfixturevalue(name).url, "tester")


@pytest.fixture(scope="session")
def make_label():
    """The bytes of a label of the bundle: all landmarks at a place inside every test volume, moved a
    little."""
    from LandmarkReviewLib.points import PRESENT, Point, write_points

    names = json.loads((BUNDLE / "configs" / "inference.json").read_text())["landmark_names"]

    def make(moved: float = 0.0, **changed) -> bytes:
        points = {name: Point(name, (15 + moved, 20 + row, 10), PRESENT) for row, name in enumerate(names)}
        return write_points({**points, **changed}.values())

    return make
