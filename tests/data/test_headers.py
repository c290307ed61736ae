# SPDX-License-Identifier: Apache-2.0
"""Headers are read strictly: what they claim is held against the file and a limit before it is opened."""

from __future__ import annotations

import gzip

import itk
import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark import LandmarkError
from auto3dlandmark.data.headers import check_header, read_header
from auto3dlandmark.data.images import read_image

GOOD = {"type": "uchar", "dimension": "3", "sizes": "4 5 6", "encoding": "raw"}


def nrrd(path, data=bytes(120), line_end=b"\n", more=(), **fields):
    """A NRRD file with these fields instead of, or beside, good ones."""
    lines = [b"NRRD0004", *(f"{key}: {value}".encode() for key, value in {**GOOD, **fields}.items()), *more]
    path.write_bytes(line_end.join([*lines, b"", b""]) + data)
    return path


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize("compressed", [True, False])
def test_headers_of_files_that_itk_writes_are_understood(tmp_path, suffix, compressed):
    image = itk.image_from_array(np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16))
    itk.imwrite(image, str(tmp_path / f"a{suffix}"), compression=compressed)
    header = read_header(tmp_path / f"a{suffix}")
    assert header.sizes == (6, 5, 4) and header.voxel_bytes == 2
    check_header(tmp_path / f"a{suffix}")
    assert read_image(tmp_path / f"a{suffix}")[0].shape == (6, 5, 4)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_both_line_ends_are_read(tmp_path, line_end):
    assert read_header(nrrd(tmp_path / "a.nrrd", line_end=line_end)).sizes == (4, 5, 6)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"dimension": "16", "sizes": " ".join(["2"] * 16), "data": bytes(2**16)}, "claims 16 dimensions"),
        ({"sizes": "2000 2000 2000"}, "voxels; [0-9]+ are the most|more than the file can hold"),
        ({"sizes": "900 900 900", "encoding": "gzip"}, "more than the file can hold"),
        ({"sizes": "4 5 -6"}, "not that of a 3D volume"),
        ({"sizes": "4 5 0"}, "not that of a 3D volume"),
        ({"sizes": "4 5"}, "claims 3 dimensions with 2 sizes"),
        ({"sizes": "4 5 x"}, "misstates"),
        ({"type": "block"}, "misstates"),
        ({"encoding": "bzip2"}, "has the encoding 'bzip2'"),
        ({"more": [b"data file: x.raw"]}, "keeps its voxels in another file"),
        ({"more": [b"Data File:x.raw"]}, "keeps its voxels in another file"),
        ({"more": [b"datafile: LIST", b"x.raw"]}, "keeps its voxels in another file"),
        ({"more": [b"content: a\rdata file: x.raw"]}, "control characters"),
        ({"more": [b"sizes: 9 9 9"]}, "states 'sizes' twice"),
        ({"more": [b"what is this"]}, "has the line 'what is this'"),
    ],
)
def test_a_header_that_cannot_be_trusted_is_refused_before_anything_opens_the_file(
    tmp_path, changes, message
):
    path = nrrd(tmp_path / "a.nrrd", **changes)
    with pytest.raises(LandmarkError, match=rf"a\.nrrd: .*({message})"):
        read_image(path)


def test_a_small_file_of_a_huge_image_is_refused_by_the_limit(tmp_path):
    """A megabyte of zeros may well hold a thousand million of them."""
    path = nrrd(tmp_path / "a.nrrd", gzip.compress(bytes(10**7)), sizes="200 200 250", encoding="gzip")
    check_header(path)
    with pytest.raises(LandmarkError, match="1000000 are the most that are opened.*MOST_VOXELS"):
        check_header(path, most_voxels=10**6)


def test_a_nifti_that_claims_more_than_it_holds_is_refused(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    image.header["dim"][1:4] = 2000
    nib.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[42:48] = np.array([2000, 2000, 2000], "<i2").tobytes()
    (tmp_path / "a.nii").write_bytes(bytes(content))
    with pytest.raises(LandmarkError, match=r"a\.nii: .*2000 x 2000 x 2000"):
        read_image(tmp_path / "a.nii")
