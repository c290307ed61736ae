# SPDX-License-Identifier: Apache-2.0
"""A trained nnLandmark model predicts the same after its import, and nothing in its files runs as code."""

from __future__ import annotations

import copy
import json
import pickle
import shutil

import nibabel
import numpy as np
import pytest
import torch
from conftest import SHARED

from auto3dlandmark import LandmarkError
from auto3dlandmark.bundles.nnlandmark_import import import_nnlandmark, turn_weights
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.geometry import world_to_voxel
from auto3dlandmark.inference.predictor import LandmarkPredictor
from auto3dlandmark.planning.presets import ARCHITECTURES

FP16_STEP = (
    2.0**-11
)  # of a likelihood between 0.5 and 1; the reference averages and decodes in this precision


@pytest.fixture(scope="module")
def golden_model():
    folder = SHARED / "golden" / "nnlandmark_model"
    if not folder.is_dir():
        pytest.skip(f"the golden model is missing: {folder}")
    return folder


@pytest.fixture(scope="module")
def imported(golden_model, tmp_path_factory):
    (bundle,) = import_nnlandmark(golden_model, tmp_path_factory.mktemp("imported"))
    return bundle


def test_the_networks_output_is_the_references(golden_model, imported):
    stored = np.load(golden_model / "one_patch.npz")
    network = LandmarkPredictor([imported], "cpu").members[0].network
    with torch.no_grad():
        logits = network(torch.tensor(stored["patch"]).float()[None].permute(0, 1, 4, 3, 2))[0].permute(
            0, 3, 2, 1
        )
    assert np.abs(logits.numpy() - stored["logits"]).max() < 1e-4


@pytest.mark.slow
def test_predictions_agree_within_a_voxel_where_the_references_precision_can_tell(golden_model, imported):
    predictor = LandmarkPredictor([imported], "cpu")
    far, compared = [], 0
    for path in sorted((golden_model / "predictions").glob("*.json")):
        image = SHARED / "data" / "hippocampus" / "images" / f"{path.stem}.nii.gz"
        found = predictor.predict(image)
        heatmaps, _ = predictor.heatmaps(image)
        for channel, name in enumerate(predictor.names):
            reference = read_json(path)[str(channel + 1)]
            ours = world_to_voxel(found.points[channel], nibabel.load(image).affine)
            compared += 1
            if np.abs(ours - reference["coordinates"]).max() > 1:
                there = heatmaps[
                    (channel, *reference["coordinates"])
                ].item()  # these images have no empty border
                far.append((path.stem, name, float(heatmaps[channel].max()) - there))
    assert compared == 120 and len(far) <= 4
    # The reference's place is as high as ours to within the few roundings of its half precision.
    assert all(gap < 2 * FP16_STEP for _, _, gap in far), far


def test_the_bundle_says_what_it_is_and_can_be_trained_on(imported, golden_model):
    inference, train = (read_json(imported / "configs" / f"{name}.json") for name in ("inference", "train"))
    labels = read_json(golden_model / "dataset.json")["labels"]
    assert inference["landmark_names"] == train["landmark_names"] == list(labels)[1:]
    assert inference["patch_size"] == [40, 56, 40] and inference["activation"] == "sigmoid"
    assert train["target"] == {"_target_": "auto3dlandmark.transforms.ConeTarget", "radius": 15.03}
    assert "imported from nnLandmark" in read_json(imported / "configs" / "metadata.json")["description"]


def test_nothing_is_overwritten(golden_model, imported):
    before = (imported / "models" / "model.pt").stat().st_mtime_ns
    with pytest.raises(LandmarkError, match="fold_0: is there already"):
        import_nnlandmark(golden_model, imported.parent)
    assert (imported / "models" / "model.pt").stat().st_mtime_ns == before


