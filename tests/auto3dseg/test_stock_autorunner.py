# SPDX-License-Identifier: Apache-2.0
"""Stock AutoRunner of MONAI drives the template: by folder, by dictionary, and from its own command line."""

from __future__ import annotations

import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import yaml
from monai.apps.auto3dseg import (
    AlgoEnsembleBuilder,
    AutoRunner,
    export_bundle_algo_history,
    import_bundle_algo_history,
)
from monai.utils.enums import AlgoKeys

from auto3dlandmark import read_landmarks, templates_path
from auto3dlandmark.auto3dseg.ensemble import LandmarkEnsemble
from auto3dlandmark.bundles.folder import BundleFolder
from auto3dlandmark.data.datalist import read_datalist
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.geometry import world_to_voxel

ANALYZE = {"label_key": None, "device": "cpu", "worker": 0}
SHORT = {"num_epochs": 1, "num_epochs_per_validation": 1}


@pytest.fixture(scope="module")
def source(demo_dataset, tiny_recipe, tmp_path_factory):
    """AutoRunner's input: a datalist with relative paths, four cases with folds and one to test on."""
    folder = tmp_path_factory.mktemp("source")
    names = [f"demo_{number:02}" for number in range(5)]
    items = [{"image": f"images/{n}.nii.gz", "label": f"landmarks/{n}.mrk.json"} for n in names]
    training = [{**item, "fold": number % 2} for number, item in enumerate(items[:4])]
    write_json(folder / "cases.json", {"training": training, "testing": [{"image": items[4]["image"]}]})
    return {
        "modality": "MRI",
        "datalist": str(folder / "cases.json"),
        "dataroot": str(demo_dataset),
        "network": "small",
        "recipe": tiny_recipe,
    }


def run(source, work, **options):
    runner = AutoRunner(work_dir=str(work), input=dict(source), **options)
    runner.set_analyze_params(ANALYZE).set_training_params(SHORT).set_num_fold(2).run()
    return work


@pytest.fixture(scope="module")
def by_folder(source, tmp_path_factory):
    return run(
        source,
        tmp_path_factory.mktemp("folder") / "work",
        algos="heatmap",
        templates_path_or_url=templates_path(),
    )


@pytest.fixture(scope="module")
def by_dictionary(source, tmp_path_factory):
    return run(
        source,
        tmp_path_factory.mktemp("dictionary") / "work",
        algos={"heatmap": {"_target_": "auto3dlandmark.auto3dseg.algo.HeatmapAlgo"}},
    )


@pytest.fixture(scope="module", params=["by_folder", "by_dictionary"])
def finished(request):
    """The work folder of one of the two ways."""
    return request.getfixturevalue(request.param)


def test_every_fold_is_trained_and_scored(finished):
    history = import_bundle_algo_history(str(finished))
    assert [entry[AlgoKeys.ID] for entry in history] == ["heatmap_0", "heatmap_1"]
    for entry in history:
        summary = read_json(finished / entry[AlgoKeys.ID] / "models" / "training.json")
        assert summary["steps"] == 4  # one epoch, as the training parameters say
        assert entry[AlgoKeys.SCORE] == pytest.approx(1 / (1 + summary["mre_mm"]))


def test_the_folds_are_those_of_the_datalist(finished, source):
    given = {item["image"]: item["fold"] for item in read_json(source["datalist"])["training"]}
    used = read_datalist(finished / "datalist.json")
    assert {f"images/{case.image.name}": case.fold for case in used.training} == given


def test_the_ensembles_label_map_has_a_blob_at_every_landmark(finished, demo_dataset):
    (path,) = (finished / "ensemble_output").rglob("*.nii.gz")
    image = nib.load(demo_dataset / "images" / "demo_04.nii.gz")
    result = nib.load(path)
    assert result.shape == image.shape and np.allclose(result.affine, image.affine)
    landmarks = ensemble_of(finished)()[0]
    labels = np.asarray(result.dataobj)
    assert set(np.unique(labels)) <= set(range(1 + len(landmarks.names)))
    seen = 0
    for label, point in enumerate(landmarks.points, start=1):
        where = np.argwhere(labels == label)
        if len(where):
            voxel = world_to_voxel(point, image.affine)
            assert np.linalg.norm(where - voxel, axis=1).min() < 8  # an untrained network's blobs are wide
            seen += 1
    assert seen > 0


