# SPDX-License-Identifier: Apache-2.0
"""Two trained folds become one bundle to give away, which passes what MONAI's model zoo asks for."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from conftest import BUNDLES
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out
from PIL import Image

from auto3dlandmark import LandmarkError, read_landmarks
from auto3dlandmark.cli import main
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.inference.predictor import LandmarkPredictor
from auto3dlandmark.networks.mean import MeanNetwork, mean_state_dict
from auto3dlandmark.workflow.publish import publish
from auto3dlandmark.workflow.work_folder import WorkFolder

ZOO_FILES = ["LICENSE", "docs/README.md", "docs/data_license.txt", "models/model.pt", "configs/metadata.json"]
ZOO_FILES += [f"configs/{name}.json" for name in ("train", "evaluate", "inference", "multi_gpu_train")]
ABOUT = {"name": "Beads", "description": "Finds beads.", "authors": "us", "copyright": "us"}


@pytest.fixture(scope="module")
def cross_validated(demo_dataset, tiny_recipe, tmp_path_factory):
    """A work folder with two of three folds trained and evaluated."""
    work = WorkFolder(tmp_path_factory.mktemp("publish") / "work", say=lambda line: None)
    work.check(demo_dataset)
    work.analyze()
    work.make_plan("small")
    for fold in (0, 1):
        work.build(fold, tiny_recipe)
    work.train_folds((0, 1))
    work.predict_held_out((0, 1))
    work.cross_validate((0, 1))
    return work.folder


@pytest.fixture(scope="module")
def published(cross_validated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    write_json(folder / "about.json", {**ABOUT, "data_license": "CC0", "version": "1.2.3"})
    publish(cross_validated, folder / "beads", folder / "about.json")
    return folder / "beads"


@pytest.fixture(params=["just published", *BUNDLES], ids=lambda given: getattr(given, "name", given))
def given_away(request):
    """A bundle to give away: the one published here, and each that comes with the project."""
    return request.param if isinstance(request.param, Path) else request.getfixturevalue("published")


def test_it_has_the_files_of_a_zoo_bundle(given_away):
    assert [name for name in ZOO_FILES if not (given_away / name).is_file()] == []
    assert sorted(path.name for path in (given_away / "models").iterdir()) == [
        "cross_validation.json",
        "model.pt",
        "one_fold.pt",
        "shape.json",
    ]


def test_it_names_no_place_of_this_machine(given_away):
    for path in given_away.rglob("*"):
        if path.suffix in (".json", ".md", ".txt"):
            text = path.read_text()
            assert not any(place in text for place in ("/tmp/", "/work/", "/home/", "/root/")), path


def test_the_metadata_is_told(published):
    metadata = read_json(published / "configs" / "metadata.json")
    assert (metadata["name"], metadata["version"]) == ("Beads", "1.2.3")


def test_the_metadata_is_valid(given_away, data_dir):
    schema = data_dir / "bundle_metadata_schema.json"
    verify_metadata(str(given_away / "configs" / "metadata.json"), filepath=str(schema))


@pytest.mark.parametrize("config, network", [("inference", "network_def"), ("train", "network_def")])
def test_networks_take_and_give_what_the_metadata_says(given_away, config, network):
    verify_net_in_out(
        network,
        config_file=str(given_away / "configs" / f"{config}.json"),
        meta_file=str(given_away / "configs" / "metadata.json"),
        bundle_root=str(given_away),
    )


def test_monai_misses_no_property(given_away):
    workflow = ConfigWorkflow(
        str(given_away / "configs" / "inference.json"),
        meta_file=str(given_away / "configs" / "metadata.json"),
        workflow_type="infer",
        logging_file=False,
        bundle_root=str(given_away),
    )
    workflow.initialize()
    assert not workflow.check_properties()


@pytest.mark.slow
def test_it_becomes_torchscript_that_computes_the_same(given_away, tmp_path):
    """As the model zoo's own check asks for it: what lies in model.pt, scripted, with no more arguments."""
    ckpt_export(
        "network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(given_away / "models" / "model.pt"),
        meta_file=str(given_away / "configs" / "metadata.json"),
        config_file=str(given_away / "configs" / "inference.json"),
        bundle_root=str(given_away),
    )
    network = ConfigParser(read_json(given_away / "configs" / "inference.json")).get_parsed_content(
        "network_def"
    )
    network.load_state_dict(torch.load(given_away / "models" / "model.pt", weights_only=True))
    exported = torch.jit.load(tmp_path / "model.ts")
    for shape in ((1, 1, 32, 48, 32), (2, 1, 64, 32, 32)):  # other sizes than those it was traced with
        image = torch.randn(shape)
        with torch.no_grad():
            assert torch.allclose(exported(image), network.eval()(image), atol=1e-4)


