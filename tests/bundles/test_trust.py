# SPDX-License-Identifier: Apache-2.0
"""A bundle that runs code from outside the template is refused until it is trusted."""

from __future__ import annotations

import shutil

import pytest
from conftest import BUNDLES

from auto3dlandmark import LandmarkError, load
from auto3dlandmark.bundles.folder import BundleFolder
from auto3dlandmark.bundles.trust import foreign_code
from auto3dlandmark.planning.recipes import RECIPES
from auto3dlandmark.review.versions import ServedModel


@pytest.fixture
def hostile(trained_bundle, tmp_path):
    """A trained bundle that leaves a file where it was loaded."""
    bundle = BundleFolder(shutil.copytree(trained_bundle, tmp_path / "hostile"))
    config = bundle.read_config("inference")
    bundle.write_config(
        "inference", {**config, "activation": f"$open('{tmp_path / 'ran'}', 'w') and 'softmax'"}
    )
    return bundle.path


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_our_own_bundles_run_nothing_foreign(bundle):
    for name in ("train", "inference", "evaluate", "multi_gpu_train"):
        assert foreign_code(BundleFolder(bundle).read_config(name)) == []


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_built_runs_nothing_foreign(build_bundle, tiny_plan, demo_dataset, tmp_path, recipe):
    bundle = BundleFolder(build_bundle(tmp_path, tiny_plan, demo_dataset, 0, recipe))
    for name in ("train", "inference"):
        assert foreign_code(bundle.read_config(name)) == []


@pytest.mark.parametrize(
    "value",
    [
        "$__import__('os').system('true')",
        "$torch.nn.Conv3d.__init__.__globals__",
        "%/etc/passwd",
        {"_target_": "os.system", "command": "true"},
        {"_target_": "torch.hub.load", "repo": "x"},
        {"_target_": "auto3dlandmark.files.write_text", "path": "x", "text": "y"},
        {"_target_": "monai.bundle.scripts.run", "config_file": "x"},
        {"_target_": "download_and_extract", "url": "x"},
        {"deep": [{"_target_": "subprocess.run"}]},
    ],
)
def test_foreign_code_is_found_wherever_it_stands(value):
    assert len(foreign_code({"spacing": [1, 1, 1], "more": {"inside": [value]}})) == 1


def test_it_is_refused_by_name_and_runs_when_trusted(hostile, tmp_path):
    with pytest.raises(LandmarkError, match=r"inference\.json: runs code from outside the template: \$open"):
        load(hostile)
    with pytest.raises(LandmarkError, match="--trust"):
        ServedModel(tmp_path / "models", [hostile])
    assert not (tmp_path / "ran").exists()
    assert len(load(hostile, trust=True).names) == 5
    assert (tmp_path / "ran").exists()
    assert ServedModel(tmp_path / "models", [hostile], trust=True).names
