# SPDX-License-Identifier: Apache-2.0
"""Images that are more than one file of one channel: DICOM series, files for each channel, channels in one
file."""

from __future__ import annotations

import shutil
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose

from auto3dlandmark.bundles.fill import normalization_transforms
from auto3dlandmark.checks.dataset import check_dataset
from auto3dlandmark.cli import main
from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.data.folder import list_images
from auto3dlandmark.data.images import read_image
from auto3dlandmark.data.published import convert
from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.files import files_digest, read_json, write_json
from auto3dlandmark.formats import read_landmarks
from auto3dlandmark.inference.predictor import LandmarkPredictor
from auto3dlandmark.planning.fingerprint import compute_fingerprint
from auto3dlandmark.planning.planner import make_plan
from auto3dlandmark.transforms import LoadChannelsd

VOLUME = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def write_dicom(folder: Path, volume: np.ndarray, affine: np.ndarray, series: str = "1.2.3") -> None:
    """Slices of one series, named against the order of their positions."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1, -1, 1, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    for k in range(volume.shape[2]):
        image = itk.image_from_array(np.ascontiguousarray(volume[:, :, k : k + 1].transpose(2, 1, 0)))
        image.SetSpacing(spacing.tolist())
        image.SetDirection(itk.matrix_from_array(lps[:3, :3] / spacing))
        image.SetOrigin((lps @ [0, 0, k, 1])[:3].tolist())
        image["0020|000e"] = series
        image["0008|0060"], image["0008|0008"] = "MR", "ORIGINAL\\PRIMARY"
        writer = itk.GDCMImageIO.New()
        writer.SetKeepOriginalUID(True)
        itk.imwrite(image, str(folder / f"{series}.{99 - k:03d}.dcm"), imageio=writer)


@pytest.fixture
def two_channels(demo_dataset: Path, tmp_path: Path) -> Path:
    """The demo dataset with a second channel for each case, in a folder of its own: the first one,
    inverted."""
    folder = tmp_path / "two"
    shutil.copytree(demo_dataset / "landmarks", folder / "landmarks")
    for case, path in list_images(demo_dataset / "images").items():
        image = nib.load(path)
        (folder / "images" / case).mkdir(parents=True)
        shutil.copy(path, folder / "images" / case / "T1.nii.gz")
        inverted = 2000 - 2 * np.asarray(image.dataobj)
        nib.save(nib.Nifti1Image(inverted, image.affine), folder / "images" / case / f"{case}_T2.nii.gz")
    return folder


def test_a_dicom_series_is_the_volume_it_was_made_of(tmp_path, oblique_affine):
    write_dicom(tmp_path / "images" / "a", VOLUME, oblique_affine)
    assert list_images(tmp_path / "images") == {"a": tmp_path / "images" / "a"}
    array, affine = read_image(tmp_path / "images" / "a")
    np.testing.assert_array_equal(array, VOLUME)
    np.testing.assert_allclose(affine, oblique_affine, atol=1e-9)
    loaded = LoadChannelsd("image")({"image": str(tmp_path / "images" / "a")})["image"]
    np.testing.assert_array_equal(loaded.numpy(), VOLUME[None])
    np.testing.assert_allclose(loaded.affine, oblique_affine, atol=1e-9)


def test_two_series_in_one_folder_are_refused(tmp_path, oblique_affine):
    for series in ("1.2.3", "1.2.4"):
        write_dicom(tmp_path / "a", VOLUME, oblique_affine, series)
    for read in (read_image, lambda path: LoadChannelsd("image")({"image": str(path)})):
        with pytest.raises(LandmarkError, match="a: holds 2 DICOM series"):
            read(tmp_path / "a")


def test_slices_without_a_position_are_refused(tmp_path, oblique_affine):
    write_dicom(tmp_path / "a", VOLUME, oblique_affine)
    for path in (tmp_path / "a").iterdir():  # rename the tag of ImagePositionPatient
        path.write_bytes(path.read_bytes().replace(b"\x20\x00\x32\x00", b"\x20\x00\x31\x00"))
    with pytest.raises(LandmarkError, match="does not say where the slice lies"):
        read_image(tmp_path / "a")


def test_a_missing_slice_is_noticed(tmp_path, oblique_affine):
    write_dicom(tmp_path / "a", VOLUME, oblique_affine)
    (tmp_path / "a" / "1.2.3.097.dcm").unlink()
    with pytest.raises(LandmarkError, match="a: its slices are 5 to 10 mm apart"):
        read_image(tmp_path / "a")


def test_a_folder_without_an_image_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("nothing")
    assert list_images(tmp_path) == {}
    with pytest.raises(LandmarkError, match="a: holds neither image files nor a DICOM series"):
        read_image(tmp_path / "a")


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_channels_in_one_file_and_in_several_are_the_same_image(tmp_path, oblique_affine, suffix):
    both = np.stack([VOLUME, VOLUME[::-1]], axis=-1)
    (tmp_path / "a").mkdir()
    for name, channel in (("T1", VOLUME), ("T2", VOLUME[::-1])):
        nib.save(nib.Nifti1Image(channel, oblique_affine), tmp_path / "a" / f"{name}.nii.gz")
    if suffix == ".nii.gz":
        nib.save(nib.Nifti1Image(both, oblique_affine), tmp_path / f"b{suffix}")
    else:
        lps = np.diag([-1, -1, 1, 1.0]) @ oblique_affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image = itk.image_from_array(
            np.ascontiguousarray(both.transpose(2, 1, 0, 3), np.float32), is_vector=True
        )
        image.SetSpacing(spacing.tolist())
        image.SetDirection(itk.matrix_from_array(lps[:3, :3] / spacing))
        image.SetOrigin(lps[:3, 3].tolist())
        itk.imwrite(image, str(tmp_path / f"b{suffix}"))
    for path in (tmp_path / "a", tmp_path / f"b{suffix}"):
        array, affine = read_image(path)
        np.testing.assert_array_equal(array, both)
        np.testing.assert_allclose(affine, oblique_affine, atol=1e-4)
        loaded = LoadChannelsd("image")({"image": str(path)})["image"]
        np.testing.assert_array_equal(loaded.numpy(), np.moveaxis(both, 3, 0))
        np.testing.assert_allclose(loaded.affine, oblique_affine, atol=1e-4)
        assert loaded.meta["filename_or_obj"] == str(path)


@pytest.mark.parametrize(
    "volume, shift, message",
    [
        (VOLUME[:3], 0, r"T2.nii.gz: has the shape .*3, 5, 6.* as T1"),
        (VOLUME, 2, r"T2.nii.gz: has the affine"),
    ],
)
def test_channels_on_different_grids_are_refused(tmp_path, oblique_affine, volume, shift, message):
    moved = oblique_affine.copy()
    moved[0, 3] += shift
    (tmp_path / "a").mkdir()
    nib.save(nib.Nifti1Image(VOLUME, oblique_affine), tmp_path / "a" / "T1.nii.gz")
    nib.save(nib.Nifti1Image(volume, moved), tmp_path / "a" / "T2.nii.gz")
    for read in (read_image, lambda path: LoadChannelsd("image")({"image": str(path)})):
        with pytest.raises(LandmarkError, match=message):
            read(tmp_path / "a")


def test_a_list_of_images_in_a_datalist_is_explained(two_channels):
    entry = {"image": ["images/a/T1.nii.gz", "images/a/T2.nii.gz"], "label": "landmarks/a.mrk.json"}
    write_json(two_channels / "dataset.json", {"training": [entry]})
    with pytest.raises(
        LandmarkError, match="entry 1 lists 2 images. Put the channels of a case into a folder"
    ):
        scan_folder(two_channels)


def test_clean_channels_give_no_finding_and_other_channels_do(two_channels):
    assert check_dataset(scan_folder(two_channels), progress=False) == []
    folder = two_channels / "images" / "demo_03"
    (folder / "demo_03_T2.nii.gz").rename(folder / "demo_03_FLAIR.nii.gz")
    (two_channels / "images" / "demo_04" / "demo_04_T2.nii.gz").unlink()
    found = [(one.case, str(one)) for one in check_dataset(scan_folder(two_channels), progress=False)]
    found = [(case, text) for case, text in found if "channel" in text]
    assert [case for case, _ in found] == ["demo_03", "demo_04"]
    assert "has 2 channels (FLAIR, T1), most images have 2 channels (T1, T2)" in found[0][1]
    assert "has one channel, most images have 2 channels" in found[1][1]


def test_each_channel_has_its_own_intensities_and_name(two_channels):
    listed = scan_folder(two_channels)
    found = compute_fingerprint(listed, ("CT", "T2"), progress=False)
    single = compute_fingerprint(listed, "MRI", progress=False)
    assert found.modalities == ("CT", "T2") and single.modalities == ("MRI", "MRI")
    first, inverted = found.intensity
    assert inverted["mean"] == pytest.approx(2000 - 2 * first["mean"], rel=1e-6)
    assert inverted["percentile_00_5"] == pytest.approx(2000 - 2 * first["percentile_99_5"], rel=1e-6)
    with pytest.raises(LandmarkError, match="modality='a,b,c' names 3 channels, the images have 2"):
        compute_fingerprint(listed, ("a", "b", "c"), progress=False)
    plan = make_plan(found, "small")
    assert [one["scheme"] for one in plan.normalization] == ["ct", "zscore"]
    assert plan.network_def["input_channels"] == 2


def test_channels_are_normalised_each_by_its_own_rule():
    intensity = {"mean": 10.0, "std": 5.0, "percentile_00_5": 0.0, "percentile_99_5": 20.0}
    rules = [
        {"scheme": scheme, "nonzero": False, "intensity": intensity} for scheme in ("zscore", "ct", "ct")
    ]
    from monai.bundle import ConfigParser

    transform = Compose(ConfigParser({"all": normalization_transforms(rules)}).get_parsed_content("all"))
    image = torch.tensor(np.random.default_rng(0).normal(50, 9, (3, 8, 8, 8)), dtype=torch.float32)
    result = transform({"image": image})
    assert set(result) == {"image"}
    expected = [(image[0] - image[0].mean()) / image[0].std(unbiased=False)]
    expected += [(channel.clip(0, 20) - 10) / 5 for channel in image[1:]]
    np.testing.assert_allclose(result["image"], torch.stack(expected), atol=1e-5)


def test_a_changed_channel_changes_the_state_of_the_dataset(two_channels):
    folder = two_channels / "images" / "demo_00"
    before = files_digest([folder])
    (folder / "T1.nii.gz").touch()
    assert files_digest([folder]) != before


@pytest.mark.slow
def test_two_channels_are_trained_on_and_predicted(two_channels, tiny_recipe, tmp_path, capsys):
    work = tmp_path / "work"
    options = ["--folds", "1", "--network", "small", "--modality", "CT,T2", "--recipe", tiny_recipe]
    main(["run", str(two_channels), str(work), *options])
    train = read_json(work / "heatmap_0" / "configs" / "train.json")
    assert train["channels"] == 2 and train["normalization"][0]["_target_"] == "SplitDimd"
    inputs = read_json(work / "heatmap_0" / "configs" / "metadata.json")["network_data_format"]["inputs"][
        "image"
    ]
    assert inputs["num_channels"] == 2 and inputs["channel_def"] == {"0": "CT", "1": "T2"}
    main(["predict", str(work / "heatmap_0"), str(two_channels / "images"), str(tmp_path / "out")])
    assert len(list((tmp_path / "out").glob("*.mrk.json"))) == 6
    held_out = next((work / "predictions").glob("*.mrk.json"))
    again = read_landmarks(tmp_path / "out" / held_out.name)
    np.testing.assert_allclose(again.points, read_landmarks(held_out).points, atol=1e-4)
    with pytest.raises(LandmarkError, match="has 1 channels of shape .*, not 2"):
        LandmarkPredictor([work / "heatmap_0"]).predict(two_channels / "images" / "demo_00" / "T1.nii.gz")


def test_channels_go_to_nnlandmark_and_back(two_channels, tmp_path):
    main(["export_nnlandmark", str(two_channels), str(tmp_path / "raw")])
    described = read_json(tmp_path / "raw" / "dataset.json")
    write_json(tmp_path / "raw" / "dataset.json", {**described, "channel_names": {"0": "T2", "1": "T1 (gd)"}})
    convert("nnlandmark", tmp_path / "raw", tmp_path / "back", progress=False)
    for case, path in list_images(two_channels / "images").items():
        back = tmp_path / "back" / "images" / case
        assert sorted(file.name for file in back.iterdir()) == ["0000_T2.nii.gz", "0001_T1--gd-.nii.gz"]
        np.testing.assert_array_equal(read_image(back)[0], read_image(path)[0])
