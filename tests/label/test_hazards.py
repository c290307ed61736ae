# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with MONAI Label's own datastore and server, tried against ours while it runs."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from LandmarkReviewLib.client import Refused
from LandmarkReviewLib.points import PRESENT, Point

from auto3dlandmark.review.store import checksum_of

CASES = ("C3HeB.FeJ_", "case 1", "case 2")


def wait_for_batch(url):
    """Until the inference of many images has ended, which begins some time after it was asked for."""
    begun = time.time()
    while requests.get(f"{url}/batch/infer", timeout=60).json()["status"] in ("SUBMITTED", "RUNNING"):
        assert time.time() - begun < 600
        time.sleep(0.5)


def put_label(url, case, content, tag="final", name="x.mrk.json", **params):
    return requests.put(
        f"{url}/datastore/label",
        params={"image": case, "tag": tag},
        data={"params": json.dumps(params)},
        files={"label": (name, content)},
        timeout=60,
    )


def put_image(url, content, name, **query):
    return requests.put(f"{url}/datastore/image", params=query, files={"file": (name, content)}, timeout=60)


def kept_labels(studies):
    """All contents of labels that are on disk, wherever the store keeps them."""
    return {checksum_of(path.read_bytes()) for path in studies.rglob("*.mrk.json")}


def outside(studies):
    return {path for path in studies.parent.iterdir() if path != studies and path.name != "server.log"}


