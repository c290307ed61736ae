# SPDX-License-Identifier: Apache-2.0
"""Starting a training: names of parameters, what happens to earlier models, and one training at a time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auto3dlandmark import LandmarkError
from auto3dlandmark.bundles.folder import BundleFolder
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.training.run import (
    config_overrides,
    prepare_models,
    train_bundle,
    train_here,
    training_lock,
    training_settings,
)

CONFIG = {
    "bundle_root": "/here",
    "epochs": 10,
    "epoch_length": 50,
    "batch_size": 2,
    "val_interval": 5,
    "warmup_steps": 10,
    "optimizer": {"lr": 0.1},
    "minutes": 3,
}


@pytest.fixture
def bundle(tmp_path):
    """A folder with no more than a train.json."""
    write_json(tmp_path / "bundle" / "configs" / "train.json", CONFIG)
    return tmp_path / "bundle"


def test_auto3dsegs_names_are_understood():
    given = {
        "num_epochs": 2,
        "num_epochs_per_validation": 1,
        "num_images_per_batch": 4,
        "num_warmup_epochs": 1,
        "learning_rate": 0.01,
    }
    assert config_overrides(given, CONFIG) == {
        "epochs": 2,
        "val_interval": 1,
        "batch_size": 4,
        "warmup_steps": 50,
        "optimizer#lr": 0.01,
        "minutes": None,  # epochs count, then
    }


def test_ids_of_the_config_pass_and_others_are_refused():
    assert config_overrides({"optimizer#lr": 1, "minutes": 2}, CONFIG) == {"optimizer#lr": 1, "minutes": 2}
    with pytest.raises(LandmarkError, match="training parameter 'num_epoch' is unknown. train.json has"):
        config_overrides({"num_epoch": 2}, CONFIG)


def test_a_first_training_notes_its_settings(bundle):
    assert prepare_models(BundleFolder(bundle), {"epochs": 2}) is None
    kept = read_json(bundle / "models" / "settings.json")
    assert kept["epochs"] == 2
    assert "bundle_root" not in kept and "minutes" not in kept


@pytest.mark.parametrize("change", [{}, {"bundle_root": "/there"}, {"minutes": 20}])
def test_an_interrupted_training_goes_on_elsewhere_and_with_more_time(bundle, change):
    prepare_models(BundleFolder(bundle), {})
    (bundle / "models" / "checkpoint.pt").write_text("half way")
    write_json(bundle / "configs" / "train.json", {**CONFIG, **change})
    assert prepare_models(BundleFolder(bundle), {}) is None
    assert (bundle / "models" / "checkpoint.pt").read_text() == "half way"


def test_other_settings_set_the_earlier_models_aside(bundle):
    prepare_models(BundleFolder(bundle), {})
    (bundle / "models" / "checkpoint.pt").write_text("half way")
    old = prepare_models(BundleFolder(bundle), {"batch_size": 8})
    assert old == bundle / "models_old_1"
    assert (old / "checkpoint.pt").read_text() == "half way"
    assert [path.name for path in (bundle / "models").iterdir()] == ["settings.json"]


def test_a_finished_training_is_never_written_over(bundle):
    prepare_models(BundleFolder(bundle), {})
    write_json(bundle / "models" / "training.json", {"mre_mm": 1})
    assert prepare_models(BundleFolder(bundle), {}) == bundle / "models_old_1"


def test_settings_that_version_01_kept_still_count(bundle):
    prepare_models(BundleFolder(bundle), {})
    (bundle / "models" / "settings.json").rename(bundle / "models" / "train.json")
    (bundle / "models" / "checkpoint.pt").write_text("half way")
    assert prepare_models(BundleFolder(bundle), {}) is None
    assert (bundle / "models" / "checkpoint.pt").read_text() == "half way"


def test_only_one_process_trains_a_bundle(bundle):
    refused = pytest.raises(LandmarkError, match="another process is training this bundle")
    with training_lock(bundle), refused, training_lock(bundle):
        pass
    with training_lock(bundle):
        pass


def test_a_folder_that_is_no_bundle_is_named(tmp_path):
    with pytest.raises(LandmarkError, match="it has no configs/train.json"):
        train_here(tmp_path)


def test_flips_that_never_happen_make_no_other_training():
    """Bundles of before there were flips keep their models."""
    before = {"lr": 1, "random_patch": {"shift": 4.0}}
    now = {**before, "flip_pairs": [], "posterior": "off", "random_patch": {"shift": 4.0, "flip_prob": 0.5}}
    assert training_settings(now) == training_settings(before)
    assert training_settings({**now, "flip_pairs": [[0, 1]]}) != training_settings(before)


@pytest.mark.parametrize("on_device", [True, False])
def test_images_on_disk_are_prepared_once_and_learnt_from(tiny_bundle, tmp_path, on_device):
    bundle, store = shutil.copytree(tiny_bundle, tmp_path / "heatmap_0"), tmp_path / "store"
    train_bundle(bundle, {"store": str(store), "augment_on_device": on_device})
    outcome = read_json(BundleFolder(bundle).models.outcome)
    listed = read_json(BundleFolder(bundle).read_config("train")["datalist"])
    cases = [Path(case["image"]).name.split(".")[0] for case in listed["training"]]
    assert outcome["steps"] == 8 and outcome["history"]
    assert sorted(path.name.split(".")[0] for path in store.glob("*.b2nd")) == sorted(cases)
    assert "store" not in read_json(BundleFolder(bundle).models.settings)  # it may lie elsewhere next time


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
def test_a_network_is_compiled_when_asked_for(tiny_bundle, tmp_path):
    bundle = shutil.copytree(tiny_bundle, tmp_path / "heatmap_0")
    train_bundle(bundle, {"compile": True})
    assert read_json(BundleFolder(bundle).models.outcome)["steps"] == 8
