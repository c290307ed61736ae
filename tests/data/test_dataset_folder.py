# SPDX-License-Identifier: Apache-2.0
"""Ways to keep images and landmark files that are understood without being told."""

from __future__ import annotations

import shutil

import pytest

from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.errors import LandmarkError


@pytest.mark.parametrize(
    "images, landmarks", [("", ""), ("Volumes", "LMs")], ids=["side by side", "SlicerMorph"]
)
def test_other_ways_to_keep_images_and_landmarks_are_understood(write_dataset, tmp_path, images, landmarks):
    folder, other = write_dataset(("a", "C3HeB.FeJ_", "c")), tmp_path / "other"
    shutil.copytree(folder / "images", other / images, dirs_exist_ok=True)
    shutil.copytree(folder / "landmarks", other / landmarks, dirs_exist_ok=True)
    (other / "groups.csv").write_text("case,group\na,one\n")
    found = scan_folder(other)
    assert [case.id for case in found.training] == ["C3HeB.FeJ_", "a", "c"]
    assert found.training[1].label == other / landmarks / "a.mrk.json"
    assert found.training[1].group == "one"


def test_two_folders_of_landmarks_are_not_chosen_from(write_dataset, tmp_path):
    folder, other = write_dataset(), tmp_path / "other"
    shutil.copytree(folder / "images", other / "Volumes")
    for rater in ("rater1", "rater2"):
        shutil.copytree(folder / "landmarks", other / rater)
    with pytest.raises(LandmarkError, match="holds no images|there is no folder labels/final"):
        scan_folder(other)
