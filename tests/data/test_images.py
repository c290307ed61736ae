# SPDX-License-Identifier: Apache-2.0
"""Images as an array and an affine."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark.data.folder import list_images
from auto3dlandmark.data.images import (
    IMAGE_SUFFIXES,
    case_id,
    read_geometry,
    read_image,
    reorient_to_ras,
)
from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.geometry import voxel_to_world


@pytest.fixture
def volume():
    """No two voxels alike, no two sides of one length."""
    return np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


@pytest.mark.parametrize(
    "name, case",
    [
        ("a.nii.gz", "a"),
        ("a.nii", "a"),
        ("C3HeB.FeJ_.nii.gz", "C3HeB.FeJ_"),
        ("folder.nii/b c.NRRD", "b c"),
        ("a.nii.gz.nii", "a.nii.gz"),
        ("a.mha", "a"),
        ("a.csv", None),
        ("a.gz", None),
        ("nii", None),
        (".nii.gz", None),
        ("._a.nii.gz", None),
    ],
)
def test_a_case_is_named_by_its_file_without_the_suffix(name, case):
    assert case_id(name) == case


def test_images_are_listed_by_case_and_nothing_else_is(tmp_path):
    for name in ("b.nii.gz", "C3HeB.FeJ_.nii", "a.mha", "notes.txt", "._a.nii.gz", "x.mhd", "x.raw"):
        (tmp_path / name).touch()
    (tmp_path / "folder.nii.gz").mkdir()
    assert sorted(list_images(tmp_path)) == ["C3HeB.FeJ_", "a", "b", "x"]
    assert list_images(tmp_path)["b"] == tmp_path / "b.nii.gz"


def test_two_images_of_one_case_are_refused(tmp_path):
    for name in ("a.nii", "a.nii.gz"):
        (tmp_path / name).touch()
    with pytest.raises(LandmarkError, match=r"case 'a' has a second image, a\.nii"):
        list_images(tmp_path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
def test_a_nifti_image_is_read_as_it_stands(tmp_path, volume, oblique_affine, suffix):
    nib.save(nib.Nifti1Image(volume, oblique_affine), tmp_path / "a.nii.gz")
    path = tmp_path / f"b{suffix}"
    content = (tmp_path / "a.nii.gz").read_bytes()
    path.write_bytes(content if suffix.lower().endswith("gz") else gzip.decompress(content))
    array, affine = read_image(path)
    np.testing.assert_array_equal(array, volume)
    np.testing.assert_allclose(affine, oblique_affine, atol=1e-5)  # NIfTI keeps float32


def test_stored_values_are_scaled_as_the_header_says(tmp_path, volume):
    image = nib.Nifti1Image(volume, np.eye(4))
    image.header.set_slope_inter(2.0, -10.0)
    nib.save(image, tmp_path / "a.nii")
    stored = np.asarray(nib.load(tmp_path / "a.nii").dataobj.get_unscaled())
    np.testing.assert_allclose(read_image(tmp_path / "a.nii")[0], stored * 2.0 - 10.0)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_an_itk_image_is_the_nifti_image_of_the_same_volume(tmp_path, volume, suffix):
    itk = pytest.importorskip("itk")
    image = itk.image_from_array(np.ascontiguousarray(volume.transpose(2, 1, 0)))
    image.SetSpacing([2.0, 3.0, 5.0])
    image.SetOrigin([7.0, 8.0, 9.0])
    image.SetDirection(itk.matrix_from_array(np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]])))
    for name in (f"a{suffix}", "a.nii.gz"):
        itk.imwrite(image, str(tmp_path / name))
    (array, affine), (nifti, nifti_affine) = (
        read_image(tmp_path / f"a{suffix}"),
        read_image(tmp_path / "a.nii.gz"),
    )
    np.testing.assert_array_equal(array, volume)
    np.testing.assert_array_equal(array, nifti)
    np.testing.assert_allclose(affine, nifti_affine, atol=1e-5)
    np.testing.assert_allclose(affine[:3, 3], [-7, -8, 9])  # the origin is LPS in ITK, RAS here


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(b"this is no image" * 100), "cannot be read as an image"),
        (lambda path: path.unlink(), "there is no such file"),
        (lambda path: (path.unlink(), path.mkdir()), "holds neither image files nor"),
    ],
    ids=["empty", "text", "missing", "folder"],
)
def test_a_file_that_is_no_image_is_named(tmp_path, suffix, spoil, message):
    path = tmp_path / f"a{suffix}"
    path.touch()
    spoil(path)
    with pytest.raises(LandmarkError, match=rf"a{suffix}: {message}"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_image_is_named(tmp_path, suffix, share):
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 1000, size=(20, 20, 20)).astype(np.int16)
    nib.save(nib.Nifti1Image(noise, np.eye(4)), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(LandmarkError, match=rf"a{suffix}: cannot be read as an image"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.dcm", "a.png", "a"])
def test_an_unknown_kind_of_image_is_refused_with_the_known_ones(tmp_path, name):
    (tmp_path / name).write_bytes(b"content")
    with pytest.raises(LandmarkError, match=rf"{name}: unknown kind of image\. .*\.nii\.gz"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_reorienting_moves_no_voxel_in_the_world(volume, oblique_affine, axes, signs):
    affine = oblique_affine.copy()
    affine[:3, :3] = (oblique_affine[:3, :3] * signs)[:, axes]
    turned, turned_affine = reorient_to_ras(volume, affine)
    for voxel in np.ndindex(turned.shape):
        original = np.argwhere(volume == turned[voxel])[0]
        np.testing.assert_allclose(
            voxel_to_world(voxel, turned_affine), voxel_to_world(original, affine), atol=1e-9
        )


def test_reoriented_axes_run_right_anterior_superior(volume):
    lps_slices_first = np.array([[0, -1, 0, 0], [0, 0, -2, 0], [3, 0, 0, 0], [0, 0, 0, 1.0]])
    turned, affine = reorient_to_ras(volume, lps_slices_first)
    assert turned.shape == (5, 6, 4)
    np.testing.assert_allclose(affine[:3, :3], np.diag([1, 2, 3]))


def test_a_flat_image_is_told(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 5), np.float32), np.eye(4)), tmp_path / "flat.nii.gz")
    with pytest.raises(LandmarkError, match=r"flat\.nii\.gz: has 2 axes. A 3D image is needed"):
        read_geometry(tmp_path / "flat.nii.gz")
