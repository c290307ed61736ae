# SPDX-License-Identifier: Apache-2.0
"""The whole review over HTTP, with a real server and real volumes."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
from LandmarkReviewLib.client import Client, Refused
from LandmarkReviewLib.points import ABSENT, PRESENT, Point, read_points, write_points
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

from auto3dlandmark import read_landmarks
from auto3dlandmark.inference.predictor import LandmarkPredictor
from auto3dlandmark.review.retraining import Agreement
from auto3dlandmark.review.versions import ServedModel

from .conftest import BUNDLE, Server, fill_studies

CASE = "C3HeB.FeJ_"


def wait_for(condition, seconds=240):
    begun = time.time()
    while not (found := condition()):
        assert time.time() - begun < seconds, "it takes too long"
        time.sleep(0.3)
    return found


@pytest.mark.slow
def test_the_whole_loop(own_server, client, tmp_path):
    """Info, next case, image, inference, edit, submit, read back, restart, training, and inference again."""
    info = client.info()
    assert info["models"]["landmarks"]["type"] == "detection"
    assert info["models"]["landmark_spheres"]["type"] == "segmentation"
    assert set(info["strategies"]) == {
        "expected_gain",
        "lowest_confidence",
        "disagreement",
        "random",
        "first",
    }
    assert info["datastore"]["total"] == 3 and info["datastore"]["completed"] == 0

    found = client.next_case("first")
    assert (found["id"], found["name"]) == (CASE, f"{CASE}.nii.gz")
    image, mark = client.download_image(CASE, found["name"], str(tmp_path))
    source = own_server.studies / f"{CASE}.nii.gz"
    assert Path(image).read_bytes() == source.read_bytes()

    predicted = client.infer(CASE)
    points = read_points(predicted)
    assert [point.name for point in points] == info["labels"]
    assert all(0 < point.score <= 1 for point in points)

    points[0] = Point(points[0].name, np.array(points[0].position) + [1, 0, 0], PRESENT)
    points[1] = Point(points[1].name, None, ABSENT)
    content = write_points(points)
    checksum = client.submit(CASE, content, "", mark)
    assert client.label(CASE) == (content, checksum)
    assert (own_server.studies / "labels" / "final" / f"{CASE}.mrk.json").read_bytes() == content
    assert client.next_case("first")["id"] != CASE

    own_server.stop()
    own_server.start()
    assert client.label(CASE) == (content, checksum)
    assert client.info()["datastore"]["completed"] == 1

    for case in ("case 1", "case 2"):
        client.submit(case, client.infer(case), "")
    assert client.next_case("random") == {}
    weights = (BUNDLE / "models" / "model.pt").read_bytes()
    client.train(minutes=0.05)
    status = wait_for(
        lambda: (s := client.training()).get("state") in ("promoted", "refused", "failed") and s
    )
    old, new = Agreement(**status["old"]), Agreement(**status["new"])
    assert status["state"] == ("promoted" if new.at_least_as_good_as(old) else "refused")
    assert "held-out cases: error" in status["reason"] and len(status["held_out"]) == 1
    model = ServedModel(own_server.studies / "review" / "models" / "landmarks", [BUNDLE])
    assert client.info()["models"]["landmarks"]["version"] == model.current().version
    assert (model.current().version == 0) == (status["state"] == "refused")
    served = LandmarkPredictor(model.current().bundles).predict(source)
    again = [point.position for point in read_points(client.infer(CASE))]
    np.testing.assert_allclose(np.array(again), served.points, rtol=0, atol=1e-4)
    assert (BUNDLE / "models" / "model.pt").read_bytes() == weights
    assert client.label(CASE) == (content, checksum)


def test_the_points_are_those_of_predict(server, client):
    image = server.studies / "case 1.nii.gz"
    expected = LandmarkPredictor([BUNDLE]).predict(image)
    path = server.studies.parent / "answer.mrk.json"
    path.write_bytes(client.infer("case 1"))
    found = read_landmarks(path)
    assert found.names == expected.names
    np.testing.assert_allclose(found.points, expected.points, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found.status, expected.status)
    answer = requests.post(f"{server.url}/infer/landmarks?image=case%201&output=json", timeout=60).json()
    positions = [entry["position_ras_mm"] for entry in answer["landmarks"]]
    np.testing.assert_allclose(positions, expected.points, rtol=0, atol=1e-4)
    assert answer["confidence"] == pytest.approx(min(expected.scores), abs=1e-5)


def test_browsers_unpack_an_image_as_it_comes(own_server):
    packed = own_server.studies / "case 1.nii.gz"
    plain = own_server.studies / "plain.nii"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    for case in ("case 1", "plain"):
        url = f"{own_server.url}/datastore/image?image={case}&nifti=true"
        answer = requests.get(url, timeout=60)
        assert answer.headers["content-encoding"] == "gzip" and answer.content == plain.read_bytes()
        file = own_server.studies / ("case 1.nii.gz" if case == "case 1" else "plain.nii")
        as_it_is = {"Accept-Encoding": "identity"}
        assert requests.get(url, headers=as_it_is, timeout=60).content == file.read_bytes()
    answer = requests.get(f"{url}&compress=false", timeout=60)
    assert "content-encoding" not in answer.headers and answer.content == plain.read_bytes()


def test_an_uploaded_image_is_predicted_like_one_of_the_server(server, client):
    with open(server.studies / "case 2.nii.gz", "rb") as stream:
        files = {"file": ("a.b c.nii.gz", stream)}
        answer = requests.post(f"{server.url}/infer/landmarks?output=image", files=files, timeout=60)
    assert answer.content == client.infer("case 2")


def test_the_stock_command_starts_the_same_server(tmp_path):
    """``python -m monailabel.main start_server --app ...``, whose own routes would read any file."""
    studies = fill_studies(tmp_path / "studies")
    running = Server(studies, stock=["--conf", "bundles", str(BUNDLE), "--conf", "score", "false"])
    try:
        client = Client(running.url)
        assert client.info()["labels"] and len(read_points(client.infer("case 1"))) == 6
        content = client.infer("case 1")
        assert client.label("case 1") == (None, "") and client.submit("case 1", content, "")
        for path in ("/logs/", "/model/landmarks", "/proxy/dicom/x"):
            assert requests.get(running.url + path, timeout=60).status_code == 404
        outside = requests.post(f"{running.url}/infer/landmarks", params={"image": "/etc/passwd"}, timeout=60)
        assert outside.status_code == 404
        origin = {"Origin": "http://evil.example"}
        assert requests.get(f"{running.url}/info/", headers=origin, timeout=60).status_code == 403
    finally:
        running.stop()


def test_the_stock_client_reviews_a_case(own_server, tmp_path):
    """The client of Slicer's own MONAI Label module: what it opens, and what it hands in."""
    stock = MONAILabelClient(own_server.url, str(tmp_path))
    assert stock.info()["models"]["landmarks"]["type"] == "detection"  # one of the two types it offers
    sample = stock.next_sample("first", {})
    assert sample["id"] == CASE and sample["name"] == f"{CASE}.nii.gz"
    file, params = stock.infer("landmarks", CASE, {})
    assert file.endswith(".json")  # then it calls slicer.util.loadMarkups
    found = read_points(Path(file).read_bytes())
    assert [point.name for point in found] == list(params["label_names"])
    stock.save_label(CASE, file, params={"label_info": []})
    assert CASE in stock.datastore()["objects"] and stock.info()["datastore"]["completed"] == 1
    assert Client(own_server.url).label(CASE)[0] == Path(file).read_bytes()
    boxes = tmp_path / "boxes.json"
    boxes.write_text(
        '{"@schema": "x/markups-schema-v1.0.3.json#", "markups": []}'
    )  # what it makes of edited points
    with pytest.raises(MONAILabelClientException) as caught:
        stock.save_label(CASE, str(boxes), params={"label_info": []})
    assert "holds no 'markups' list" in caught.value.msg
    segments, params = stock.infer("landmark_spheres", CASE, {})
    assert segments.endswith(".nii.gz")
    info = [{"name": name, "idx": number} for name, number in params["label_names"].items()]
    stock.save_label(CASE, segments, params={"label_info": info})
    again = read_points(Client(own_server.url).label(CASE)[0])
    np.testing.assert_allclose([p.position for p in again], [p.position for p in found], atol=1e-9)


