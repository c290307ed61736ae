# SPDX-License-Identifier: Apache-2.0
"""Killed in the middle of writes, again and again: every acknowledged label is there, and the store opens."""

from __future__ import annotations

import os
import signal
import threading
import time

import psutil
import pytest
import requests
from LandmarkReviewLib.client import Client, ConnectionLost

from auto3dlandmark.review.store import ReviewStore, checksum_of
from auto3dlandmark.review.versions import ServedModel

from .conftest import BUNDLE

TIMES = 10


@pytest.mark.slow
def test_a_killed_server_has_lost_no_acknowledged_label(own_server, make_label):
    """Two reviewers submit without a pause while the server is killed ten times."""
    acknowledged: set[str] = set()
    over = threading.Event()

    def review(first: int) -> None:
        number, client = first, Client(own_server.url, str(first))
        while not over.is_set():
            content = make_label(number % 10_000 / 10_000)
            try:
                acknowledged.add(client.submit("case 1", content, client.label("case 1")[1]))
            except ConnectionLost:
                time.sleep(0.05)
            except Exception as error:  # the other reviewer was faster
                assert getattr(error, "status", None) == 409, error
            number += 2

    threads = [threading.Thread(target=review, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(TIMES):
            time.sleep(0.1 + 0.1 * turn)
            before = set(acknowledged)
            own_server.kill()
            names = ServedModel(own_server.studies / "review" / "models", [BUNDLE]).names
            store = ReviewStore(own_server.studies, names)
            kept = {checksum_of(path.read_bytes()) for path in store.history("case 1")}
            kept |= {store.checksum("case 1") or ""}
            assert before <= kept
            own_server.start()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(acknowledged) > TIMES
    assert not list((own_server.studies / "labels" / "final").glob("*.tmp"))


@pytest.mark.slow
def test_a_killed_training_leaves_the_served_model_whole(own_server, make_label):
    """Killed by a stop, by hand, and with its server; the model that was served goes on answering."""
    client = Client(own_server.url, "tester")
    for number, case in enumerate(("C3HeB.FeJ_", "case 1", "case 2")):
        client.submit(case, make_label(number / 10), "")
    before = client.infer("case 1")
    for pause, how in ((1, "stop"), (3, "by hand"), (5, "with its server")):
        client.train(minutes=5)
        begun = time.time()
        while client.training().get("state") != "training":
            assert time.time() - begun < 60, client.training()
            time.sleep(0.2)
        time.sleep(pause)
        server = psutil.Process(own_server.process.pid)
        trainings = [child for child in server.children(recursive=True) if "train" in child.cmdline()]
        assert trainings, own_server.said()
        if how == "stop":
            client.stop_training()
        elif how == "by hand":
            os.kill(trainings[0].pid, signal.SIGKILL)
        else:
            own_server.kill()
            psutil.wait_procs(trainings, timeout=20)
            assert not any(child.is_running() for child in trainings)  # no orphan trains on
            own_server.start()
        begun = time.time()
        running = f"{own_server.url}/train/?check_if_running=true"
        while client.training().get("state") != "stopped" or requests.get(running, timeout=60).ok:
            assert time.time() - begun < 60, client.training()
            time.sleep(0.5)
        assert client.infer("case 1") == before
        assert client.info()["models"]["landmarks"]["version"] == 0
    assert client.info()["datastore"]["completed"] == 3