def ensemble_of(work, source_file=None):
    history = import_bundle_algo_history(str(work))
    builder = AlgoEnsembleBuilder(history, str(source_file or work / "input.yaml"))
    builder.set_ensemble_method(LandmarkEnsemble(n_fold=2))
    return builder.get_ensemble()


def test_the_landmark_ensemble_writes_points_with_scores(finished, tmp_path):
    results = ensemble_of(finished)({"output_dir": tmp_path})
    (path,) = tmp_path.iterdir()
    assert path.name == "demo_04.mrk.json"
    written = read_landmarks(path)
    assert np.allclose(written.points, results[0].points, equal_nan=True)
    assert ((written.scores >= 0) & (written.scores <= 1)).all()


def test_a_moved_work_folder_is_scored_and_ensembled_alike(by_folder, source, tmp_path):
    shutil.copytree(by_folder, tmp_path / "moved")
    (tmp_path / "input.yaml").write_text(yaml.safe_dump(source))
    hidden = by_folder.rename(by_folder.with_name("hidden"))  # nothing may reach back to where it was
    try:
        moved = ensemble_of(tmp_path / "moved", tmp_path / "input.yaml")()[0]
        for entry in import_bundle_algo_history(str(tmp_path / "moved")):
            assert entry[AlgoKeys.ALGO].get_output_path().startswith(str(tmp_path / "moved"))
    finally:
        hidden.rename(by_folder)
    here = ensemble_of(by_folder)()[0]
    assert np.array_equal(here.points, moved.points, equal_nan=True)


def test_generating_again_leaves_trained_models_alone(by_dictionary, source, tmp_path):
    work = shutil.copytree(by_dictionary, tmp_path / "work")
    before = (work / "heatmap_0" / "models" / "model.pt").read_bytes()
    runner = AutoRunner(
        work_dir=str(work),
        input=dict(source),
        algos={"heatmap": {"_target_": "auto3dlandmark.auto3dseg.algo.HeatmapAlgo"}},
        analyze=False,
        algo_gen=True,
        train=False,
        ensemble=False,
    )
    runner.run()
    export_bundle_algo_history(import_bundle_algo_history(str(work)))
    assert (work / "heatmap_0" / "models" / "model.pt").read_bytes() == before


def test_two_stages_are_trained_scored_and_ensembled(source, tmp_path):
    work = run(
        {**source, "stages": 2}, tmp_path / "work", algos="heatmap", templates_path_or_url=templates_path()
    )
    for entry in import_bundle_algo_history(str(work)):
        bundle = BundleFolder(work / entry[AlgoKeys.ID])
        assert bundle.coarse.models.weights.is_file() and bundle.models.weights.is_file()
        assert entry[AlgoKeys.SCORE] == pytest.approx(1 / (1 + read_json(bundle.models.outcome)["mre_mm"]))
    (landmarks,) = ensemble_of(work)()
    assert np.isfinite(landmarks.points[landmarks.present]).all() and (landmarks.scores <= 1).all()


def test_its_own_command_line_runs_everything(source, tmp_path):
    (tmp_path / "input.yaml").write_text(yaml.safe_dump(source))
    command = [
        sys.executable,
        "-m",
        "monai.apps.auto3dseg",
        "AutoRunner",
        "--work_dir",
        str(tmp_path / "work"),
    ]
    command += ["--input", str(tmp_path / "input.yaml"), "--algos", "heatmap"]
    command += ["--templates_path_or_url", templates_path()]
    command += ["-", "set_analyze_params", str(ANALYZE), "-", "set_training_params", str(SHORT)]
    command += ["-", "set_num_fold", "1", "-", "run"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "work" / "heatmap_0" / "models" / "model.pt").exists()
    assert list((tmp_path / "work" / "ensemble_output").rglob("*.nii.gz"))
