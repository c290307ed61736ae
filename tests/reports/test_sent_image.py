# SPDX-License-Identifier: Apache-2.0
"""What is sent is one file, with the one geometry that our own readers see."""

from __future__ import annotations

import gzip

import itk
import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark.data.images import read_image
from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.reports.sent_image import MOST_KEPT, gzipped, image_mark, sent_file, sent_name

AFFINE = np.array([[0, 0, 2.5, 5], [-1.5, 0, 0, 6], [0, 2, 0, 7], [0, 0, 0, 1]])


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(-900, 900, (3, 4, 5)).astype(np.int16)


def written(path, array, sform=1, qform=0, dtype=None):
    image = nib.Nifti1Image(array, None, dtype=dtype)
    image.set_sform(AFFINE, code=sform)
    image.set_qform(np.diag([3, 3, 3, 1.0]), code=qform)
    nib.save(image, path)
    return path


def first_geometry(path):
    """As a reader sees it that takes the second geometry where its code is the larger one."""
    header = nib.load(path).header
    return header.get_qform() if header["qform_code"] > header["sform_code"] else header.get_sform()


@pytest.mark.parametrize("codes", [(1, 0), (1, 1), (1, 2), (2, 1), (0, 1), (0, 0)])
def test_every_reader_sees_our_geometry(tmp_path, array, codes):
    path = written(tmp_path / "a.nii", array, *codes)
    file = sent_file(path, tmp_path / "kept", nifti=True)
    seen, affine = read_image(path)
    np.testing.assert_allclose(first_geometry(file), affine)
    np.testing.assert_array_equal(nib.load(file).dataobj, seen)
    assert (file == path) == (codes in [(1, 0), (1, 1), (2, 1)])
    assert sent_file(path, tmp_path / "kept") == path and sent_name(path) == "a.nii"  # as Slicer is sent it


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_other_formats_become_nifti(tmp_path, array, suffix):
    path = tmp_path / f"a.b{suffix}"
    image = itk.image_from_array(np.ascontiguousarray(array.T))
    image.SetSpacing([1, 2, 3])
    image.SetOrigin([4, 5, 6])
    itk.imwrite(image, str(path))
    file = sent_file(path, tmp_path / "kept", nifti=True)
    seen, affine = read_image(path)
    np.testing.assert_allclose(nib.load(file).affine, affine)
    np.testing.assert_array_equal(nib.load(file).dataobj, seen)
    assert sent_name(path, nifti=True) == "a.b.nii.gz"
    assert (sent_file(path, tmp_path / "kept") == path) == (suffix != ".mhd")  # whose voxels lie elsewhere


def test_a_folder_is_one_file_and_its_mark_follows_its_files(tmp_path, array):
    case = tmp_path / "case"
    case.mkdir()
    for number, name in enumerate("ab"):
        written(case / f"case_{name}.nii.gz", array + number)
    file = sent_file(case, tmp_path / "kept")
    assert nib.load(file).shape == (3, 4, 5, 2) and sent_name(case) == "case.nii.gz"
    assert sent_file(case, tmp_path / "kept") == file
    mark = image_mark(case)
    written(case / "case_b.nii.gz", array + 100)
    assert image_mark(case) != mark
    changed = sent_file(case, tmp_path / "kept")
    assert nib.load(changed).dataobj[..., 1].max() == array.max() + 100


@pytest.mark.parametrize(("dtype", "becomes"), [(bool, "u1"), (np.int64, "f4"), (np.float64, "f8")])
def test_numbers_that_browsers_do_not_show_are_changed(tmp_path, dtype, becomes):
    path = tmp_path / "case"
    path.mkdir()
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    if dtype is bool:
        itk.imwrite(itk.image_from_array(array.T.astype(np.uint8)), str(path / "a.nrrd"))
    else:
        written(path / "a.nii", array, dtype=dtype)
    assert nib.load(sent_file(path, tmp_path / "kept")).header.get_data_dtype().str[1:] == becomes


def test_what_was_made_does_not_pile_up(tmp_path, array):
    path = tmp_path / "a.nii"
    for number in range(MOST_KEPT + 2):
        written(path, array + number, 1, 2)
        sent_file(path, tmp_path / "kept", nifti=True)
    assert len(list((tmp_path / "kept").iterdir())) == MOST_KEPT


def test_a_broken_image_is_named(tmp_path):
    path = tmp_path / "a.nrrd"
    path.write_bytes(b"NRRD0004\nxx")
    with pytest.raises(LandmarkError, match="a.nrrd: cannot be read as an image"):
        sent_file(path, tmp_path / "kept", nifti=True)
    assert not (tmp_path / "kept").exists()


def test_compressed_content_is_the_content(tmp_path, array):
    path = written(tmp_path / "a.nii", array)
    assert gzip.decompress(b"".join(gzipped(path))) == path.read_bytes()
