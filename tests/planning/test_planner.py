# SPDX-License-Identifier: Apache-2.0
"""From a fingerprint to a plan. Axes are (x, y, z)."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.planning.fingerprint import Fingerprint
from auto3dlandmark.planning.plan import read_plan, write_plan
from auto3dlandmark.planning.planner import make_plan
from auto3dlandmark.planning.presets import PRESETS
from auto3dlandmark.transforms import separate_axis

PRESET_OF = {"default": "plain", "ResEncM": "resenc_m", "ResEncL": "resenc_l"}
SCHEME_OF = {"CTNormalization": "ct", "ZScoreNormalization": "zscore", "NoNormalization": "none"}


def fingerprint(shape=(100, 120, 80), spacing=(1.0, 1.0, 1.0), cases=20, **changes):
    names = changes.pop("names", ("a", "b"))
    made = Fingerprint(
        modalities=("MRI",),
        landmark_names=names,
        cases=tuple(f"case {number}" for number in range(cases)),
        shapes=(shape,) * cases,
        shapes_after_crop=(shape,) * cases,
        spacings=(spacing,) * cases,
        median_relative_size_after_crop=1.0,
        intensity=({"mean": 4.0, "std": 1.0},) * len(changes.get("modalities", ("MRI",))),
        presence={name: {"present": cases, "absent": 0, "unknown": 0} for name in names},
        nearest_landmark_mm=dict.fromkeys(names, 5.0),
        pose_angles_deg={"median": 5.0, "p95": 10.0, "max": 12.0},
    )
    return replace(made, **changes)


def golden_fingerprint(given):
    shapes = tuple(tuple(row[::-1]) for row in given["shapes_after_crop"])
    return fingerprint(
        names=tuple(f"L{number}" for number in range(given["n_landmarks"])),
        cases=given["numTraining"],
        shapes=shapes,
        shapes_after_crop=shapes,
        spacings=tuple(tuple(row[::-1]) for row in given["spacings"]),
        modalities=tuple(given["channels"]),
        median_relative_size_after_crop=given["median_relative_size_after_cropping"],
    )


def compared(case):
    """Field by field: what we plan for a golden case, and what nnU-Net planned, in our axis order."""
    given, golden = case["input"], case["output"]
    spacing = given["overwrite_target_spacing"]
    network, memory_gb = PRESET_OF[case["planner"]], given["gpu_memory_target_gb"]
    plan = make_plan(golden_fingerprint(given), network, memory_gb, spacing and tuple(spacing[::-1]))
    to_xyz, built = golden["transpose_backward"][::-1], plan.network_def
    patch = golden["patch_size"]
    yield "spacing", np.round(plan.spacing, 9).tolist(), np.round(golden["spacing"], 9)[to_xyz].tolist()
    median = np.array(golden["median_image_size_in_voxels"])[to_xyz].tolist()
    yield "median_image_size_in_voxels", list(plan.median_shape), median
    yield "patch_size", list(plan.patch_size), np.array(patch)[to_xyz].tolist()
    yield "batch_size", plan.batch_size, golden["batch_size"]
    yield "architecture", built["_target_"], golden["architecture"]
    for key in ("strides", "kernel_sizes"):
        yield key, built[key], np.array(golden[key])[:, to_xyz].tolist()
    keys = (
        "n_stages",
        "features_per_stage",
        "n_blocks_per_stage",
        "n_conv_per_stage",
        "n_conv_per_stage_decoder",
    )
    for key in (*keys, "conv_bias"):
        yield key, built.get(key), golden[key]
    assert golden["norm_op"] == "torch.nn.modules.instancenorm.InstanceNorm3d"
    yield "norm_op", built["norm_op"], "$torch.nn.InstanceNorm3d"
    schemes = [SCHEME_OF[scheme] for scheme in golden["normalization_schemes"]]
    yield "normalization_schemes", [one["scheme"] for one in plan.normalization], schemes
    yield "use_mask_for_norm", [one["nonzero"] for one in plan.normalization], golden["use_mask_for_norm"]
    coarse = [
        separate_axis(np.array(mm)[to_xyz], plan.spacing)
        for mm in np.array(given["spacings"])[:5, golden["transpose_forward"]]
    ]
    theirs = [None if row["axis"] is None else to_xyz.index(row["axis"]) for row in golden["separate_z"]]
    yield "separate_z", coarse, theirs
    flat = patch[0] * 3 < max(patch)
    yield "thick_axis", plan.thick_axis, to_xyz.index(0) if flat else None
    lowres = golden["lowres"]
    yield "lowres", plan.lowres is not None, golden["lowres_created"]
    if lowres is not None and plan.lowres is not None:
        yield (
            "lowres spacing",
            np.round(plan.lowres["spacing"], 9).tolist(),
            np.round(lowres["spacing"], 9)[to_xyz].tolist(),
        )
        yield "lowres patch_size", plan.lowres["patch_size"], np.array(lowres["patch_size"])[to_xyz].tolist()
        yield "lowres batch_size", plan.lowres["batch_size"], lowres["batch_size"]


def test_every_plan_is_nnunets_in_our_axis_order(golden_plans):
    wrong = [
        f"{case['name']} {case['planner']}: {field} is {ours}, should be {theirs}"
        for case in golden_plans
        for field, ours, theirs in compared(case)
        if ours != theirs
    ]
    assert wrong == []
    assert len(golden_plans) >= 75


def test_thick_slices_along_z_give_a_patch_that_is_thin_along_z():
    plan = make_plan(fingerprint((256, 256, 40), (1.0, 1.0, 4.0)))
    assert plan.spacing == (1, 1, 4)
    assert plan.patch_size[2] < plan.patch_size[0] == plan.patch_size[1]
    assert plan.network_def["strides"][1] == [2, 2, 1] and plan.network_def["kernel_sizes"][0] == [3, 3, 1]


def test_a_given_spacing_wins():
    plan = make_plan(fingerprint((100, 120, 80)), spacing=(2.0, 1.0, 4.0))
    assert plan.spacing == (2, 1, 4) and plan.median_shape == (50, 120, 20)


@pytest.mark.parametrize("network", PRESETS)
def test_there_is_one_output_for_each_landmark(network):
    plan = make_plan(fingerprint(names=("a", "b", "c")), network)
    inner = plan.network_def.get(
        "network", plan.network_def
    )  # of a folded one, one for each voxel of a block
    blocks = np.prod(plan.network_def.get("factor", 1))
    assert inner["num_classes"] == 3 * blocks and plan.landmark_names == ("a", "b", "c")


def test_the_small_network_coarsens_and_says_so():
    plan = make_plan(fingerprint((200, 200, 200)), "small")
    assert plan.spacing[0] > plan.original_spacing[0] == 1
    assert "plain" in plan.notes[0] and plan.batch_size <= 2
    assert np.prod(plan.patch_size) / np.prod(plan.median_shape) >= 0.75


@pytest.mark.parametrize("network", ["plain", "resenc_m", "resenc_l"])
def test_other_networks_keep_the_resolution(network):
    plan = make_plan(fingerprint((300, 300, 300)), network)
    assert plan.spacing == plan.original_spacing == (1, 1, 1) and plan.notes == ()
    assert plan.roi_size == plan.patch_size and plan.divisor is None


def test_the_small_network_sees_a_whole_image_when_it_is_little_more_than_a_patch():
    plan = make_plan(fingerprint((35, 50, 35)), "small")
    assert all(roi >= size for roi, size in zip(plan.roi_size, (35, 50, 35)))
    assert all(roi % step == 0 for roi, step in zip(plan.roi_size, plan.divisor))


@pytest.mark.parametrize("mm", [1.0, 0.1])
def test_an_image_that_pooling_divides_needs_no_larger_window(mm):
    assert make_plan(fingerprint((48, 48, 48), (mm, mm, mm)), "small").roi_size == (48, 48, 48)


@pytest.mark.parametrize(
    "modality, size, scheme, nonzero",
    [
        ("CT", 0.5, "ct", False),
        ("ct", 1, "ct", False),
        ("MRI", 0.74, "zscore", True),
        ("MRI", 0.75, "zscore", False),
    ]
    + [("CTA", 1, "zscore", False), ("noNorm", 0.5, "none", False), ("rescale_to_0_1", 1, "rescale", False)],
)
def test_the_modality_decides_the_normalisation(modality, size, scheme, nonzero):
    found = make_plan(fingerprint(modalities=(modality,), median_relative_size_after_crop=size)).normalization
    assert found == ({"scheme": scheme, "nonzero": nonzero, "intensity": {"mean": 4.0, "std": 1.0}},)


@pytest.mark.parametrize(
    "p95, rotation",
    [(None, (30, 0.3)), (0, (15, 0.3)), (50, (25, 0.3)), (60, (30, 0.3)), (61, (180, 1)), (180, (180, 1))],
)
def test_rotations_follow_the_poses_in_the_data(p95, rotation):
    angles = None if p95 is None else {"median": p95 / 2, "p95": p95, "max": p95}
    plan = make_plan(fingerprint(pose_angles_deg=angles))
    assert (plan.rotation_deg, plan.rotation_prob) == rotation


def test_landmarks_that_are_absent_somewhere_are_listed():
    presence = {
        name: {"present": 19, "absent": absent, "unknown": 1} for name, absent in (("a", 0), ("b", 1))
    }
    assert make_plan(fingerprint(presence=presence)).may_be_absent == ("b",)


def test_memory_for_all_images_is_four_bytes_a_voxel():
    assert make_plan(fingerprint((100, 100, 100), cases=25)).cached_gb == 0.1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"network": "unet"}, r"network='unet' is unknown\. Choose one of small, plain"),
        ({"gpu_memory_gb": 0}, "gpu_memory_gb=0 must be greater than 0"),
        ({"gpu_memory_gb": -8}, "gpu_memory_gb=-8 must be greater than 0"),
        (
            {"gpu_memory_gb": 1e-7},
            r"gpu_memory_gb=1e-07 is too small for network='plain' with 2 landmarks",
        ),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused_with_what_can(options, message):
    with pytest.raises(LandmarkError, match=message):
        make_plan(fingerprint(), **options)


@pytest.mark.parametrize("network, shape", [("small", (35, 50, 35)), ("plain", (500, 500, 500))])
def test_a_plan_is_read_as_it_was_written(tmp_path, network, shape):
    plan = make_plan(fingerprint(shape), network)
    write_plan(tmp_path / "plan.json", plan)
    assert read_plan(tmp_path / "plan.json") == plan


def test_a_plan_may_be_edited_by_hand(tmp_path):
    path = tmp_path / "plan.json"
    write_plan(path, make_plan(fingerprint()))
    path.write_text(json.dumps({**json.loads(path.read_text()), "patch_size": [64, 64, 32], "batch_size": 3}))
    assert (read_plan(path).patch_size, read_plan(path).batch_size) == ((64, 64, 32), 3)


def test_another_version_or_another_file_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "plan.json"
    write_plan(path, replace(make_plan(fingerprint()), version=0))
    for text in (path.read_text(), "{}", "[]", '{"version": 1}'):
        path.write_text(text)
        with pytest.raises(LandmarkError, match=r"plan\.json: .*Run 'auto3dlandmark plan' again"):
            read_plan(path)


def test_thick_slices_are_known_to_the_augmentation():
    assert make_plan(fingerprint((256, 256, 40), (1.0, 1.0, 6.0))).thick_axis == 2
    assert make_plan(fingerprint((40, 256, 256), (6.0, 1.0, 1.0))).thick_axis == 0
    assert make_plan(fingerprint()).thick_axis is None


def test_many_landmarks_take_memory_when_they_are_counted():
    few, many = (fingerprint((300, 300, 300), names=tuple(map(str, range(count)))) for count in (2, 100))
    plain, fitted = make_plan(many), make_plan(many, fit_memory=True)
    assert np.prod(fitted.patch_size) < 0.7 * np.prod(plain.patch_size)
    assert make_plan(few, fit_memory=True).patch_size == make_plan(few).patch_size
    assert 16 * 100 * np.prod(fitted.patch_size) * fitted.batch_size < 8e9  # the heatmaps alone


def test_the_patch_of_another_network_fits_it():
    network = {
        "_target_": "SegResNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": "$len(@landmark_names)",
    }
    plan = make_plan(fingerprint((35, 50, 35)), "small", network_def=network)
    assert plan.network_def == network and plan.divisor == (8, 8, 8)
    assert all(size % 8 == 0 for size in (*plan.patch_size, *plan.roi_size))
    assert "SegResNet" in plan.notes[-1] and "memory is not estimated" in plan.notes[-1]
