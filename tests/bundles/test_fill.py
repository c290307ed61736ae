# SPDX-License-Identifier: Apache-2.0
"""The written bundle: what the plan said, complete, in MONAI's terms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow, verify_metadata

from auto3dlandmark import LandmarkError, templates_path
from auto3dlandmark.bundles.fill import normalization_transforms
from auto3dlandmark.data.datalist import scan_folder, write_datalist
from auto3dlandmark.files import read_json
from auto3dlandmark.formats import read_landmarks, write_landmarks
from auto3dlandmark.planning.plan import read_plan
from auto3dlandmark.planning.recipes import RECIPES


def configs_of(folder, *names):
    return [read_json(folder / "configs" / f"{name}.json") for name in names]


def test_the_template_itself_is_a_runnable_config():
    parser = ConfigParser()
    parser.read_config(f"{templates_path()}/heatmap/configs/inference.json")
    assert len(parser.get_parsed_content("preprocessing").transforms) == 7
    assert sum(p.numel() for p in parser.get_parsed_content("network_def").parameters()) > 1000


@pytest.mark.parametrize("percentiles, clips", [([0, 100], False), ([0.5, 99.5], True), ([0, 99], True)])
def test_voxels_are_only_sorted_where_something_is_clipped(percentiles, clips):
    for name, key in (("inference", "preprocessing_transforms"), ("train", "preprocessing")):
        parser = ConfigParser()
        parser.read_config(f"{templates_path()}/heatmap/configs/{name}.json")
        parser["clip_percentiles"] = percentiles
        steps = [type(step).__name__ for step in parser.get_parsed_content(key)]
        assert ("ClipIntensityPercentilesd" in steps) == clips


def test_the_plans_values_stand_in_both_configs(tiny_bundle):
    plan = read_plan(tiny_bundle / "configs" / "plan.json")
    train, inference = configs_of(tiny_bundle, "train", "inference")
    for config in (train, inference):
        assert config["landmark_names"] == list(plan.landmark_names)
        assert config["spacing"] == list(plan.spacing)
        assert config["patch_size"] == list(plan.patch_size)
        assert config["network_def"]["num_classes"] == len(plan.landmark_names)
    assert train["fold"] == 0


def test_training_and_inference_preprocess_and_decode_alike(tiny_bundle):
    train, inference = configs_of(tiny_bundle, "train", "inference")
    assert train["preprocessing"] == inference["preprocessing_transforms"]
    for key in (
        "spacing",
        "normalization",
        "network_def",
        "activation",
        "decode_radius",
        "roi_size",
        "divisor",
    ):
        assert train[key] == inference[key], key
    assert train["validate"]["inferer"] == inference["inferer"]
    assert train["validate"]["postprocessing"]["transforms"][0] == inference["decode"]


def test_filling_changes_values_and_never_the_structure(tiny_bundle):
    for name in ("train", "inference", "metadata", "evaluate"):
        template = read_json(f"{templates_path()}/heatmap/configs/{name}.json")
        assert list(read_json(tiny_bundle / "configs" / f"{name}.json")) == list(template)


@pytest.mark.parametrize(
    "workflow, files", [("train", ["train"]), ("train", ["train", "evaluate"]), ("infer", ["inference"])]
)
def test_monai_misses_no_property(tiny_bundle, workflow, files):
    config = [str(tiny_bundle / "configs" / f"{name}.json") for name in files]
    metadata = str(tiny_bundle / "configs" / "metadata.json")
    checked = ConfigWorkflow(config, meta_file=metadata, workflow_type=workflow, logging_file=False)
    checked.initialize()
    assert not checked.check_properties()


def test_the_metadata_passes_monais_check(tiny_bundle, data_dir):
    # The published schema is fetched from the network; this one states the same requirements (see its
    # description).
    verify_metadata(
        str(tiny_bundle / "configs" / "metadata.json"), filepath=str(data_dir / "bundle_metadata_schema.json")
    )


def test_the_metadata_names_the_landmarks_as_they_are(tiny_bundle):
    (metadata,) = configs_of(tiny_bundle, "metadata")
    names = configs_of(tiny_bundle, "inference")[0]["landmark_names"]
    assert list(metadata["network_data_format"]["outputs"]["pred"]["channel_def"].values()) == names
    assert metadata["required_packages_version"]["auto3dlandmark"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_sets_keys_that_train_has_and_builds_its_parts(
    build_bundle, recipe, tiny_bundle, tmp_path
):
    plan = read_plan(tiny_bundle / "configs" / "plan.json")
    datalist = configs_of(tiny_bundle, "train")[0]["datalist"]
    bundle = build_bundle(tmp_path, plan, Path(datalist), 0, recipe)
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.json"))
    for part in ("target", "loss", "optimizer", "random_patch", "augmentation"):
        assert parser.get_parsed_content(part) is not None


def test_an_unknown_fold_or_override_is_refused(build_bundle, tiny_bundle, tmp_path):
    plan = read_plan(tiny_bundle / "configs" / "plan.json")
    datalist = configs_of(tiny_bundle, "train")[0]["datalist"]
    with pytest.raises(LandmarkError, match="has no fold 7"):
        build_bundle(tmp_path, plan, Path(datalist), 7, "quick")
    with pytest.raises(LandmarkError, match="no key 'minuets'"):
        build_bundle(tmp_path, plan, Path(datalist), 0, "quick", minuets=3)


def test_parts_of_a_setting_can_be_overridden(build_bundle, tiny_bundle, tmp_path):
    plan = read_plan(tiny_bundle / "configs" / "plan.json")
    datalist = configs_of(tiny_bundle, "train")[0]["datalist"]
    bundle = build_bundle(tmp_path, plan, Path(datalist), 0, "nnlandmark_2026", **{"target#radius": 7})
    train, inference = configs_of(bundle, "train", "inference")
    assert train["target"] == {"_target_": "auto3dlandmark.transforms.ConeTarget", "radius": 7}
    assert inference["output_dir"] == configs_of(tiny_bundle, "inference")[0]["output_dir"]


@pytest.mark.parametrize("name", ["$__import__('os').abort()", "@network", "%train"])
def test_a_landmark_name_never_runs_as_code(build_bundle, name, tiny_bundle, tmp_path):
    plan = replace(read_plan(tiny_bundle / "configs" / "plan.json"), landmark_names=("a", name))
    datalist = configs_of(tiny_bundle, "train")[0]["datalist"]
    with pytest.raises(LandmarkError, match="landmark name .* begins with"):
        build_bundle(tmp_path, plan, Path(datalist), 0, "quick")


def test_ct_is_clipped_and_scaled_by_the_datasets_intensities():
    intensity = {"percentile_00_5": -900.0, "percentile_99_5": 1500.0, "mean": 100.0, "std": 400.0}
    clip, scale = normalization_transforms([{"scheme": "ct", "nonzero": False, "intensity": intensity}])
    assert (clip["a_min"], clip["a_max"], clip["clip"]) == (-900, 1500, True)
    assert (scale["subtrahend"], scale["divisor"]) == (100, 400)


def test_configs_are_plain_json(tiny_bundle):
    for path in (tiny_bundle / "configs").glob("*.json"):
        assert isinstance(json.loads(path.read_text()), dict)


@pytest.mark.parametrize("said, expected", [(True, [[1, 0]]), (False, [[2, 3]])])
def test_pairs_come_from_the_dataset_or_else_from_the_names(
    build_bundle, tiny_plan, demo_dataset, tmp_path, said, expected
):
    names = list(tiny_plan.landmark_names)
    listed = replace(
        scan_folder(demo_dataset),
        left_right_pairs=((names[1], names[0]),) if said else (),
    )
    write_datalist(tmp_path / "said.json", listed)
    bundle = build_bundle(tmp_path, tiny_plan, tmp_path / "said.json", 0, "nnlandmark_2025")
    for config in ("train", "inference"):
        parser = ConfigParser(read_json(bundle / "configs" / f"{config}.json"))
        assert parser.get_parsed_content("left_right_pairs") == expected


def test_landmarks_between_left_and_right_are_seen_in_a_mirror(
    build_bundle, tiny_plan, demo_dataset, tmp_path
):
    folder = tmp_path / "flat"
    (folder / "landmarks").mkdir(parents=True)
    (folder / "images").symlink_to(demo_dataset / "images")
    for path in (demo_dataset / "landmarks").iterdir():
        found = read_landmarks(path)
        flat = found.points * (0.01, 1, 1)
        write_landmarks(folder / "landmarks" / path.name, replace(found, points=flat))
    write_datalist(folder / "datalist.json", scan_folder(folder))
    bundle = build_bundle(tmp_path / "bundle", tiny_plan, folder / "datalist.json", 0, "quick")
    train = read_json(bundle / "configs" / "train.json")
    count = len(tiny_plan.landmark_names)
    assert train["flip_pairs"] == [[row, row] for row in range(count)]
