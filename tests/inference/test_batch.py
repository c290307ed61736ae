# SPDX-License-Identifier: Apache-2.0
"""Many images: the broken ones are named, what is there is kept, and nobody's edits are lost."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import deadly_image
import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark import LandmarkError, read_landmarks
from auto3dlandmark.cli import main
from auto3dlandmark.inference import parallel
from auto3dlandmark.inference.batch import CaseFiles, predict_batch
from auto3dlandmark.inference.parallel import BundleMaker

CASES = [f"demo_0{number}" for number in range(6)]


@pytest.fixture
def images(demo_dataset, tmp_path):
    """Six images, the second of which is broken."""
    folder = tmp_path / "images"
    shutil.copytree(demo_dataset / "images", folder)
    (folder / "demo_01.nii.gz").write_bytes(b"broken")
    return sorted(folder.iterdir())


@pytest.fixture
def predicted(trained_bundle, images, tmp_path):
    """Predict those images, and give the report."""

    def predict(**options):
        maker = BundleMaker([trained_bundle], "cpu")
        return predict_batch(maker, images, tmp_path / "out", progress=False, **options)

    return predict


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_broken_image_is_named_and_does_not_stop_the_others(predicted, tmp_path):
    report = predicted()
    assert report.made == [case for case in CASES if case != "demo_01"]
    assert list(report.failed) == ["demo_01"] and "demo_01.nii.gz" in report.failed["demo_01"]
    (failed,) = rows_of(tmp_path / "out" / "failed.csv")
    assert failed["case"] == "demo_01" and failed["reason"] == report.failed["demo_01"]


def test_the_table_holds_the_points_of_the_files(predicted, tmp_path):
    predicted()
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert len(rows) == 5 * 5
    landmarks = read_landmarks(tmp_path / "out" / "demo_02.mrk.json")
    for name, point, status in zip(landmarks.names, landmarks.points, landmarks.status):
        (row,) = (row for row in rows if (row["case"], row["landmark"]) == ("demo_02", name))
        if status == 1:
            assert [float(row[axis]) for axis in ("x_mm", "y_mm", "z_mm")] == pytest.approx(point, abs=1e-3)
        else:
            assert row["status"] == "absent" and row["x_mm"] == ""


def test_what_was_made_of_the_same_image_is_kept_and_a_mended_image_is_predicted(
    predicted, demo_dataset, images, tmp_path
):
    predicted()
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mrk.json")}
    shutil.copy(demo_dataset / "images" / "demo_01.nii.gz", images[1])
    report = predicted()
    assert report.made == ["demo_01"] and len(report.kept) == 5 and not report.failed
    assert not (tmp_path / "out" / "failed.csv").exists()
    for name, modified in times.items():
        assert (tmp_path / "out" / name).stat().st_mtime_ns == modified


def test_an_edited_prediction_is_kept_whatever_changes_until_it_may_be_replaced(
    predicted, trained_bundle, images, tmp_path
):
    predicted()
    edited = tmp_path / "out" / "demo_03.mrk.json"
    edited.write_text(edited.read_text().replace('"coordinateUnits"', '"coordinateUnits"') + "\n")
    mine = edited.read_bytes()
    (tmp_path / "out" / "demo_04.mrk.json").unlink()
    report = predicted()
    assert report.edited == ["demo_03"] and report.made == ["demo_04"]
    assert edited.read_bytes() == mine
    images[3].touch()  # another image, as far as anybody can tell
    assert predicted().edited == ["demo_03"] and edited.read_bytes() == mine
    assert "demo_03" in predicted(overwrite=True).made and edited.read_bytes() != mine


def test_several_kinds_of_file_are_written(predicted, tmp_path):
    predicted(files=CaseFiles((".fcsv", ".csv")))
    assert (tmp_path / "out" / "demo_00.fcsv").is_file() and not (
        tmp_path / "out" / "demo_00.mrk.json"
    ).exists()
    one, other = (read_landmarks(tmp_path / "out" / f"demo_00{end}") for end in (".fcsv", ".csv"))
    np.testing.assert_allclose(one.points, other.points, atol=1e-3)
    with pytest.raises(LandmarkError, match=r"format '\.txt' is unknown"):
        predicted(files=CaseFiles((".txt",)))


def test_several_at_a_time_give_the_same_files(predicted, tmp_path):
    report = predicted(jobs=2)
    assert report.made == [case for case in CASES if case != "demo_01"] and list(report.failed) == ["demo_01"]
    out = tmp_path / "out"
    together = [read_landmarks(out / f"{case}.mrk.json") for case in report.made]
    shutil.rmtree(out)
    predicted()
    for case, one in zip(report.made, together):
        other = read_landmarks(out / f"{case}.mrk.json")
        np.testing.assert_allclose(one.points, other.points, atol=0.02)  # another number of threads
        assert one.status.tolist() == other.status.tolist()


@pytest.mark.slow
def test_an_image_that_its_process_dies_of_is_named_and_nothing_else_is_lost(
    trained_bundle, images, monkeypatch
):
    """As when the kernel takes a process that wants too much memory."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(parallel, "_predict", deadly_image.predict)
    found = dict(parallel.predict_each(images, BundleMaker([trained_bundle], "cpu"), 2))
    assert sorted(found) == list(range(len(images)))
    assert [number for number, one in found.items() if one.landmarks is None] == [1]
    assert "demo_01.nii.gz" in found[1].failed and "memory" in found[1].failed