def test_spheres_go_out_and_come_back(server, client):
    """What the stock plugin can do: segments for landmarks, sent back as a label map."""
    url, case = server.url, "case 2"
    answer = requests.post(f"{url}/infer/landmark_spheres?image={case}&output=image", timeout=60)
    path = server.studies.parent / "spheres.nii.gz"
    path.write_bytes(answer.content)
    labels, expected = nib.load(path), read_points(client.infer(case))
    present = [number for number, point in enumerate(expected, start=1) if point.position is not None]
    assert present and set(np.unique(labels.dataobj)) == {0, *present}
    names, deleted = [point.name for point in expected], present[0]
    array = np.array(labels.dataobj)
    array[array == deleted] = 0  # a segment she deleted
    nib.save(nib.Nifti1Image(array, labels.affine), path)
    info = [{"name": name, "idx": number} for number, name in enumerate(names, start=1) if number != deleted]
    with open(path, "rb") as stream:
        answer = requests.put(
            f"{url}/datastore/label?image={case}&tag=final",
            data={"params": json.dumps({"label_info": info})},
            files={"label": ("x.nii.gz", stream)},
            timeout=60,
        )
    assert answer.status_code == 200, answer.text
    back = read_points(client.label(case)[0])
    assert [point.name for point in back] == names and back[deleted - 1].status == "unknown"
    for point, truth in zip(back, expected):
        if point.position is not None:
            assert np.linalg.norm(np.subtract(point.position, truth.position)) < 1e-4  # untouched: exact


