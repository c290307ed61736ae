# SPDX-License-Identifier: Apache-2.0
"""User errors end with one clear message and exit status 1, never with a traceback."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import auto3dlandmark
from auto3dlandmark.cli import main


@pytest.fixture
def fails(capsys):
    """Run a command in this process and give the message it ends with."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        assert stop.value.code not in (0, None)
        return str(stop.value.code)

    return run


def test_the_command_and_the_module_are_the_same_program():
    for command in (
        [sys.executable, "-m", "auto3dlandmark"],
        [shutil.which("auto3dlandmark", path=sys.prefix + "/bin")],
    ):
        result = subprocess.run([*command, "check", "/nowhere"], capture_output=True, text=True)
        assert result.returncode == 1
        assert result.stderr.startswith("auto3dlandmark: /nowhere: there is no such folder.")
        assert "Traceback" not in result.stderr


def test_importing_the_package_is_instant():
    heavy = ("torch", "monai", "nibabel", "scipy")
    code = f"import sys, auto3dlandmark; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
    assert auto3dlandmark.__version__


def test_check_reports_good_data(demo_dataset, capsys):
    main(["check", str(demo_dataset)])
    assert "6 cases with 5 landmarks: no errors" in capsys.readouterr().out


def test_check_names_every_bad_case(demo_dataset, fails, tmp_path):
    dataset = shutil.copytree(demo_dataset, tmp_path / "dataset")
    (dataset / "images" / "demo_00.nii.gz").write_bytes(b"")
    (dataset / "landmarks" / "demo_03.mrk.json").write_text("{")
    message = fails("check", dataset)
    assert "demo_00.nii.gz: the file is empty" in message
    assert "demo_03.mrk.json: is not valid JSON" in message
    assert "2 errors in 2 cases" in message


@pytest.mark.parametrize(
    "options, message",
    [
        (["--folds", "0"], "folds=0 must be a whole number from 1 to"),
        (["--folds", "two"], "folds='two' must be a whole number"),
        (["--minutes", "0"], "minutes=0 must be a number greater than 0"),
        (["--minutes", "soon"], "minutes='soon' must be a number"),
        (["--network", "huge"], "network='huge' is unknown. Choose one of small, plain"),
        (["--network", "small", "--recipe", "fast"], "recipe='fast' is unknown"),
        (["--gpu_memory_gb", "-1"], "gpu_memory_gb=-1 must be a number greater than 0"),
    ],
)
def test_run_refuses_options_it_cannot_use(demo_dataset, fails, tmp_path, options, message):
    assert message in fails("run", demo_dataset, tmp_path / "work", *options)


def test_a_work_folder_that_cannot_be_made_is_named(demo_dataset, fails, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file: is a file, not a folder" in fails("run", demo_dataset, tmp_path / "file")
    assert "cannot be written" in fails("run", demo_dataset, "/proc/nowhere/work")


def test_steps_out_of_order_say_which_file_is_missing(fails, tmp_path):
    assert "fingerprint.json: cannot be read" in fails("plan", tmp_path / "work")
    assert "plan.json: cannot be read" in fails("build", tmp_path / "work")
    assert "it has no configs/train.json" in fails("train", tmp_path / "work")


def test_predict_needs_a_bundle_images_and_a_place(fails, tmp_path, trained_bundle):
    assert "at least three arguments" in fails("predict", trained_bundle, tmp_path)
    assert "there is no such folder" in fails(
        "predict", trained_bundle, tmp_path / "nowhere", tmp_path / "out"
    )
    assert "holds no images" in fails("predict", trained_bundle, tmp_path, tmp_path / "out")


def test_predict_to_a_place_that_cannot_be_written(fails, trained_bundle, demo_dataset):
    assert "cannot be written" in fails("predict", trained_bundle, demo_dataset, "/proc/nowhere")


def test_predict_with_a_damaged_model(fails, trained_bundle, demo_dataset, tmp_path):
    bundle = shutil.copytree(trained_bundle, tmp_path / "bundle")
    (bundle / "models" / "model.pt").write_bytes(b"damaged")
    assert "model.pt: is damaged" in fails("predict", bundle, demo_dataset, tmp_path / "out")


def test_predict_and_evaluate_from_the_command_line(trained_bundle, demo_dataset, tmp_path, capsys):
    main(["predict", str(trained_bundle), str(demo_dataset), str(tmp_path / "out")])
    assert "6 images predicted" in capsys.readouterr().out
    main(
        [
            "evaluate",
            str(demo_dataset),
            str(tmp_path / "out"),
            str(tmp_path / "tables"),
            "--thresholds_mm",
            "2,5",
        ]
    )
    output = capsys.readouterr().out
    assert "6 cases: 6 cases" in output and "5mm" in output
    assert (tmp_path / "tables" / "metrics.json").is_file()
