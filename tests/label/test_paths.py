# SPDX-License-Identifier: Apache-2.0
"""No answer tells where anything lies on the server's machine."""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path

import pytest
import requests

from monailabel_landmarks.lib.answers import without_folders

from .conftest import BUNDLE, PROJECT

# Of any path of this machine, quoted or not; what requests call themselves is not one.
ANY_PATH = re.compile(r"(?<![\w:/.])/(tmp|root|home|work|usr|etc|var|opt|proc)\b")


@pytest.mark.parametrize(
    "text, cleaned",
    [
        ("/data/my studies/case 1.nii.gz: broken", "case 1.nii.gz: broken"),
        ("/data/my studies", "my studies"),
        ("cannot read '/etc/x/passwd'.", "cannot read 'passwd'."),
        ('File "/usr/lib/python3/a.py", line 3', 'File "a.py", line 3'),
        ("see /info/ and http://example.org/a/b.json", "see /info/ and http://example.org/a/b.json"),
        ("review/trash, 3/4 of it", "review/trash, 3/4 of it"),
    ],
)
def test_a_path_becomes_its_last_part(text, cleaned):
    assert without_folders({"a": [text, 3]}, [Path("/data/my studies")]) == {"a": [cleaned, 3]}


def told(server, method, path, **options):
    """An answer's text."""
    answer = requests.request(method, f"{server.url}{path}", timeout=120, **options)
    kept = [str(server.studies), str(server.studies.parent), str(PROJECT), str(BUNDLE), tempfile.gettempdir()]
    for place in kept:
        assert place not in answer.text, (path, answer.text)
    found = ANY_PATH.search(answer.text)
    assert found is None, (path, answer.text[max(0, found.start() - 200) : found.end() + 200])
    return answer


@pytest.mark.slow
def test_no_answer_tells_a_folder_of_the_server(own_server, make_label):
    for path in (*own_server.studies.glob("*.nii.gz"),):
        case = path.name.removesuffix(".nii.gz")
        for moved in (0, 0.5):
            label = {"label": ("x.mrk.json", make_label(moved))}
            assert told(own_server, "PUT", f"/datastore/label?image={case}", files=label).ok
    (own_server.studies / "broken.nii.gz").write_bytes(b"no image")
    (own_server.studies / "labels" / "final" / "broken.mrk.json").write_bytes(b"{")
    for path in ("/", "/info/", "/datastore/?output=all", "/datastore/?output=train", "/datastore/"):
        assert told(own_server, "GET", path).ok
    for path in ("image/info?image=case 1", "label/info?label=case 1", "label/history?label=case 1"):
        assert told(own_server, "GET", f"/datastore/{path}").ok
    for path in ("cases", "cases.csv", "agreement.csv", "image/remarks?image=case 1", "measurements"):
        assert told(own_server, "GET", f"/datastore/{path}").ok
    assert told(own_server, "GET", "/datastore/image?image=broken&nifti=true").status_code == 422
    assert told(own_server, "POST", "/infer/landmarks?image=broken").status_code == 422
    assert told(own_server, "POST", "/infer/landmarks?image=case 1&output=json").ok
    for name in ("x.nii.gz", "x.nrrd", "x.nii"):
        files = {"file": (name, b"no image")}
        assert told(own_server, "PUT", "/datastore/image", files=files).status_code == 422
        assert told(own_server, "POST", "/infer/landmarks", files=files).status_code == 422
        files = {"label": (name, b"no image")}
        assert told(own_server, "PUT", "/datastore/label?image=case 1", files=files).status_code == 422
    for work in ("batch/infer/landmarks", "scoring/uncertainty"):
        assert told(own_server, "POST", f"/{work}").ok
        wait_until_done(own_server, work.rpartition("/")[0] + ("/" if "scoring" in work else ""))
    label = own_server.studies / "labels" / "final" / "broken.mrk.json"
    assert told(own_server, "POST", "/train/landmarks", json={"minutes": 0.05}).ok
    wait_until_done(own_server, "train/")  # fails at the broken label, with a traceback in its log
    assert "'broken'" in told(own_server, "GET", "/info/").json()["train_stats"]["landmarks"]["reason"]
    label.unlink()
    assert told(own_server, "POST", "/train/landmarks", json={"minutes": 0.02}).ok
    assert json.dumps(wait_until_done(own_server, "train/")["details"])
    assert told(own_server, "GET", "/train/?all=true").ok and told(own_server, "GET", "/info/").ok


def wait_until_done(server, path):
    begun = time.time()
    while (task := told(server, "GET", f"/{path}").json())["status"] in ("SUBMITTED", "RUNNING"):
        assert time.time() - begun < 240
        time.sleep(0.3)
    return task