@pytest.mark.slow
def test_two_reviewers_and_a_batch_at_once_lose_nothing(own_server, client, make_label):
    """Hazard 1, two processes that save lose records: 200 submits, and predictions kept by a process of
    their own."""
    url = own_server.url
    assert requests.post(f"{url}/batch/infer/landmarks?images=all", timeout=60).status_code == 200
    submitted = {}

    def review(name, numbers):
        for number in numbers:
            case, content = CASES[number % 3], make_label(number / 1000)
            submitted[number] = content
            answer = put_label(url, case, content, reviewer=name)
            assert answer.status_code == 200 and answer.json()["checksum"] == checksum_of(content), (
                answer.text
            )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(review, ("ann", "ben"), (range(100), range(100, 200))))
    assert {checksum_of(content) for content in submitted.values()} <= kept_labels(own_server.studies)
    assert len(submitted) == 200
    log = (own_server.studies / "review" / "log.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in log]
    assert sum(entry.get("tag") == "final" for entry in entries) == 200
    assert {entry["reviewer"] for entry in entries if entry.get("tag") == "final"} == {"ann", "ben"}
    wait_for_batch(url)
    listed = requests.get(f"{url}/datastore/?output=all", timeout=60).json()["objects"]
    assert {case: sorted(entry["labels"]) for case, entry in listed.items()} == {
        case: ["final", "original"] for case in CASES
    }


def test_a_truncated_or_lost_index_loses_nothing(own_server, client, make_label):
    """Hazards 2 and 10: the stock config is not written atomically, and the labels are lost with it."""
    content = make_label()
    client.submit("case 1", content, "")
    for spoil in (
        lambda: (own_server.studies / "review" / "notes.json").write_text('{"case 1": {"conf'),
        lambda: (own_server.studies / "review" / "log.jsonl").write_bytes(b'{"time": "2026'),
        lambda: shutil.rmtree(own_server.studies / "review"),
    ):
        own_server.stop()
        spoil()
        own_server.start()
        assert client.label("case 1")[0] == content and client.info()["datastore"]["completed"] == 1
        client.next_case("first")
        client.submit("case 1", content, checksum_of(content))


def test_names_keep_their_dots(server, client, make_label):
    """Hazard 3: names with dots lose a part, and labels get a wrong extension."""
    content = make_label(0.3)
    assert put_label(server.url, "C3HeB.FeJ_", content, name="C3HeB.FeJ_.mrk.json").status_code == 200
    assert (server.studies / "labels" / "final" / "C3HeB.FeJ_.mrk.json").read_bytes() == content
    image = (server.studies / "case 1.nii.gz").read_bytes()
    assert put_image(server.url, image, "NZO.HlLtJ_ 2.nii.gz").json() == {"image": "NZO.HlLtJ_ 2"}
    assert (server.studies / "NZO.HlLtJ_ 2.nii.gz").read_bytes() == image
    requests.delete(f"{server.url}/datastore/image", params={"id": "NZO.HlLtJ_ 2"}, timeout=60)


@pytest.mark.parametrize("tag", ["../../..", "final/../../..", "Final", "original", "x"])
def test_a_tag_leads_nowhere_else(server, make_label, tag):
    """Hazard 4."""
    before = outside(server.studies)
    answer = put_label(server.url, "case 1", make_label(7), tag=tag)
    assert answer.status_code == 422 and "tag" in answer.json()["detail"]
    assert outside(server.studies) == before
    assert checksum_of(make_label(7)) not in kept_labels(server.studies.parent)


@pytest.mark.parametrize("image", ["../x", "/tmp/x", "labels/final/x", "..", "%2e%2e/x", "nobody"])
def test_an_id_leads_nowhere_else(server, make_label, image):
    """Hazard 4, of ids; and 9: an inference reads whatever path it is given."""
    before = outside(server.studies)
    assert put_label(server.url, image, make_label(8)).status_code == 404
    for query in ("infer/landmarks", "infer/landmark_spheres"):
        answer = requests.post(f"{server.url}/{query}", params={"image": image}, timeout=60)
        assert answer.status_code == 404 and "there is no image" in answer.json()["detail"]
    for path in ("datastore/image", "datastore/image/info"):
        assert requests.get(f"{server.url}/{path}", params={"image": image}, timeout=60).status_code == 404
    content = (server.studies / "case 1.nii.gz").read_bytes()
    assert put_image(server.url, content, "y.nii.gz", image=image).status_code == (
        200 if image == "nobody" else 422
    )
    if image == "nobody":
        requests.delete(f"{server.url}/datastore/image", params={"id": "nobody"}, timeout=60)
    assert outside(server.studies) == before


def test_parameters_cannot_name_another_image(server):
    """Hazard 9, by the back door: stock parameters are merged into the request."""
    secret = server.studies.parent / "secret.nii.gz"
    shutil.copy(server.studies / "case 2.nii.gz", secret)
    own = requests.post(f"{server.url}/infer/landmarks?image=case%201&output=image", timeout=60).content
    params = json.dumps({"image": str(secret), "model": "landmark_spheres", "uploaded": str(secret)})
    answer = requests.post(
        f"{server.url}/infer/landmarks?image=case%201&output=image", data={"params": params}, timeout=60
    )
    assert answer.content == own
    secret.unlink()


def test_an_uploaded_image_never_replaces_another(server, client, make_label):
    """Hazard 5: it does, and drops its labels."""
    client.submit("case 2", make_label(2), client.label("case 2")[1])
    before = (server.studies / "case 2.nii.gz").read_bytes()
    other = (server.studies / "case 1.nii.gz").read_bytes()
    for name, query in (("case 2.nii.gz", {}), ("z.nii.gz", {"image": "case 2"}), ("CASE 2.nii.gz", {})):
        answer = put_image(server.url, other, name, **query)
        assert answer.status_code == 409 and "already" in answer.json()["detail"]
    assert (server.studies / "case 2.nii.gz").read_bytes() == before
    assert client.label("case 2")[0] == make_label(2)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "empty|not valid"),
        (b"hello", "not valid"),
        (b'{"markups": []}', "holds no 'markups'"),
        (b'{"markups": [{"type": "ROI", "center": [0, 0, 0]}]}', "type 'ROI'"),
        (
            b'{"markups": [{"controlPoints": [{"label": "F-1", "position": [0, 0, 0]}]}]}',
            "lacks 'head_centroid'",
        ),
    ],
    ids=["empty", "text", "no points", "boxes of the stock plugin", "other names"],
)
def test_garbage_is_no_label(server, client, make_label, content, message):
    """Hazard 6; the sentence is what the client shows."""
    client.submit("case 1", make_label(3), client.label("case 1")[1])
    with pytest.raises(Refused, match=message) as caught:
        client.submit("case 1", content, client.label("case 1")[1])
    assert caught.value.status == 422 and client.label("case 1")[0] == make_label(3)


