# SPDX-License-Identifier: Apache-2.0
"""Anyone's network gets a patch that it takes, trains and predicts, without a change of ours."""

from __future__ import annotations

import pytest

from auto3dlandmark import LandmarkError, read_landmarks
from auto3dlandmark.files import write_json
from auto3dlandmark.inference.predictor import LandmarkPredictor
from auto3dlandmark.planning.patch_fit import fit_patch
from auto3dlandmark.workflow.work_folder import WorkFolder

NAMES = ["a", "b", "c"]
LANDMARKS = "$len(@landmark_names)"
IN_OUT = {"in_channels": 1, "out_channels": LANDMARKS}
SEGRESNET = {"_target_": "SegResNet", "spatial_dims": 3, "init_filters": 8, **IN_OUT}
SWINUNETR = {"_target_": "SwinUNETR", "feature_size": 12, **IN_OUT}
DYNUNET = {"_target_": "DynUNet", "spatial_dims": 3, "filters": [4, 8, 16], **IN_OUT}
DYNUNET |= {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
UNETR = {
    "_target_": "UNETR",
    "img_size": "@patch_size",
    "feature_size": 4,
    "hidden_size": 12,
    "num_heads": 3,
    **IN_OUT,
}
UNETR["mlp_dim"] = 8


@pytest.mark.parametrize(
    "network, patch, divisor",
    [
        (SEGRESNET, (40, 56, 40), (8, 8, 8)),
        (SWINUNETR, (32, 64, 32), (32, 32, 32)),
        (DYNUNET, (40, 56, 40), (4, 4, 4)),
        (UNETR, (32, 64, 32), None),
        ({"_target_": "torch.nn.Conv3d", "kernel_size": 3, "padding": 1, **IN_OUT}, (40, 56, 40), (1, 1, 1)),
    ],
    ids=lambda value: value["_target_"] if isinstance(value, dict) else None,
)
def test_the_patch_is_the_nearest_one_that_the_network_takes(network, patch, divisor):
    assert fit_patch(network, NAMES, (40, 56, 40)) == (patch, divisor)


def test_a_patch_too_small_to_be_normalised_in_training_grows():
    assert fit_patch(SWINUNETR, NAMES, (32, 32, 32)) == ((64, 64, 64), (64, 64, 64))


@pytest.mark.parametrize(
    "network, message",
    [
        ([], "must be a JSON object"),
        ({"in_channels": 1}, "must be a JSON object"),
        ({"_target_": "no.such.Network"}, "Cannot locate class"),
        ({**SEGRESNET, "out_channels": 2}, r"it gives \(1, 2, .*is wanted"),
        ({**SEGRESNET, "in_channels": 2}, "SegResNet' cannot be used for 3 landmarks"),
    ],
)
def test_a_network_that_gives_no_heatmaps_is_refused(network, message):
    with pytest.raises(LandmarkError, match=message):
        fit_patch(network, NAMES, (32, 32, 32))


@pytest.mark.slow
@pytest.mark.parametrize("network", [SEGRESNET, SWINUNETR, DYNUNET], ids=lambda network: network["_target_"])
def test_a_network_of_monais_is_trained_and_predicts(network, demo_dataset, tiny_recipe, tmp_path):
    write_json(tmp_path / "network.json", network)
    write_json(tmp_path / "short.json", {"epochs": 1, "epoch_length": 1, "patch_size": [32, 32, 64]})
    said = []
    work = WorkFolder(tmp_path / "work", say=said.append)
    work.check(demo_dataset)
    work.analyze()
    work.make_plan("small", network_def=tmp_path / "network.json")
    assert any(f"The network is {network['_target_']}" in line for line in said)
    work.build(0, f"{tiny_recipe}+{tmp_path / 'short.json'}")
    work.train(0)
    image = demo_dataset / "images" / "demo_01.nii.gz"
    names = read_landmarks(demo_dataset / "landmarks" / "demo_01.mrk.json").names
    assert LandmarkPredictor([work.bundle(0).path], "cpu").predict(image).names == names
    assert work.bundle(0).read_config("inference")["network_def"] == network


def test_a_bad_network_file_is_named(demo_dataset, tmp_path):
    write_json(tmp_path / "network.json", {"_target_": "no.such.Network"})
    work = WorkFolder(tmp_path / "work", say=lambda line: None)
    work.check(demo_dataset)
    work.analyze()
    with pytest.raises(LandmarkError, match=r"network\.json: the network 'no.such.Network' cannot be used"):
        work.make_plan("small", network_def=tmp_path / "network.json")
