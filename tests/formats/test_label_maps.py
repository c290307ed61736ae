# SPDX-License-Identifier: Apache-2.0
"""nnLandmark's files and label maps, in and out, and what is lost on the way."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark import LandmarkError, LandmarkSet, read_landmarks
from auto3dlandmark.cli import main
from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.data.published import convert
from auto3dlandmark.files import write_json
from auto3dlandmark.formats.label_maps import landmarks_of_labels, paint_cubes, paint_spheres
from auto3dlandmark.formats.nnlandmark_json import read_nnlandmark_cases
from auto3dlandmark.geometry import voxel_to_world, world_to_voxel
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN

NAMES = {1: "a", 2: "b", 3: "c"}


def test_a_label_map_gives_centroids(oblique_affine):
    labels = np.zeros((9, 9, 9), dtype=np.uint8)
    labels[1:4, 2:5, 3:6], labels[7, 7, 7:9] = 1, 3
    found = landmarks_of_labels(labels, oblique_affine, NAMES)
    assert found.names == ("a", "b", "c") and found.status.tolist() == [PRESENT, UNKNOWN, PRESENT]
    np.testing.assert_allclose(found.points[0], voxel_to_world(np.array([2.0, 3, 4]), oblique_affine))
    np.testing.assert_allclose(found.points[2], voxel_to_world(np.array([7, 7, 7.5]), oblique_affine))
    with pytest.raises(LandmarkError, match="the label 3, which has no name"):
        landmarks_of_labels(labels, oblique_affine, {1: "a"})


def test_cubes_tell_what_they_cannot_hold(oblique_affine):
    voxels = np.array([[4.2, 4, 4], [5.4, 4, 4], [0, 8, 8], [np.nan] * 3])
    landmarks = LandmarkSet(("a", "b", "c", "d"), voxel_to_world(voxels, oblique_affine))
    labels, lost = paint_cubes(landmarks, (10, 10, 10), oblique_affine)
    assert labels.dtype == np.uint8 and (labels == 2).sum() == 27 and lost == ["a", "c"]


@pytest.mark.parametrize("content", [[], {"case": [1]}, {"case": {"a": [1, 2]}}, {"case": {"a": None}}])
def test_a_broken_file_of_cases_is_refused(tmp_path, content):
    write_json(tmp_path / "all.json", content)
    with pytest.raises(LandmarkError, match=r"all\.json: "):
        read_nnlandmark_cases(tmp_path / "all.json")


def test_there_and_back_keeps_every_position(demo_dataset, tmp_path, capsys):
    main(["export_nnlandmark", str(demo_dataset), str(tmp_path / "raw")])
    assert "lost: demo_01: that 'bead_right' is absent" in capsys.readouterr().out
    report = convert("nnlandmark", tmp_path / "raw", tmp_path / "back", progress=False)
    assert len(report["converted"]) == 6 and report["missing"] == []
    for case in scan_folder(demo_dataset).training:
        truth, back = (
            read_landmarks(case.label),
            read_landmarks(tmp_path / "back" / "landmarks" / case.label.name),
        )
        assert back.names == truth.names
        np.testing.assert_allclose(back.points, truth.points, atol=1e-6)
        expected = [UNKNOWN if status == ABSENT else status for status in truth.status]
        assert back.status.tolist() == expected


def test_without_exact_voxels_the_label_maps_are_read(demo_dataset, tmp_path):
    main(["export_nnlandmark", str(demo_dataset), str(tmp_path / "raw")])
    (tmp_path / "raw" / "all_landmarks_voxel.json").unlink()
    convert("nnlandmark", tmp_path / "raw", tmp_path / "back", progress=False)
    case = scan_folder(demo_dataset).training[0]
    truth, back = (
        read_landmarks(case.label),
        read_landmarks(tmp_path / "back" / "landmarks" / case.label.name),
    )
    affine = nib.load(case.image).affine
    assert np.abs(world_to_voxel(back.points, affine) - world_to_voxel(truth.points, affine)).max() <= 0.5001


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("dataset.json", {"labels": []}, "must hold 'labels'"),
        (
            "dataset.json",
            {"labels": {"a": 1}, "channel_names": ["T1", "T2"]},
            "must name each channel",
        ),
        (
            "spacing.json",
            {"x": {"image_spacing": [1, 1, 1], "annotation_spacing": [1, 1, 2]}},
            "annotated in voxels of",
        ),
    ],
)
def test_a_raw_folder_that_cannot_be_understood_is_refused(demo_dataset, tmp_path, file, content, message):
    main(["export_nnlandmark", str(demo_dataset), str(tmp_path / "raw")])
    write_json(tmp_path / "raw" / file, content)
    with pytest.raises(LandmarkError, match=rf"{file}: .*{message}"):
        convert("nnlandmark", tmp_path / "raw", tmp_path / "back", progress=False)


def test_balls_have_their_landmarks_as_centroids(oblique_affine):
    random = np.random.default_rng(0)
    points = voxel_to_world(
        np.array([[10, 12, 14], [30, 31, 33], [20, 9, 25]]) + random.uniform(-0.5, 0.5, (3, 3)),
        oblique_affine,
    )
    found = LandmarkSet(("a", "b", "c", "absent"), np.vstack([points, np.full(3, np.nan)]))
    labels = paint_spheres(found, (44, 44, 44), oblique_affine, radius_mm=15)
    assert labels.dtype == np.uint8 and set(np.unique(labels)) == {0, 1, 2, 3}
    back = landmarks_of_labels(labels, oblique_affine, {1: "a", 2: "b", 3: "c", 4: "absent"})
    assert np.linalg.norm(back.points[:3] - points, axis=1).max() < 0.35 and back.status[3] == UNKNOWN


def test_balls_of_near_landmarks_do_not_overlap():
    points = np.array([[10.2, 10.1, 10.3], [13.2, 10.1, 10.3], [30.0, 30.0, 30.0]])
    labels = paint_spheres(LandmarkSet(("a", "b", "c"), points), (40, 40, 40), np.eye(4), radius_mm=4)
    counts = np.bincount(labels.ravel())
    assert counts[3] > 4 * counts[1] > 0 and counts[2] > 0
    back = landmarks_of_labels(labels, np.eye(4), {1: "a", 2: "b", 3: "c"})
    assert np.linalg.norm(back.points - points, axis=1).max() < 0.4


@pytest.mark.parametrize("place", [(-30, 0, 0), (0, 0, 0), (39, 39, 39), (39.4, 20, 20)])
def test_a_ball_at_the_border_is_cut_and_one_outside_left_out(place):
    labels = paint_spheres(LandmarkSet(("a",), np.array([place], dtype=float)), (40, 40, 40), np.eye(4), 3)
    assert bool(labels.any()) == (place[0] >= 0)