def test_a_point_on_another_image_is_refused_by_name(server, client, make_label):
    far = Point("anterior_tip", (500, 0, 0), PRESENT)
    with pytest.raises(Refused, match="'anterior_tip' lies .* voxels outside the image case 1.nii.gz"):
        client.submit("case 1", make_label(anterior_tip=far), client.label("case 1")[1])


def test_a_replaced_label_is_in_the_history(server, client, make_label):
    """Hazard 7."""
    for moved in (4, 5, 6):
        client.submit("case 1", make_label(moved), client.label("case 1")[1])
    answer = requests.get(f"{server.url}/datastore/label/history?label=case%201", timeout=60).json()
    assert [entry["content"].encode() for entry in answer][-3:] == [make_label(n) for n in (4, 5, 6)]
    assert {(*entry["reviewers"], entry["blind"]) for entry in answer[-3:]} == {("tester", False)}
    said = requests.get(f"{server.url}/datastore/label/info?label=case%201&tag=final", timeout=60).json()
    assert said["reviewer"] == "tester" and said["earlier"] == len(answer) - 1


def test_a_label_of_gigabytes_is_refused(server):
    answer = put_label(server.url, "case 1", b" " * 12 * 2**20)
    assert answer.status_code == 413 and "more than any list of landmarks" in answer.json()["detail"]


def test_a_stale_label_is_refused_and_nothing_is_lost(server, client, make_label):
    base = client.label("case 1")[1]
    client.submit("case 1", make_label(10), base)
    with pytest.raises(Refused, match="somebody saved another label") as caught:
        client.submit("case 1", make_label(11), base)
    assert caught.value.status == 409 and client.label("case 1")[0] == make_label(10)
    assert client.submit("case 1", make_label(10), base) == checksum_of(
        make_label(10)
    )  # a repeated one is not stale


@pytest.mark.parametrize(
    "params", ['{"x": NaN}', '{"x": Infinity}', "{", "[]", '{"reviewer": 3}', '{"reviewer": "a\\nb"}']
)
def test_odd_parameters_are_refused_and_the_listing_works(server, make_label, params):
    """Hazard 8: NaN in the parameters makes the listing fail for ever."""
    answer = requests.put(
        f"{server.url}/datastore/label?image=case%201",
        data={"params": params},
        files={"label": ("x.mrk.json", make_label(12))},
        timeout=60,
    )
    assert answer.status_code == 422
    for output in ("all", "train", "stats"):
        assert requests.get(f"{server.url}/datastore/?output={output}", timeout=60).status_code == 200


def test_deleting_moves_to_the_trash(server, client, make_label):
    """Hazard 10: whoever asks deletes for good."""
    content = make_label(13)
    client.submit("case 2", content, client.label("case 2")[1])
    answer = requests.delete(f"{server.url}/datastore/label?id=case%202&tag=final", timeout=60)
    assert answer.json()["moved_to"] == "review/trash" and client.label("case 2") == (None, "")
    assert checksum_of(content) in kept_labels(server.studies / "review" / "trash")


def test_no_inference_touches_a_reviewed_label(server, client, make_label):
    """Hazard 10."""
    client.submit("case 1", make_label(14), client.label("case 1")[1])
    params = json.dumps({"save_label": True, "label_tag": "final"})
    answer = requests.post(
        f"{server.url}/infer/landmarks?image=case%201", data={"params": params}, timeout=60
    )
    assert answer.status_code == 200 and client.label("case 1")[0] == make_label(14)
    body = {"label_tag": "final", "images": ["/etc/passwd"], "save_label": True}
    assert requests.post(f"{server.url}/batch/infer/landmarks", json=body, timeout=60).status_code == 200
    wait_for_batch(server.url)
    assert client.label("case 1")[0] == make_label(14)
    assert (server.studies / "labels" / "original" / "case 1.mrk.json").is_file()
