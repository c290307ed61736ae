# SPDX-License-Identifier: Apache-2.0
"""From one annotated image to all, from the command line."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_pose_search import phantom

from auto3dlandmark.cli import main
from auto3dlandmark.formats import read_landmarks, write_landmarks
from auto3dlandmark.geometry import radial_error
from auto3dlandmark.landmarks import LandmarkSet
from auto3dlandmark.registration.elastix import elastix_is_there

pytestmark = pytest.mark.skipif(not elastix_is_there(), reason="the extra 'register' is not installed")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Blobs with a point in each: one annotated image, two others that lie askew, and a broken one."""
    top, truth = tmp_path_factory.mktemp("few"), {}
    for number, angles in enumerate(([0, 0, 0], [20, -10, 15], [90, 0, 40])):
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        volume, truth[f"case{number}"] = phantom(matrix)
        place = top / ("images" if number else "templates/images")
        place.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(volume.values, volume.affine), place / f"case{number}.nii.gz")
    write_landmarks(top / "templates/landmarks/case0.mrk.json", LandmarkSet(tuple("abcde"), truth["case0"]))
    (top / "images" / "broken.nii.gz").write_bytes(b"broken")
    return top, truth


def transfer(top, *options):
    main(["transfer", str(top / "templates"), str(top / "images"), str(top / "out"), *options])


def test_points_are_laid_onto_all_images_but_the_broken_one(folders, capsys):
    top, truth = folders
    with pytest.raises(SystemExit) as stop:
        transfer(top)
    assert "1 of 3 images have no prediction" in str(stop.value.code)
    for case in ("case1", "case2"):
        found = read_landmarks(top / "out" / f"{case}.mrk.json")
        assert radial_error(found.points, truth[case]).max() < 2 and found.estimates.unusual < 1
        assert (found.estimates.radii_mm[found.present] > 0).all()
    page = (top / "out" / "report.html").read_text()
    assert "case1" in page and "case2" in page and "<script" not in page
    assert (top / "out" / "predictions.csv").is_file() and "broken" in (
        top / "out" / "failed.csv"
    ).read_text()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        transfer(top)
    assert "2 unchanged, kept" in capsys.readouterr().out


def test_the_images_to_annotate_first_are_named(folders, capsys):
    (folders[0] / "images" / "broken.nii.gz").unlink()
    main(["transfer", str(folders[0] / "images"), "--choose", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.startswith("annotate ") for line in lines)


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["a", "b"], "transfer takes three arguments: TEMPLATES IMAGES OUT"),
        (["a", "b", "--choose", "2"], "transfer --choose takes one argument"),
    ],
)
def test_mistakes_are_told(words, sentence):
    with pytest.raises(SystemExit) as stop:
        main(["transfer", *words])
    assert sentence in str(stop.value.code)


def test_more_images_than_there_are_cannot_be_chosen(folders):
    with pytest.raises(SystemExit) as stop:
        main(["transfer", str(folders[0] / "images"), "--choose", "99"])
    assert "choose=99 must be a whole number from 1 to" in str(stop.value.code)


def test_a_folder_without_annotations_is_told(folders, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["transfer", str(folders[0] / "images"), str(folders[0] / "images"), str(tmp_path / "out")])
    assert "Expected images/CASE.nii.gz" in str(stop.value.code)