def test_scores_are_noted_in_the_background_and_choose_the_next_case(own_server, client):
    client.next_case("lowest_confidence")  # begins to score
    path = own_server.studies / "review" / "notes.json"

    def scored():
        notes = json.loads(path.read_text())
        return len([n for n in notes.values() if "confidence" in n]) == 3 and notes

    notes = wait_for(scored)
    least = min(notes, key=lambda case: notes[case]["confidence"])
    most = max(notes, key=lambda case: notes[case]["disagreement"])
    client.id = "somebody else"
    given = json.loads(path.read_text())
    for note in given.values():
        note.pop("given", None)
    path.write_text(json.dumps(given))
    assert client.next_case("lowest_confidence")["id"] == least
    for note in given.values():
        note.pop("given", None)
    path.write_text(json.dumps(given))
    assert client.next_case("disagreement")["id"] == most
    assert sorted(own_server.studies.glob("labels/original/*.mrk.json"))
    assert not (own_server.studies / "labels" / "final").exists()


def test_two_reviewers_get_different_cases(own_server):
    given = [Client(own_server.url, "ann").next_case("first")["id"] for _ in range(3)]  # all of one name
    assert len(set(given)) == 3


def test_next_goes_on_and_comes_round(own_server):
    client = Client(own_server.url, "ann")
    given = [client.next_case("first")["id"] for _ in range(4)]
    assert len(set(given[:3])) == 3 and given[3] == given[0]


def test_an_unreadable_image_does_not_stand_in_the_way(own_server, client):
    (own_server.studies / "a broken.nii.gz").write_bytes(b"no image")
    assert client.next_case("first")["id"] == CASE
    with pytest.raises(Refused, match="cannot be read as an image"):
        client.infer("a broken")
    client.id = "another"
    assert "a broken" not in [client.next_case("first")["id"] for _ in range(4)]