@pytest.mark.slow
def test_a_command_that_is_interrupted_twice_predicts_nothing_twice(trained_bundle, images, tmp_path):
    folder, out = images[0].parent, tmp_path / "out"
    for number in range(6):
        for copy in range(4):
            shutil.copy(images[number], folder / f"copy{copy}_{images[number].name}")
    command = [sys.executable, "-m", "auto3dlandmark", "predict", trained_bundle, folder, out, "--jobs", "2"]
    broken = ["copy0_demo_01", "copy1_demo_01", "copy2_demo_01", "copy3_demo_01", "demo_01"]
    for enough in (3, 9):
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while process.poll() is None and len(list(out.glob("*.mrk.json"))) < enough:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode != 0
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert result.returncode == 1 and "5 of 30 images have no prediction" in result.stderr
    assert sorted(row["case"] for row in rows_of(out / "failed.csv")) == broken
    recorded = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    made = [entry["case"] for entry in recorded if "case" in entry]
    assert len(made) == len(set(made)) == 25 == len(list(out.glob("*.mrk.json")))


@pytest.mark.parametrize("jobs", [0, -1, 1.5])
def test_a_number_of_processes_that_is_none_is_refused(predicted, jobs):
    with pytest.raises(LandmarkError, match="jobs"):
        predicted(jobs=jobs)


def test_the_command_names_the_broken_ones_and_fails(trained_bundle, images, tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"1 of 6 images have no prediction.*failed\.csv[\s\S]*demo_01"):
        main(["predict", str(trained_bundle), str(images[0].parent), str(tmp_path / "out")])
    assert "5 images predicted" in capsys.readouterr().out
    images[1].unlink()
    main(
        ["predict", str(trained_bundle), str(images[0].parent), str(tmp_path / "out"), "--format", "mrk.json"]
    )
    assert "0 images predicted" in (said := capsys.readouterr().out) and "5 unchanged, kept" in said


@pytest.mark.parametrize(
    "factor, complaint",
    [
        (1e-3, "Metres or micrometres instead of millimetres"),
        (1e3, "Metres or micrometres"),
        (30, "GB may be taken"),
    ],
)
def test_voxels_that_cannot_be_millimetres_and_images_beyond_memory_are_refused(
    trained_bundle, demo_dataset, tmp_path, factor, complaint, monkeypatch
):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 4e9}))
    image = nib.load(demo_dataset / "images" / "demo_00.nii.gz")
    affine = image.affine @ np.diag([factor, factor, factor, 1])
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), affine), tmp_path / "odd.nii.gz")
    maker = BundleMaker([trained_bundle], "cpu")
    report = predict_batch(maker, [tmp_path / "odd.nii.gz"], tmp_path / "out", progress=False)
    assert complaint in report.failed["odd"]


def test_a_much_larger_image_is_told_before_it_is_predicted(trained_bundle, demo_dataset, tmp_path):
    image = nib.load(demo_dataset / "images" / "demo_00.nii.gz")
    array = np.pad(np.asanyarray(image.dataobj), [(0, size * 5 // 4) for size in image.shape])
    nib.save(nib.Nifti1Image(array, image.affine), tmp_path / "large.nii.gz")
    said = []
    images = [tmp_path / "large.nii.gz"]
    maker = BundleMaker([trained_bundle], "cpu")
    report = predict_batch(maker, images, tmp_path / "out", progress=False, say=said.append)
    assert report.made == ["large"] and "times as large as the training images" in said[0]


@pytest.mark.parametrize("device", ["cuda", "graphics card"])
def test_a_device_that_is_not_there_is_a_sentence(trained_bundle, images, tmp_path, device):
    with pytest.raises(SystemExit, match=f"device='{device}' is not to be had here"):
        main(["predict", str(trained_bundle), str(images[0]), str(tmp_path / "out"), "--device", device])
