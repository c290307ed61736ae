# SPDX-License-Identifier: Apache-2.0
"""Predicting with one bundle or several, and what happens to bundles and images that are no good."""

from __future__ import annotations

import math
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from auto3dlandmark import LandmarkError, read_landmarks
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.inference.label_map import HeatmapInferer
from auto3dlandmark.inference.predictor import LandmarkPredictor, predict_images
from auto3dlandmark.landmarks import ABSENT, PRESENT, LandmarkSet
from auto3dlandmark.transforms import GaussianTarget


@pytest.fixture
def image(demo_dataset):
    return demo_dataset / "images" / "demo_02.nii.gz"


@pytest.fixture
def other_bundle(trained_bundle, tmp_path):
    """The same bundle with other weights."""
    shutil.copytree(trained_bundle, tmp_path / "other")
    weights = torch.load(tmp_path / "other" / "models" / "model.pt")
    generator = torch.Generator().manual_seed(1)
    changed = {
        key: value + 0.2 * torch.randn(value.shape, generator=generator) for key, value in weights.items()
    }
    torch.save(changed, tmp_path / "other" / "models" / "model.pt")
    return tmp_path / "other"


def test_points_are_in_the_images_own_frame(trained_bundle, image):
    predictor = LandmarkPredictor([trained_bundle])

    class Perfect(torch.nn.Module):
        """Answers with a peak at one place of the network's grid."""

        def forward(self, patch):
            points = torch.tensor([[[5.0, 6.0, 7.0]] * 5])
            return 30 * GaussianTarget(1.0)(points, torch.ones(1, 5), patch.shape[2:]).dense(patch.shape[2:])

    predictor.members[0].network = Perfect()
    network_input = predictor.members[0].load(image)
    landmarks = predictor.predict(image)
    grid = network_input.affine.numpy()
    # The window is padded on both sides; the peak moves with it.
    padding = np.array([(-(-size // 4) * 4 - size) // 2 for size in network_input.shape[1:]])
    expected = grid[:3, :3] @ (np.array([5, 6, 7]) - padding) + grid[:3, 3]
    assert np.allclose(landmarks.points[0], expected, atol=0.2)


def test_averaging_a_bundle_with_itself_changes_nothing(trained_bundle, image):
    once, twice = (LandmarkPredictor([trained_bundle] * times).predict(image) for times in (1, 2))
    # One alone is reduced from its features, more exactly than the bfloat16 of its last layer.
    assert np.allclose(once.points, twice.points, atol=0.02, equal_nan=True)


def test_a_bundle_with_another_inferer_is_decoded_from_whole_heatmaps(trained_bundle, image, tmp_path):
    """As when somebody puts MONAI's own into inference.json."""
    folder = shutil.copytree(trained_bundle, tmp_path / "own")
    path = folder / "configs" / "inference.json"
    config = read_json(path)
    window = {"_target_": "SlidingWindowInferer", "roi_size": "@roi_size", "overlap": 0.5, "mode": "gaussian"}
    config["inferer"] = {**config["inferer"], "inferer": window}
    write_json(path, config)
    whole, streamed = LandmarkPredictor([folder]), LandmarkPredictor([trained_bundle])
    assert whole.holds_heatmaps and not streamed.holds_heatmaps
    assert whole.points_of_each(image).shape == streamed.points_of_each(image).shape
    assert np.isfinite(whole.predict(image).points).any()


def test_several_bundles_are_averaged(trained_bundle, other_bundle, image):
    predictor = LandmarkPredictor([trained_bundle, other_bundle])
    members = [member.heatmaps(member.load(image)) for member in predictor.members]
    assert not torch.allclose(members[0], members[1])
    decode = predictor.members[0].decode
    peaks = decode.peaks((members[0] + members[1]) / 2, predictor.members[0].load(image))
    found = predictor.predict(image)
    assert np.allclose(found.points[found.present], peaks.first[found.present], atol=0.02)


def test_only_a_landmark_that_was_absent_before_may_be_predicted_absent(trained_bundle, image):
    predictor = LandmarkPredictor([trained_bundle])
    assert predictor.members[0].presence.may_be_absent == {"bead_right"}
    landmarks = predictor.predict(image)
    assert {name for name, present in zip(landmarks.names, landmarks.present) if not present} <= {
        "bead_right"
    }


def test_files_are_named_after_cases_and_keep_names_and_scores(trained_bundle, image, tmp_path):
    shutil.copy(image, tmp_path / "C3HeB.FeJ_.nii.gz")
    (path,) = predict_images(
        LandmarkPredictor([trained_bundle]), [tmp_path / "C3HeB.FeJ_.nii.gz"], tmp_path / "out", False
    )
    assert path == tmp_path / "out" / "C3HeB.FeJ_.mrk.json"
    landmarks = read_landmarks(path)
    assert list(landmarks.names) == read_json(trained_bundle / "configs" / "inference.json")["landmark_names"]
    assert ((landmarks.scores >= 0) & (landmarks.scores <= 1)).all()


def test_a_moved_bundle_finds_the_same_points(trained_bundle, image, tmp_path):
    shutil.copytree(trained_bundle, tmp_path / "moved")
    here, there = (
        LandmarkPredictor([folder]).predict(image) for folder in (trained_bundle, tmp_path / "moved")
    )
    assert np.array_equal(here.points, there.points, equal_nan=True)


def test_a_folder_that_is_no_bundle_is_named(tmp_path):
    with pytest.raises(LandmarkError, match="is not a bundle"):
        LandmarkPredictor([tmp_path])


def test_an_untrained_bundle_says_so(tiny_bundle):
    with pytest.raises(LandmarkError, match=r"model\.pt: there is no such file. Train the bundle first"):
        LandmarkPredictor([tiny_bundle])


def test_weights_of_another_network_are_refused(trained_bundle, tmp_path):
    shutil.copytree(trained_bundle, tmp_path / "wrong")
    torch.save({"a": torch.zeros(1)}, tmp_path / "wrong" / "models" / "model.pt")
    with pytest.raises(LandmarkError, match=r"model\.pt: does not fit the network"):
        LandmarkPredictor([tmp_path / "wrong"])


def test_bundles_of_other_landmarks_cannot_be_averaged(trained_bundle, tmp_path):
    shutil.copytree(trained_bundle, tmp_path / "other")
    config = read_json(tmp_path / "other" / "configs" / "inference.json")
    write_json(tmp_path / "other" / "configs" / "inference.json", {**config, "landmark_names": list("abcde")})
    with pytest.raises(LandmarkError, match="finds other landmarks"):
        LandmarkPredictor([trained_bundle, tmp_path / "other"])


@pytest.fixture
def finer_bundle(trained_bundle, tmp_path):
    """The trained bundle on a grid of 2 mm instead of 3: another network as far as the grid goes."""
    folder = shutil.copytree(trained_bundle, tmp_path / "finer")
    config = read_json(folder / "configs" / "inference.json")
    write_json(folder / "configs" / "inference.json", {**config, "spacing": [2.0, 2.0, 2.0]})
    return folder


def with_blob(member, point, monkeypatch):
    """Make a member see a Gaussian of 3 mm, summing to one, around a point of the world."""

    def heatmaps(grid):
        index = torch.stack(
            torch.meshgrid(*[torch.arange(size) for size in grid.shape[1:]], indexing="ij"), -1
        )
        world = index.double() @ grid.affine[:3, :3].T + grid.affine[:3, 3]
        blob = torch.exp(-((world - torch.as_tensor(point)) ** 2).sum(-1) / (2 * 3.0**2)).float()
        return (blob / blob.sum()).expand(len(member.presence.names), *blob.shape)

    monkeypatch.setattr(member, "heatmaps", heatmaps)


def test_networks_of_different_spacings_are_fused_in_the_world(
    trained_bundle, finer_bundle, image, monkeypatch
):
    predictor = LandmarkPredictor([trained_bundle, finer_bundle])
    picture = nib.load(image)
    middle = picture.affine[:3, :3] @ (np.array(picture.shape) / 2) + picture.affine[:3, 3]
    first, second = middle + [1.0, 0.5, -0.7], middle + [-0.4, 0.1, 0.9]
    with_blob(predictor.members[0], first, monkeypatch)
    with_blob(predictor.members[1], second, monkeypatch)
    heatmaps, radius = predictor.heatmaps(image)
    assert np.allclose(heatmaps.pixdim, 2)  # the finest of the grids
    assert radius == math.ceil(predictor.members[0].decode.radius * 1.5)
    assert float(heatmaps[0].sum()) == pytest.approx(1, abs=0.02)  # both count alike
    landmarks = predictor.conclude(predictor.peaks_of(heatmaps, radius))
    assert np.allclose(landmarks.points[0], (first + second) / 2, atol=0.15)
    assert landmarks.scores[0] > 0.95


@pytest.mark.parametrize(
    "tta, several, mm",
    [
        (True, False, 0.005),
        (False, True, 0.005),
        (True, True, 0.05),
    ],  # whole ones of both are resampled twice
)
def test_what_is_kept_is_fused_as_whole_heatmaps_are(
    trained_bundle, finer_bundle, image, tmp_path, tta, several, mm
):
    folders = [shutil.copytree(trained_bundle, tmp_path / "mirrored"), finer_bundle]
    for folder in folders:
        config = read_json(folder / "configs" / "inference.json")
        changed = {"flip_pairs": [[0, 1], [2]], "inference_autocast": False}
        write_json(folder / "configs" / "inference.json", {**config, **changed})
    predictor = LandmarkPredictor(folders[: 1 + several], tta=tta)
    assert not predictor.holds_heatmaps
    kept, whole = predictor.peaks(image), predictor.peaks_of(*predictor.heatmaps(image))
    np.testing.assert_allclose(kept.first, whole.first, atol=mm)
    np.testing.assert_allclose(kept.masses[:, 0], whole.masses[:, 0], atol=5e-3)


def test_the_order_of_fused_bundles_does_not_matter(trained_bundle, finer_bundle, image):
    one = LandmarkPredictor([trained_bundle, finer_bundle]).predict(image)
    other = LandmarkPredictor([finer_bundle, trained_bundle]).predict(image)
    assert np.allclose(one.points, other.points, atol=1e-4, equal_nan=True)


def test_heatmaps_of_different_kinds_cannot_be_averaged(trained_bundle, tmp_path):
    folder = shutil.copytree(trained_bundle, tmp_path / "sigmoid")
    config = read_json(folder / "configs" / "inference.json")
    write_json(folder / "configs" / "inference.json", {**config, "activation": "sigmoid"})
    (folder / "configs" / "train.json").unlink()  # which would tell that it was trained otherwise
    with pytest.raises(LandmarkError, match="Only bundles with the same kind can be averaged"):
        LandmarkPredictor([trained_bundle, folder])


def test_the_map_for_stock_ensembles_has_its_peaks_at_the_points(trained_bundle, image, monkeypatch):
    inferer = HeatmapInferer(trained_bundle / "configs")
    picture = nib.load(image)
    voxel = np.array([14.3, 17.0, 10.6])
    point = picture.affine[:3, :3] @ voxel + picture.affine[:3, 3]
    names = inferer.predictor.names
    points = np.vstack([point, np.full((len(names) - 1, 3), np.nan)])
    status = np.array([PRESENT, *[ABSENT] * (len(names) - 1)])
    monkeypatch.setattr(inferer.predictor, "predict", lambda path: LandmarkSet(names, points, status))
    result = inferer.infer({"image": str(image)})
    assert result.shape == (1 + len(inferer.predictor.names), *picture.shape)
    assert np.allclose(result.affine, picture.affine)
    assert (result[0] == 0.5).all()
    peak = np.unravel_index(int(result[1].argmax()), picture.shape)
    assert list(peak) == [14, 17, 11] and 0.9 < float(result[1].max()) <= 1 and not result[2:].any()
    blob = np.argwhere(np.asarray(result.argmax(dim=0)) == 1)
    assert len(blob) > 20 and np.abs(blob.mean(axis=0) - voxel).max() < 0.2


def test_no_bundle_at_all_is_refused():
    with pytest.raises(LandmarkError, match="no bundle given"):
        LandmarkPredictor([])


@pytest.mark.parametrize("kind", ["garbage", "empty", "nan", "flat affine", "4D"])
def test_a_bad_image_is_named(kind, trained_bundle, image, tmp_path):
    good = nib.load(image)
    path = tmp_path / "bad.nii.gz"
    voxels, affine = np.asarray(good.dataobj, dtype=np.float32), good.affine.copy()
    if kind == "garbage":
        path.write_bytes(b"this is no image")
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        if kind == "nan":
            voxels[3, 3, 3] = np.nan
        if kind == "flat affine":
            affine[:3, 0] = affine[:3, 1]
        if kind == "4D":
            voxels = np.stack([voxels] * 2, axis=-1)
        picture = nib.Nifti1Image(voxels, affine)
        picture.header.set_sform(affine, code=1)
        picture.header.set_qform(None, code=0) if kind == "flat affine" else None
        nib.save(picture, path)
    with pytest.raises(LandmarkError, match=r"bad\.nii\.gz"):
        LandmarkPredictor([trained_bundle]).predict(path)