def test_evaluating_takes_the_one_fold_that_did_not_see_the_cases(given_away):
    config = [str(given_away / "configs" / f"{name}.json") for name in ("train", "evaluate")]
    parser = ConfigParser()
    parser.read_config(config)
    parser["bundle_root"] = str(given_away)
    path = parser.get_parsed_content("validate#handlers")[0].load_path
    assert path == str(given_away / "models" / "one_fold.pt")
    parser.get_parsed_content("network_def").load_state_dict(torch.load(path, weights_only=True))


@pytest.mark.slow
def test_it_predicts_a_raw_image_in_one_command(given_away, demo_dataset, tmp_path):
    main(["predict", str(given_away), str(demo_dataset / "images" / "demo_01.nii.gz"), str(tmp_path)])
    landmarks = read_landmarks(tmp_path / "demo_01.mrk.json")
    assert list(landmarks.names) == read_json(given_away / "configs" / "inference.json")["landmark_names"]


def test_its_logits_are_the_mean_of_the_folds(published, cross_validated, demo_dataset):
    image = demo_dataset / "images" / "demo_01.nii.gz"
    (one,) = LandmarkPredictor([published], device="cpu").members
    folds = LandmarkPredictor([cross_validated / f"heatmap_{fold}" for fold in (0, 1)], device="cpu").members
    patch = torch.as_tensor(np.asarray(one.load(image)))[None, :, :16, :16, :16]
    with torch.no_grad():
        mean = torch.stack([fold.network(patch) for fold in folds]).mean(dim=0)
        assert torch.allclose(one.network(patch), mean, atol=0.02)  # the weights are rounded to float16


def test_the_cross_validation_has_error_and_score_of_every_point(published, cross_validated):
    kept = read_json(published / "models" / "cross_validation.json")
    metrics = read_json(cross_validated / "evaluation" / "metrics.json")
    errors = [e for column in kept["landmarks"].values() for e in column["error_mm"] if e is not None]
    assert len(errors) == metrics["points_compared"]
    assert np.mean(errors) == pytest.approx(metrics["mre_mm"], abs=1e-3)
    for column in kept["landmarks"].values():
        assert len(column["score"]) == len(kept["cases"]) == metrics["cases"]


def test_the_picture_shows_cases_and_points(published):
    picture = np.asarray(Image.open(published / "docs" / "preview.png")).reshape(-1, 3)
    for colour in ((90, 220, 120), (255, 90, 90)):
        assert (picture == colour).all(axis=1).sum() > 50


def test_the_readme_has_the_table_and_the_command(published):
    text = (published / "docs" / "README.md").read_text()
    assert "auto3dlandmark predict beads IMAGES OUT" in text
    assert "| **all** |" in text


@pytest.mark.parametrize(
    "about, complaint",
    [
        ({"name": "x"}, "lacks description, authors, copyright"),
        ({**ABOUT, "licence": "x"}, "has the unknown licence"),
    ],
)
def test_an_incomplete_description_is_refused(about, complaint, cross_validated, tmp_path):
    write_json(tmp_path / "about.json", about)
    with pytest.raises(LandmarkError, match=complaint):
        publish(cross_validated, tmp_path / "out", tmp_path / "about.json")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_left_alone(published, cross_validated):
    with pytest.raises(LandmarkError, match="is there already"):
        publish(cross_validated, published, published.parent / "about.json")


def test_a_failure_leaves_nothing_behind(cross_validated, tmp_path):
    work = shutil.copytree(cross_validated, tmp_path / "work")
    (work / "heatmap_1" / "models" / "model.pt").write_bytes(b"broken")
    write_json(tmp_path / "about.json", ABOUT)
    with pytest.raises(LandmarkError, match="is damaged"):
        publish(work, tmp_path / "out", tmp_path / "about.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["about.json", "work"]


def test_mean_network_averages_and_its_weights_keep_what_is_shared():
    layer = torch.nn.Linear(3, 2)
    state = {**layer.state_dict(), "again": layer.weight.data}
    result = mean_state_dict([state, state])
    assert result["networks.0.again"].data_ptr() == result["networks.1.weight"].data_ptr()
    network = MeanNetwork(layer, 2)
    network.networks[1].weight.data.zero_()
    network.networks[1].bias.data.zero_()
    inputs = torch.randn(4, 3)
    assert torch.allclose(network(inputs), layer(inputs) / 2, atol=1e-6)


def test_a_volume_is_not_needed_to_be_ras(published, demo_dataset, tmp_path):
    image = nib.load(demo_dataset / "images" / "demo_01.nii.gz")
    turned = image.as_reoriented(nib.orientations.axcodes2ornt("PIL"))
    nib.save(turned, tmp_path / "turned.nii.gz")
    predictor = LandmarkPredictor([published])
    straight = predictor.predict(demo_dataset / "images" / "demo_01.nii.gz")
    assert np.allclose(
        predictor.predict(tmp_path / "turned.nii.gz").points, straight.points, atol=1e-3, equal_nan=True
    )
