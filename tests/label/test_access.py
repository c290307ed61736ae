# SPDX-License-Identifier: Apache-2.0
"""With a token nothing is told, and nothing changed, by whoever does not know it."""

from __future__ import annotations

import psutil
import pytest
import requests
from LandmarkReviewLib.client import Client, Refused
from monailabel.client import MONAILabelClient

from .conftest import Server, fill_studies

TOKEN = "Zwei-Drei*Vier"
CASE = "case 1"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    running = Server(fill_studies(tmp_path_factory.mktemp("guarded") / "studies"), token=TOKEN)
    yield running
    running.stop()


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/info/"),
        ("GET", "/datastore/?output=all"),
        ("GET", f"/datastore/image?image={CASE}"),
        ("HEAD", f"/datastore/image?image={CASE}"),
        ("PUT", f"/datastore/label?image={CASE}&tag=final"),
        ("DELETE", f"/datastore/image?id={CASE}"),
        ("POST", f"/infer/landmarks?image={CASE}"),
        ("POST", "/train/landmarks"),
        ("GET", "/there/is/nothing"),
        ("GET", "//info/"),
    ],
)
def test_without_the_token_nothing_is_answered(guarded, method, path):
    wrong = {"Authorization": f"Bearer {TOKEN}x"}, {"Cookie": f"auto3dlandmark={TOKEN}"}, {}
    for headers in (*wrong, {"Authorization": "Bearer"}, {"Authorization": "Bearer \xff"}):
        assert requests.request(method, guarded.url + path, headers=headers, timeout=60).status_code == 401
    assert (guarded.studies / f"{CASE}.nii.gz").is_file()


def test_programs_send_it_as_a_header(guarded, tmp_path):
    client = Client(guarded.url, token=TOKEN)
    content = client.infer(CASE)
    assert client.submit(CASE, content, client.label(CASE)[1])
    stock = MONAILabelClient(guarded.url, str(tmp_path))
    stock.update_auth({"token_type": "Bearer", "access_token": TOKEN})
    assert stock.info()["datastore"]["total"] == 3
    with pytest.raises(Refused, match="asks for a token"):
        Client(guarded.url, token="another one").info()


def test_a_browser_hands_it_in_once(guarded):
    browser = requests.Session()
    page = browser.get(f"{guarded.url}/", timeout=60)
    assert page.status_code == 200 and "Landmark review" in page.text
    assert browser.post(f"{guarded.url}/login", json={"token": "another one"}, timeout=60).status_code == 401
    done = browser.post(f"{guarded.url}/login", json={"token": TOKEN}, timeout=60)
    cookie = done.headers["set-cookie"].lower()
    assert done.status_code == 200 and "httponly" in cookie and "samesite=strict" in cookie
    assert TOKEN.lower() not in cookie
    assert browser.get(f"{guarded.url}/info/", timeout=60).json()["labels"]
    elsewhere = {"Origin": "http://evil.example"}
    assert browser.get(f"{guarded.url}/info/", headers=elsewhere, timeout=60).status_code == 403


def test_it_is_told_to_nobody(guarded):
    requests.get(f"{guarded.url}/info/", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
    assert TOKEN not in guarded.said()
    commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if TOKEN in command]
    kept = [path for path in guarded.studies.rglob("*") if path.is_file() and path.suffix != ".gz"]
    assert kept and not [path for path in kept if TOKEN.encode() in path.read_bytes()]


def test_without_a_token_there_is_nothing_to_log_in_to(server):
    assert requests.post(f"{server.url}/login", json={"token": TOKEN}, timeout=60).status_code == 404
    assert requests.get(f"{server.url}/info/", timeout=60).status_code == 200
