# SPDX-License-Identifier: Apache-2.0
"""The server turns away what it should, with a sentence, and keeps answering."""

from __future__ import annotations

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
import requests

from monailabel_landmarks.lib.guard import UploadLimit


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("POST", "/infer/nothing?image=case%201", 404),
        ("POST", "/infer/landmarks", 422),
        ("POST", "/activelearning/nothing", 404),
        ("POST", "/train/nothing", 404),
        ("POST", "/scoring/nothing", 404),
        ("POST", "/batch/infer/nothing", 404),
        ("GET", "/datastore/label?label=case%201&tag=x", 422),
        ("GET", "/datastore/?output=x", 422),
        ("GET", "/train/?check_if_running=true", 404),
        ("PUT", "/model/landmarks", 404),
        ("GET", "/model/landmarks", 404),
        ("GET", "/logs/", 404),
        ("GET", "/proxy/dicom/x", 404),
        ("GET", "/datastore/dataset", 404),
        ("PUT", "/session/", 404),
        ("POST", "/reload", 404),
    ],
)
def test_what_is_not_there_is_no_error_of_the_server(server, method, path, status):
    answer = requests.request(method, server.url + path, timeout=60)
    assert answer.status_code == status and answer.json()["detail"]


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ({}, 200),
    ],
)
def test_other_websites_are_turned_away(server, headers, status):
    answer = requests.get(f"{server.url}/info/", headers=headers, timeout=60)
    assert answer.status_code == status and "access-control-allow-origin" not in answer.headers
    assert requests.get(f"{server.url}/info/", headers={"Origin": server.url}, timeout=60).status_code == 200


def test_an_upload_that_is_announced_too_large_is_not_read(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("PUT", "/datastore/image")
    connection.putheader("Content-Length", str(3 * 2**31))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413 and "larger than 2048 MB" in json.loads(answer.read())["detail"]
    connection.close()


@pytest.mark.parametrize("bytes_sent, status", [(900, 200), (1100, 413)])
def test_an_upload_without_end_is_cut_off(bytes_sent, status):
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    async def receive(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    limited = UploadLimit(
        Starlette(routes=[Route("/", receive, methods=["POST"])]), 10**6, most_json_bytes=1000
    )
    pieces = (b"x" * 100 for _ in range(bytes_sent // 100))  # of unknown length, so nothing is announced
    answer = TestClient(limited).post("/", content=pieces)
    assert answer.status_code == status
    assert answer.text == "900" if status == 200 else "larger than" in answer.json()["detail"]


@pytest.mark.slow
def test_a_slow_inference_does_not_hold_up_the_others(server, client):
    """While inferences queue, more than there are threads for requests, everything else is answered."""
    answers = []

    def infer():
        url = f"{server.url}/infer/landmarks?image=case%201"
        answers.append(requests.post(url, timeout=1200).status_code)

    threads = [threading.Thread(target=infer) for _ in range(45)]
    for thread in threads:
        thread.start()
    while not answers:  # the first one is done, and the others wait
        time.sleep(0.05)
    client.info()
    client.label("case 1")
    assert len(answers) < len(threads)
    for thread in threads:
        thread.join()
    assert answers == [200] * len(threads)


@pytest.mark.parametrize(
    "headers", [{"Host": "["}, {"Host": "[::1"}, {"Host": "a]b"}, {"Origin": "http://["}, {"Origin": ""}]
)
def test_broken_headers_are_turned_away(server, headers):
    assert requests.get(f"{server.url}/info/", headers=headers, timeout=60).status_code in (400, 403)


def test_of_many_that_start_a_training_one_is_served(own_server, client, make_label):
    answer = requests.post(f"{own_server.url}/train/landmarks", timeout=60)
    assert (
        answer.status_code == 422 and "0 cases are reviewed; at least 3 are needed" in answer.json()["detail"]
    )
    for minutes in (0, -1, "x", True, 1e9):
        answer = requests.post(f"{own_server.url}/train/landmarks", json={"minutes": minutes}, timeout=60)
        assert answer.status_code == 422, minutes
    for case in ("C3HeB.FeJ_", "case 1", "case 2"):
        client.submit(case, make_label(), "")
    with ThreadPoolExecutor(16) as pool:
        starts = list(
            pool.map(lambda _: requests.post(f"{own_server.url}/train/landmarks", timeout=60), range(16))
        )
    assert sorted(answer.status_code for answer in starts) == [200] + [429] * 15
    assert client.training()["state"] == "starting"
    time.sleep(2)
    client.stop_training()
    assert client.training()["state"] == "stopped"  # and not what the one before came to


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda array: array[:-1], "not on the grid of the image"),
        (lambda array: np.stack([array, array], axis=-1), "not on the grid of the image"),
        (lambda array: array[:, :, 0], "shape"),
        (lambda array: np.where(array == 1, np.inf, array).astype(np.float32), "NaN or infinite"),
        (lambda array: np.where(array == 1, 77, array), "label 77, which has no name"),
        (lambda array: array * 0, "every voxel is 0"),
    ],
    ids=["another grid", "4D", "2D", "infinite", "a number without a name", "empty"],
)
def test_a_label_map_that_does_not_fit_is_refused_with_a_sentence(server, tmp_path, spoil, message):
    image = nib.load(server.studies / "case 1.nii.gz")
    array = np.zeros(image.shape, dtype=np.int16)
    array[5:8, 5:8, 5:8] = 1
    nib.save(nib.Nifti1Image(spoil(array), image.affine), tmp_path / "x.nii.gz")
    answer = requests.put(
        f"{server.url}/datastore/label?image=case%201",
        files={"label": ("x.nii.gz", (tmp_path / "x.nii.gz").read_bytes())},
        timeout=60,
    )
    assert answer.status_code == 422 and message in answer.json()["detail"], answer.text


@pytest.mark.parametrize(
    "info",
    [
        [{"idx": 1}],
        7,
        [{"idx": 1e999, "name": "x"}],
        [{"idx": 1, "name": "x"}],
        [{"idx": 1, "name": "inferior_head"}] * 2,
    ],
)
def test_odd_segments_are_refused(server, tmp_path, info):
    image = nib.load(server.studies / "case 1.nii.gz")
    array = np.zeros(image.shape, dtype=np.int16)
    array[5:8, 5:8, 5:8] = 1
    nib.save(nib.Nifti1Image(array, image.affine), tmp_path / "x.nii.gz")
    answer = requests.put(
        f"{server.url}/datastore/label?image=case%201",
        data={"params": json.dumps({"label_info": info})},
        files={"label": ("x.nii.gz", (tmp_path / "x.nii.gz").read_bytes())},
        timeout=60,
    )
    assert answer.status_code == 422 and isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize("path", ["/infer/landmarks?output=image", "/infer/landmark_spheres"])
def test_an_uploaded_header_leads_to_no_other_file(server, path):
    header = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\ndata file: /etc/passwd\n\n"
    for name in ("x.nrrd", "x.mha", "x.mhd"):
        answer = requests.post(server.url + path, files={"file": (name, header)}, timeout=60)
        assert answer.status_code == 422, name
