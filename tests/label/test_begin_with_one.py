# SPDX-License-Identifier: Apache-2.0
"""A server without a bundle: one annotated case, registration, and trainings that begin by themselves."""

from __future__ import annotations

import time

import numpy as np
import pytest
import requests
from LandmarkReviewLib.client import Client
from LandmarkReviewLib.points import PRESENT, read_points

from auto3dlandmark import LandmarkSet, read_landmarks, write_landmarks
from auto3dlandmark.data.images import read_geometry
from auto3dlandmark.files import read_json
from auto3dlandmark.geometry import voxel_to_world
from auto3dlandmark.review.retraining import FIRST_CASES

from .conftest import Server, fill_studies

ENDED = ("promoted", "refused", "failed")
NAMES = ("head", "tail", "side")


@pytest.fixture
def from_one(tmp_path):
    """Six volumes, of which one has landmarks."""
    studies = fill_studies(tmp_path / "studies", FIRST_CASES)
    shape, affine = read_geometry(studies / "case 1.nii.gz")
    share = np.array([[0.5, 0.3, 0.5], [0.5, 0.7, 0.5], [0.3, 0.5, 0.4]])
    points = voxel_to_world(share * (np.array(shape) - 1), affine)
    write_landmarks(studies / "labels" / "final" / "case 1.mrk.json", LandmarkSet(NAMES, points))
    running = Server(studies, options=("--templates", "--minutes", "0.05"))
    yield running
    running.stop()


@pytest.mark.slow
def test_a_review_begins_with_one_annotated_case(from_one):
    client = Client(from_one.url)
    info = client.info()
    assert tuple(info["labels"]) == NAMES and info["models"]["landmarks"]["version"] == 0
    assert info["datastore"]["completed"] == 1
    cases = [path.name.removesuffix(".nii.gz") for path in sorted(from_one.studies.glob("*.nii.gz"))]
    answer = requests.post(f"{from_one.url}/infer/landmarks?image=case%202&output=json", timeout=120).json()
    assert answer["confidence"] is None and answer["version"] == 0
    content = client.infer("case 2")
    points = read_points(content)
    assert [point.name for point in points] == list(NAMES)
    assert sum(point.status == PRESENT for point in points) >= 2
    assert (from_one.studies / "labels" / "original" / "case 2.mrk.json").read_bytes() == content
    for case in [case for case in cases if case != "case 1"]:
        assert not client.training().get("state")
        assert client.submit(case, content, "")
    begun = time.time()
    while client.training().get("state") not in ENDED:  # it began by itself
        assert time.time() - begun < 300, from_one.said()
        time.sleep(0.5)
    status = client.training()
    assert status["state"] in ("promoted", "refused"), from_one.said()
    assert len(status["training"]) + len(status["held_out"]) == FIRST_CASES
    version = client.info()["models"]["landmarks"]["version"]
    assert version == (status["state"] == "promoted")
    assert read_landmarks(from_one.studies / "labels" / "final" / "case 1.mrk.json").names == NAMES
    folds = read_json(from_one.studies / "review" / "models" / "landmarks" / "folds.json")
    assert set(folds) == set(cases)
