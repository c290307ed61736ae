# SPDX-License-Identifier: Apache-2.0
"""How sure a model is: the least certain landmark, and how far its networks differ."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from auto3dlandmark.inference.confidence import confidence_of, disagreement_of
from auto3dlandmark.inference.predictor import LandmarkPredictor
from auto3dlandmark.landmarks import LandmarkSet
from auto3dlandmark.networks.mean import mean_state_dict
from auto3dlandmark.networks.weights import load_weights
from auto3dlandmark.review.store import ORIGINAL, ReviewStore
from auto3dlandmark.review.versions import ServedModel
from auto3dlandmark.review.waiting import predict_waiting


def test_the_confidence_is_that_of_the_least_certain_landmark():
    points = LandmarkSet(("a", "b", "c"), np.zeros((3, 3)), scores=np.array([0.9, np.nan, 0.4]))
    assert confidence_of(points) == pytest.approx(0.4)


def test_the_disagreement_is_in_millimetres():
    points = np.array([[[0, 0, 0], [0, 0, 0]], [[6, 0, 0], [0, 8, 0]]], dtype=float)
    assert disagreement_of(points) == pytest.approx(np.sqrt((9 + 16) / 2))
    assert disagreement_of(points[:1]) is None


def test_each_network_of_an_ensemble_has_an_opinion(demo_dataset, trained_bundle, tmp_path):
    image = demo_dataset / "images" / "demo_00.nii.gz"
    alone = LandmarkPredictor([trained_bundle])
    assert alone.points_of_each(image).shape == (1, len(alone.names), 3)
    found = alone.predict(image)
    np.testing.assert_allclose(
        alone.points_of_each(image)[0][found.present], found.points[found.present], atol=1e-3
    )
    both = LandmarkPredictor([trained_bundle, trained_bundle])
    points = both.points_of_each(image)
    assert points.shape == (2, len(alone.names), 3) and disagreement_of(points) == pytest.approx(0, abs=1e-6)


def test_a_published_bundle_has_the_opinions_of_its_folds(demo_dataset, trained_bundle, tmp_path):
    from auto3dlandmark.files import read_json, write_json
    from auto3dlandmark.networks.weights import save_atomically

    bundle = shutil.copytree(trained_bundle, tmp_path / "published")
    weights = load_weights(bundle / "models" / "model.pt")
    save_atomically(mean_state_dict([weights, weights, weights]), bundle / "models" / "model.pt")
    config = read_json(bundle / "configs" / "inference.json")
    mean = {
        "_target_": "auto3dlandmark.networks.mean.MeanNetwork",
        "network": config["network_def"],
        "count": 3,
    }
    write_json(bundle / "configs" / "inference.json", {**config, "network_def": mean})
    points = LandmarkPredictor([bundle]).points_of_each(demo_dataset / "images" / "demo_00.nii.gz")
    assert len(points) == 3


def test_waiting_cases_are_scored_once_for_each_version(demo_dataset, trained_bundle, tmp_path):
    studies = shutil.copytree(demo_dataset / "images", tmp_path / "studies")
    (studies / "broken.nii.gz").write_bytes(b"no image")
    model = ServedModel(studies / "review" / "models" / "landmarks", [trained_bundle])
    store, said = ReviewStore(studies, model.names), []
    store.save("demo_00", (demo_dataset / "landmarks" / "demo_00.mrk.json").read_bytes())
    scores = predict_waiting(model, store, said.append)
    assert sorted(scores) == [f"demo_0{number}" for number in range(1, 6)]  # one is reviewed, one is broken
    assert any("broken: left out" in line for line in said)
    assert all(0 <= score["confidence"] <= 1 and score["disagreement"] is None for score in scores.values())
    assert store.labelled(ORIGINAL) == sorted(scores)
    assert store.notes()["demo_01"]["version"] == 0
    again = predict_waiting(model, store, said.append)
    assert again == {}
