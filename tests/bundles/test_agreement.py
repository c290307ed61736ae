# SPDX-License-Identifier: Apache-2.0
"""Loss, target, activation and decode radius of a bundle fit together, wherever it is filled, trained or
loaded."""

from __future__ import annotations

import shutil

import pytest

from auto3dlandmark import LandmarkError, load
from auto3dlandmark.bundles.agreement import refuse_disagreement
from auto3dlandmark.bundles.folder import BundleFolder
from auto3dlandmark.training.run import train_bundle

CONE = {"_target_": "auto3dlandmark.transforms.ConeTarget", "radius": 15.03}
NARROW = {"_target_": "auto3dlandmark.transforms.GaussianTarget", "sigma": 1.5}
BCE = {"_target_": "auto3dlandmark.losses.TopKBCELoss"}
ENTROPY = {"_target_": "auto3dlandmark.losses.SpatialCrossEntropyLoss"}


@pytest.mark.parametrize(
    "config",
    [
        {"loss": BCE, "activation": "sigmoid", "target": CONE, "decode_radius": 15},
        {"loss": ENTROPY, "activation": "softmax", "target": NARROW, "decode_radius": 6},  # four sigma
        {"loss": {"_target_": "mine.Loss"}, "activation": "softmax", "target": {"_target_": "mine.Target"}},
        {"loss": BCE, "activation": "$'sig' + 'moid'", "decode_radius": "$2 * 3", "target": NARROW},
        {"activation": "sigmoid"},
        {},
    ],
)
def test_what_fits_together_or_is_not_ours_to_judge_passes(config):
    refuse_disagreement(config, "train.json")


@pytest.mark.parametrize(
    "config, message",
    [
        ({"loss": BCE, "activation": "softmax"}, "TopKBCELoss trains heatmaps of activation 'sigmoid'"),
        ({"loss": ENTROPY, "activation": "sigmoid"}, "SpatialCrossEntropyLoss .* 'softmax'"),
        ({"activation": "relu"}, "activation='relu' is unknown"),
        ({"target": NARROW, "decode_radius": 7}, "decode_radius=7 voxels reaches beyond .* after 6"),
        ({"target": CONE, "decode_radius": 16}, "ends after 15.03"),
        ({"decode_radius": 1.5}, "decode_radius=1.5 must be a whole number"),
        ({"decode_radius": -1}, "must be a whole number of voxels, 0 or more"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_both_values(config, message):
    with pytest.raises(LandmarkError, match=rf"train\.json: .*{message}"):
        refuse_disagreement(config, "train.json")


def test_a_bundle_is_not_filled_with_values_that_disagree(build_bundle, tiny_plan, demo_dataset, tmp_path):
    with pytest.raises(LandmarkError, match="the loss SpatialCrossEntropyLoss trains heatmaps"):
        build_bundle(tmp_path, tiny_plan, demo_dataset, 0, "quick", activation="sigmoid")


def test_a_bundle_is_neither_loaded_nor_trained_with_values_that_disagree(trained_bundle, tmp_path):
    bundle = BundleFolder(shutil.copytree(trained_bundle, tmp_path / "bundle"))
    bundle.write_config("inference", {**bundle.read_config("inference"), "decode_radius": 9})
    with pytest.raises(LandmarkError, match=r"inference\.json: decode_radius=9 voxels reaches beyond"):
        load(bundle.path)
    bundle.write_config("train", {**bundle.read_config("train"), "activation": "sigmoid"})
    with pytest.raises(LandmarkError, match=r"train\.json: the loss SpatialCrossEntropyLoss"):
        train_bundle(bundle.path)
