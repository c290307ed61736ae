# SPDX-License-Identifier: Apache-2.0
"""A case that never ends, hangs or kills its reader costs its own reviewer a sentence, and nobody else
anything; and the server ends when it is told to."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import threading
import time

import nibabel as nib
import numpy as np
import psutil
import pytest
import requests

from .conftest import BUNDLE, Server, fill_studies

SECONDS_TO_END = 5
# What the image called so does to the process that looks at it.
ENDLESS = "$lambda image: __import__('time').sleep(600) if 'endless' in str(image.meta) else image"
DEADLY = "$lambda image: __import__('os').abort() if 'deadly' in str(image.meta) else image"


def odd_server_in(folder, *options):
    """A server whose model never ends with one image, and dies of another."""
    bundle = shutil.copytree(BUNDLE, folder / "bundle")
    config = json.loads((bundle / "configs" / "inference.json").read_text())
    for func in (ENDLESS, DEADLY):
        config["preprocessing_transforms"].insert(1, {"_target_": "Lambdad", "keys": "image", "func": func})
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    studies = fill_studies(folder / "studies")
    for name in ("endless", "deadly"):
        shutil.copy(studies / "case 1.nii.gz", studies / f"{name}.nii.gz")
    os.mkfifo(studies / "pipe.nii.gz")
    conf = [("bundles", str(bundle)), ("score", "false"), ("trust", "true"), *options]
    return Server(studies, stock=[word for name, value in conf for word in ("--conf", name, value)])


@pytest.fixture(scope="module")
def odd_server(tmp_path_factory):
    running = odd_server_in(tmp_path_factory.mktemp("odd"), ("case_seconds", "15"))
    yield running
    running.stop()


def infer(server, image):
    return requests.post(f"{server.url}/infer/landmarks?image={image}&output=json", timeout=120)


@pytest.mark.parametrize(
    "image, status, sentence",
    [
        ("endless", 504, "endless.nii.gz: takes more than 15 s"),
        ("deadly", 422, "deadly.nii.gz: the model died of it"),
        ("pipe", 422, "pipe.nii.gz: is no regular file"),
    ],
)
def test_a_hopeless_case_is_told_and_the_next_one_is_served(odd_server, image, status, sentence):
    before = infer(odd_server, "case%202")
    answer = infer(odd_server, image)
    assert answer.status_code == status and answer.json()["detail"].startswith(sentence), answer.text
    after = infer(odd_server, "case%202")
    assert after.status_code == 200 and after.json()["landmarks"] == before.json()["landmarks"]


def test_others_are_served_while_a_case_takes_its_time(odd_server):
    answers = []
    slow = threading.Thread(target=lambda: answers.append(infer(odd_server, "endless").status_code))
    slow.start()
    time.sleep(0.5)
    assert infer(odd_server, "case%202").status_code == 200 and answers == []
    slow.join()
    assert answers == [504]


def test_an_upload_is_called_by_its_own_name(odd_server):
    files = {"file": ("mine.nii.gz", coarse_image())}
    answer = requests.post(f"{odd_server.url}/infer/landmarks", files=files, timeout=60)
    assert answer.status_code == 422 and answer.json()["detail"].startswith("mine.nii.gz: "), answer.text


def coarse_image():
    """48^3 voxels of 20 mm: on the network's grid they would take the memory of the machine."""
    noise = np.random.default_rng(0).normal(100, 20, (48, 48, 48)).astype(np.float32)
    return gzip.compress(nib.Nifti1Image(noise, np.diag([20, 20, 20, 1.0])).to_bytes(), 1)


def test_a_label_of_a_pipe_is_refused_at_once(odd_server, make_label):
    files = {"label": ("x.mrk.json", make_label())}
    answer = requests.put(f"{odd_server.url}/datastore/label?image=pipe", files=files, timeout=60)
    assert answer.status_code == 422 and "is no regular file" in answer.json()["detail"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_within_seconds_of_a_signal(tmp_path, make_label, number):
    """While an inference and a training are under way; nothing of them lives on."""
    running = odd_server_in(tmp_path)
    try:
        for case in ("C3HeB.FeJ_", "case%201", "case%202"):
            files = {"label": ("x.mrk.json", make_label())}
            answer = requests.put(f"{running.url}/datastore/label?image={case}", files=files, timeout=60)
            assert answer.status_code == 200, answer.text
        assert infer(running, "case%202").status_code == 200
        assert requests.post(f"{running.url}/train/landmarks", timeout=60).status_code == 200
        waiting = threading.Thread(target=lambda: infer(running, "endless"), daemon=True)
        waiting.start()
        time.sleep(4)
        processes = psutil.Process(running.process.pid).children(recursive=True)
        assert len(processes) >= 2, running.said()
        running.process.send_signal(number)
        running.process.wait(SECONDS_TO_END)
        _, alive = psutil.wait_procs(processes, timeout=2)
        assert alive == []
    finally:
        running.stop()
    notes = running.studies / "review" / "notes.json"
    assert not notes.exists() or "unreadable" not in notes.read_text()  # nothing is wrong with the image