def test_weights_turned_around_see_turned_images_alike():
    parts = [
        torch.nn.Conv3d(1, 3, (1, 3, 5)),
        torch.nn.InstanceNorm3d(3, affine=True),
        torch.nn.Conv3d(3, 2, (3, 1, 1)),
    ]
    network, turned = torch.nn.Sequential(*parts), copy.deepcopy(torch.nn.Sequential(*parts))
    for part, axes in ((turned[0], (5, 1, 3)), (turned[2], (1, 3, 1))):
        part.kernel_size, part.weight = axes, torch.nn.Parameter(torch.zeros(*part.weight.shape[:2], *axes))
    turned.load_state_dict(turn_weights(network.state_dict(), [2, 0, 1]))
    image = torch.rand(1, 1, 7, 8, 9)
    assert torch.allclose(
        turned(image.permute(0, 1, 4, 2, 3)), network(image).permute(0, 1, 4, 2, 3), atol=1e-5
    )


@pytest.fixture
def model(tmp_path):
    """An untrained model for thick slices along the file's second axis, as nnLandmark would leave it."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    kernels, strides = [[1, 3, 3], [3, 3, 3]], [[1, 1, 1], [1, 2, 2]]
    shape = {"n_stages": 2, "features_per_stage": [4, 8], "kernel_sizes": kernels, "strides": strides}
    shape |= {
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "dropout_op": None,
    }
    shape |= {"norm_op_kwargs": {"eps": 1e-5, "affine": True}, "nonlin_kwargs": {"inplace": True}}
    named = {
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    }
    named["nonlin"] = "torch.nn.LeakyReLU"
    classes = {"conv_op": torch.nn.Conv3d, "norm_op": torch.nn.InstanceNorm3d, "nonlin": torch.nn.LeakyReLU}
    torch.manual_seed(0)
    network = PlainConvUNet(input_channels=1, num_classes=2, deep_supervision=False, **shape, **classes)
    fullres = {"batch_size": 2, "patch_size": [4, 16, 32], "median_image_size_in_voxels": [4, 16, 32]}
    fullres |= {
        "spacing": [4.0, 1.0, 2.0],
        "normalization_schemes": ["NoNormalization"],
        "use_mask_for_norm": [False],
    }
    fullres["architecture"] = {
        "network_class_name": f"{ARCHITECTURES}.PlainConvUNet",
        "arch_kwargs": {**shape, **named},
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    plans = {"dataset_name": "Dataset1", "transpose_forward": [1, 0, 2], "image_reader_writer": "SimpleITKIO"}
    plans["configurations"] = {
        "3d_fullres": fullres,
        "larger": {"inherits_from": "3d_fullres", "batch_size": 5},
    }
    write_json(tmp_path / "model" / "plans.json", plans)
    labels = {"background": 0, "b": 2, "a": 1}
    write_json(tmp_path / "model" / "dataset.json", {"channel_names": {"0": "US"}, "labels": labels})
    (tmp_path / "model" / "fold_0").mkdir()
    state = {f"_orig_mod.{name}": value for name, value in network.state_dict().items()}
    checkpoint = {"network_weights": state, "init_args": {"configuration": "larger"}, "best": np.float32(0.5)}
    torch.save(checkpoint, tmp_path / "model" / "fold_0" / "checkpoint_final.pth")
    return tmp_path / "model", network.eval()


def test_a_transposed_model_gives_the_same_points(model, tmp_path):
    folder, network = model
    (bundle,) = import_nnlandmark(folder, tmp_path / "out")
    plan = read_json(bundle / "configs" / "plan.json")
    # The file's axes are (x, y, z), SimpleITK's (z, y, x), the network's (y, z, x).
    assert plan["spacing"] == [2, 4, 1] and plan["patch_size"] == [32, 4, 16] and plan["batch_size"] == 5
    assert plan["network_def"]["kernel_sizes"][0] == [3, 1, 3] and plan["landmark_names"] == ["a", "b"]
    voxels = np.random.default_rng(0).uniform(1, 2, size=(32, 4, 16)).astype(np.float32)
    affine = np.diag([-2.0, 4, 1, 1])  # stored right to left, and to be left so
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "image.nii.gz")
    heatmaps, _ = LandmarkPredictor([bundle], "cpu").heatmaps(tmp_path / "image.nii.gz")
    with torch.no_grad():
        expected = network(torch.tensor(voxels).permute(1, 2, 0)[None, None])[0].sigmoid().permute(0, 3, 1, 2)
    assert np.allclose(heatmaps.affine, affine)
    assert torch.allclose(heatmaps.as_tensor(), expected, atol=1e-5)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


def test_a_checkpoint_cannot_run_code(model, tmp_path):
    folder, _ = model
    torch.save({"network_weights": Bomb()}, folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(LandmarkError, match="checkpoint_final.pth: is damaged or holds no weights"):
        import_nnlandmark(folder, tmp_path / "out")
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(LandmarkError, match="checkpoint_final.pth: is damaged or holds no weights"):
        import_nnlandmark(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


CONFIGURATION = ("configurations", "3d_fullres")


@pytest.mark.parametrize(
    "where, value, message",
    [
        (
            (*CONFIGURATION, "architecture", "network_class_name"),
            "os.system",
            "the network 'os.system' is not",
        ),
        ((*CONFIGURATION, "architecture", "arch_kwargs", "nonlin"), "os.system", "nonlin='os.system' is not"),
        (
            (*CONFIGURATION, "architecture", "arch_kwargs", "conv_bias"),
            "$1/0",
            r"conv_bias='\$1/0' is not a setting",
        ),
        (
            (*CONFIGURATION, "architecture", "arch_kwargs", "nonlin_kwargs"),
            {"_target_": "os.abort"},
            "not a setting",
        ),
        (
            (*CONFIGURATION, "architecture", "arch_kwargs", "features_per_stage"),
            [4, 16],
            "does not fit the network",
        ),
        ((*CONFIGURATION, "normalization_schemes"), ["MyNormalization"], "normalisation 'MyNormalization'"),
        ((*CONFIGURATION, "spacing"), [1.0, 1.0], "'larger' is not 3D"),
        (("image_reader_writer",), "Tiff3DIO", "images were read by 'Tiff3DIO'"),
        (("transpose_forward",), [0, 1], r"transpose_forward=\[0, 1\]"),
        (("configurations", "larger", "inherits_from"), "larger", "no configuration 'larger'"),
        (("configurations",), {}, "no configuration 'larger', only none"),
    ],
)
def test_what_cannot_be_imported_is_refused_by_name(model, tmp_path, where, value, message):
    folder, _ = model
    plans = json.loads((folder / "plans.json").read_text())
    place = plans
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    write_json(folder / "plans.json", plans)
    with pytest.raises(LandmarkError, match=message):
        import_nnlandmark(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "fold_0").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": {"background": 0, "a": 1}}, "does not fit .*has a channel for the background"),
        ({"labels": {"background": 0, "a": 1, "b": 3}}, "labels must number the landmarks"),
        ({"labels": {"background": 0, "a": 1, "$b": 2}}, "landmark name '\\$b' begins"),
        ({"channel_names": {"0": "T1", "1": "T2"}}, "2 image channels, plans.json normalises 1"),
    ],
)
def test_another_dataset_than_the_models_is_refused(model, tmp_path, change, message):
    folder, _ = model
    write_json(folder / "dataset.json", {**read_json(folder / "dataset.json"), **change})
    with pytest.raises(LandmarkError, match=message):
        import_nnlandmark(folder, tmp_path / "out")


def test_a_folder_without_a_final_checkpoint_is_refused(model, tmp_path):
    folder, _ = model
    shutil.rmtree(folder / "fold_0")
    with pytest.raises(LandmarkError, match="has no fold_.*checkpoint_final.pth"):
        import_nnlandmark(folder, tmp_path / "out")
