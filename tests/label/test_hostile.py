# SPDX-License-Identifier: Apache-2.0
"""What a hostile file or request does to a running server: it gets a sentence, and nobody else notices."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from .conftest import BUNDLE

NRRD = "NRRD0004\ntype: uchar\nencoding: {encoding}\ndimension: {dimension}\nsizes: {sizes}\n{more}\n"


def nrrd(sizes, data=b"", encoding="raw", more="", dimension=3):
    return NRRD.format(encoding=encoding, dimension=dimension, sizes=sizes, more=more).encode() + data


HOSTILE = {
    "sixteen dimensions": nrrd(" ".join(["2"] * 16), bytes(2**16), dimension=16),
    "another file behind a lone carriage return": nrrd("9 9 9", more="content: a\rdata file: /etc/passwd\n"),
    "another file": nrrd("9 9 9", more="data file: /etc/passwd\n"),
    "eighty bytes that claim gigabytes": nrrd("2000 2000 2000"),
    "a megabyte that claims more than deflate can hold": nrrd(
        "2000 2000 2000", gzip.compress(bytes(10**6)), "gzip"
    ),
    "no header": b"NRRD0004\n" + b"x" * 100,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_wherever_files_are_taken(server, client, content):
    for method, place in (
        ("PUT", "/datastore/image?image=new"),
        ("POST", "/infer/landmarks?image=new"),
        ("PUT", "/datastore/label?image=case%201&tag=final"),
    ):
        field = "label" if "label" in place.partition("?")[0].rpartition("/")[2] else "file"
        files = {field: ("new.nrrd", content)}
        answer = requests.request(method, f"{server.url}{place}", files=files, timeout=120)
        assert answer.status_code == 422, (place, answer.text)
        assert "/etc" not in answer.text and "itk" not in answer.text.lower()
    assert "new" not in client.cases()


@pytest.mark.parametrize("path", ["/activelearning/first", "/train/landmarks", "/batch/infer/landmarks"])
def test_a_request_without_a_file_is_small(server, path):
    body = json.dumps({"client_id": "x" * 100_000})
    headers = {"content-type": "application/json"}
    answer = requests.post(f"{server.url}{path}", data=body, headers=headers, timeout=60)
    assert answer.status_code == 413 and "larger than 64 kB" in answer.json()["detail"]


def test_a_number_beyond_all_numbers_is_refused(server):
    body = '{"minutes": 1' + "0" * 400 + "}"
    headers = {"content-type": "application/json"}
    answer = requests.post(f"{server.url}/train/landmarks", data=body, headers=headers, timeout=60)
    assert answer.status_code == 422


@pytest.mark.parametrize("content", ["[]", "3", "null", '{"state": []}', "not JSON"])
def test_a_damaged_status_stops_nobody(server, client, content):
    path = server.studies / "review" / "models" / "landmarks" / "status.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    assert client.info()["models"]["landmarks"]
    path.unlink()


def test_other_websites_are_turned_away_whatever_they_call_themselves(server):
    answer = requests.get(f"{server.url}/info/", headers={"Sec-Fetch-Site": "cross-site"}, timeout=60)
    assert answer.status_code == 403


def test_the_description_of_all_requests_is_not_served(server):
    assert requests.get(f"{server.url}/openapi.json", timeout=60).status_code == 404


@pytest.mark.parametrize("name", ["CON", "nul.x", "cafe\u0301"])
def test_a_name_that_other_computers_read_differently_is_refused(server, name):
    files = {"file": ("x.nii.gz", (server.studies / "case 1.nii.gz").read_bytes())}
    url = f"{server.url}/datastore/image"
    assert requests.put(url, params={"image": name}, files=files, timeout=60).status_code == 422


def test_a_doubled_image_is_left_out_and_the_others_go_on(server, client):
    twin = server.studies / "case 2.nii"
    twin.write_bytes(gzip.decompress((server.studies / "case 2.nii.gz").read_bytes()))
    try:
        assert "case 2" not in client.cases() and "case 1" in client.cases()
        answer = requests.get(f"{server.url}/datastore/image?image=case%202", timeout=60)
        assert answer.status_code == 409 and "has a second image" in answer.json()["detail"]
        assert str(server.studies) not in answer.text
    finally:
        twin.unlink()
    assert "case 2" in client.cases()


def test_a_module_in_the_folder_it_is_started_in_is_never_run(server, tmp_path):
    for name in ("h11", "uvicorn", "fastapi"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w').close()\n")
    shutil.copytree(server.studies, tmp_path / "studies", ignore=shutil.ignore_patterns("review", "labels"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("auto3dlandmark")), "serve", "studies"]
    command += ["--bundle", str(BUNDLE), "--port", str(port)]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            try:
                assert requests.get(f"http://127.0.0.1:{port}/info/", timeout=60).status_code == 200
                break
            except requests.ConnectionError:
                assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
                time.sleep(0.2)
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    assert not (tmp_path / "run").exists()
