# SPDX-License-Identifier: Apache-2.0
"""``calibrate``: any bundle's landmarks decide together, and say how far off they may be."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest

from auto3dlandmark import load
from auto3dlandmark.bundles.folder import BundleFolder
from auto3dlandmark.cli import main
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.inference.predictor import LandmarkPredictor


@pytest.fixture
def bundle(trained_bundle, tmp_path):
    return BundleFolder(shutil.copytree(trained_bundle, tmp_path / "bundle"))


def test_a_trained_bundle_is_calibrated_by_the_cases_it_holds_out(bundle, demo_dataset, tmp_path, capsys):
    main(["calibrate", str(bundle.path), str(demo_dataset)])
    said = capsys.readouterr().out
    assert "held-out cases: " in said and "shape of 6 cases" in said
    assert read_json(bundle.models.shape)["calibration"]["held_out_cases"] >= 1
    main(["predict", str(bundle.path), str(demo_dataset), str(tmp_path / "out")])
    with open(tmp_path / "out" / "predictions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    place = ["x_mm", "y_mm", "z_mm"]
    known = ["probability", "radius95_mm", "peak_x_mm", "peak_y_mm", "peak_z_mm", "moved_mm", "score", "note"]
    assert list(rows[0]) == ["case", "landmark", "status", *place, *known]
    for row in rows:
        assert 0 <= float(row["probability"]) <= 1 and row["peak_x_mm"]
        if row["status"] == "present":
            assert float(row["radius95_mm"]) > 0


def test_it_can_be_forced_and_what_was_found_stays(bundle, demo_dataset):
    main(["calibrate", str(bundle.path), str(demo_dataset), "--posterior", "on"])
    image = demo_dataset / "images" / "demo_00.nii.gz"
    together = load(bundle.path).predict(image)
    alone = LandmarkPredictor([bundle.path], posterior="off").predict(image)
    assert bundle.read_config("inference")["posterior"] == "on"
    assert np.array_equal(together.estimates.peaks, alone.estimates.peaks)
    assert not np.allclose(together.points[together.present], together.estimates.peaks[together.present])
    there = alone.present
    assert np.array_equal(alone.points[there], alone.estimates.peaks[there])


def test_without_a_shape_model_it_cannot_be_forced(bundle, demo_dataset, tmp_path):
    assert not bundle.models.shape.exists()
    with pytest.raises(SystemExit, match=r"shape\.json: there is no shape model.*calibrate BUNDLE DATASET"):
        main(["predict", str(bundle.path), str(demo_dataset), str(tmp_path / "out"), "--posterior", "on"])
    with pytest.raises(SystemExit, match="posterior='yes' is unknown. Choose one of auto, on, off"):
        main(["predict", str(bundle.path), str(demo_dataset), str(tmp_path / "out"), "--posterior", "yes"])


def test_a_damaged_shape_model_is_a_sentence(bundle, demo_dataset, tmp_path):
    write_json(bundle.models.shape, {"version": 1})
    with pytest.raises(SystemExit, match=r"shape\.json: is not a shape model"):
        main(["predict", str(bundle.path), str(demo_dataset), str(tmp_path / "out")])


def test_what_is_calibrated_is_not_replaced_by_less(bundle, demo_dataset):
    main(["calibrate", str(bundle.path), str(demo_dataset)])
    before = bundle.models.shape.read_bytes()
    config = bundle.read_config("train")
    bundle.write_config("train", {**config, "datalist": "nowhere.json"})
    with pytest.raises(SystemExit, match="no held-out case is known"):
        main(["calibrate", str(bundle.path), str(demo_dataset)])
    assert bundle.models.shape.read_bytes() == before
    with pytest.raises(SystemExit, match=r"demo_00\.nii\.gz: is in .*, too, so the bundle may have learnt"):
        main(["calibrate", str(bundle.path), str(demo_dataset), "--unseen", str(demo_dataset)])
    assert bundle.models.shape.read_bytes() == before


def test_unseen_cases_calibrate_and_the_earlier_model_is_kept(bundle, demo_dataset, tmp_path):
    seen, unseen = tmp_path / "seen", tmp_path / "unseen"
    for part in ("images", "landmarks"):
        for number, path in enumerate(sorted((demo_dataset / part).iterdir())):
            place = (seen if number < 3 else unseen) / part
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place / path.name)
    main(["calibrate", str(bundle.path), str(seen)])
    before = bundle.models.shape.read_bytes()
    main(["calibrate", str(bundle.path), str(seen), "--unseen", str(unseen)])
    assert read_json(bundle.models.shape)["calibration"]["held_out_cases"] == 3
    assert bundle.models.shape.with_name("shape_earlier.json").read_bytes() == before


def test_other_landmarks_are_refused(bundle, write_dataset):
    with pytest.raises(SystemExit, match="has no landmark 'rod_tip'"):
        main(["calibrate", str(bundle.path), str(write_dataset())])
