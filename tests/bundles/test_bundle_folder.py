# SPDX-License-Identifier: Apache-2.0
"""One owner of a bundle on disk: its files, its landmarks, its weights, and what of it belongs to this
machine."""

from __future__ import annotations

import shutil

import pytest

from auto3dlandmark import LandmarkError
from auto3dlandmark.bundles.folder import (
    BundleFolder,
    common_landmarks,
    weights_digest,
    without_machine_keys,
)
from auto3dlandmark.files import write_json
from auto3dlandmark.transforms import SaveLandmarksd


@pytest.mark.parametrize("place", [".", "configs", "configs/inference.json"])
def test_a_bundle_is_found_around_its_configs(tiny_bundle, place):
    assert BundleFolder.around(tiny_bundle / place).path == tiny_bundle


def test_a_folder_that_is_no_bundle_is_named_with_what_it_lacks(tmp_path):
    with pytest.raises(LandmarkError, match="is not a bundle, it has no configs/train.json"):
        BundleFolder(tmp_path).read_config("train")
    write_json(tmp_path / "configs" / "inference.json", {"channels": 1})
    with pytest.raises(LandmarkError, match="does not name its landmarks"):
        BundleFolder(tmp_path).landmark_names()
    write_json(tmp_path / "configs" / "inference.json", [])
    with pytest.raises(LandmarkError, match="must be a JSON object"):
        BundleFolder(tmp_path).landmark_names()


def test_settings_are_found_under_their_name_of_version_01(tmp_path):
    models = BundleFolder(tmp_path).models
    assert models.settings.name == "settings.json"
    write_json(tmp_path / "models" / "train.json", {})
    assert models.settings.name == "train.json"


def test_a_published_bundle_is_trained_on_from_its_one_fold(tmp_path):
    models = BundleFolder(tmp_path).models
    assert models.trainable == models.weights
    models.path.mkdir()
    models.one_fold.touch()
    assert models.trainable == models.one_fold


def test_weights_have_one_name_wherever_they_lie(trained_bundle, tmp_path):
    moved = shutil.copytree(trained_bundle, tmp_path / "moved")
    here, there = (weights_digest([BundleFolder(path)]) for path in (trained_bundle, moved))
    assert here == there
    (moved / "models" / "model.pt").write_bytes(b"other")
    assert weights_digest([BundleFolder(moved)]) != here
    with pytest.raises(LandmarkError, match="has no weights"):
        weights_digest([BundleFolder(tmp_path)])


def test_bundles_of_other_landmarks_or_another_order_have_none_in_common(tiny_bundle, tmp_path):
    other = BundleFolder(shutil.copytree(tiny_bundle, tmp_path / "other"))
    config = other.read_config("inference")
    assert common_landmarks([BundleFolder(tiny_bundle), other]) == tuple(config["landmark_names"])
    other.write_config("inference", {**config, "landmark_names": config["landmark_names"][::-1]})
    with pytest.raises(LandmarkError, match=r"other: finds other landmarks than .*the order"):
        common_landmarks([BundleFolder(tiny_bundle), other])


def test_places_of_this_machine_become_the_templates():
    config = {"bundle_root": "/home/me", "dataset_dir": "/data", "spacing": [1, 1, 1]}
    assert without_machine_keys(config, {"bundle_root": ".", "spacing": [9, 9, 9]}) == {
        "bundle_root": ".",
        "dataset_dir": "/data",
        "spacing": [1, 1, 1],
    }


def test_what_is_absent_is_decided_by_the_config_whichever_way_a_bundle_is_run(
    trained_bundle, demo_dataset, tmp_path
):
    """``min_score`` of the step that saves: stock MONAI runs that step, ours asks it."""
    from auto3dlandmark import load

    bundle = BundleFolder(shutil.copytree(trained_bundle, tmp_path / "bundle"))
    config = bundle.read_config("inference")
    image = demo_dataset / "images" / "demo_00.nii.gz"
    for min_score, present in ((0.0, True), (1.1, False)):
        config["postprocessing"]["transforms"][2]["min_score"] = min_score
        bundle.write_config("inference", config)
        predictor = load(bundle.path, device="cpu")
        assert isinstance(predictor.members[0].presence, SaveLandmarksd)
        landmarks = predictor.predict(image)
        assert landmarks.present[landmarks.names.index("bead_right")] == present
