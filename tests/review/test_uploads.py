# SPDX-License-Identifier: Apache-2.0
"""Images that somebody sends: kept under their own name, never over another, and only when they are
images."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark.review.submission import ReviewError


@pytest.mark.parametrize("name", ["..\\x.nii.gz", ".x.nii.gz", "x\n.nii.gz", "x" * 200 + ".nii.gz", "x.exe"])
def test_an_image_with_an_odd_name_is_not_taken(studies, store, name):
    with pytest.raises(ReviewError, match="cannot be the name|cannot be sent"):
        store.add_image(None, studies / "a.nii.gz", name)
    assert sorted(store.images()) == ["C3HeB.FeJ_", "a", "c"]


def test_an_image_keeps_its_dots_and_is_never_replaced(studies, store, tmp_path):
    store.save("a", (tmp_path / "dataset" / "landmarks" / "a.mrk.json").read_bytes())
    assert store.add_image(None, studies / "a.nii.gz", "B.c D_.nii.gz") == "B.c D_"
    assert store.image("B.c D_").read_bytes() == (studies / "a.nii.gz").read_bytes()
    for name in ("a.nii.gz", "A.nii.gz", "C3HeB.FeJ_.nii.gz"):
        with pytest.raises(ReviewError, match="already") as caught:
            store.add_image(None, studies / "c.nii.gz", name)
        assert caught.value.status == 409
    assert store.labelled() == ["a"]
    assert list((studies / "review" / "uploads").iterdir()) == []


def test_a_file_that_is_no_image_is_not_taken(tmp_path, store):
    (tmp_path / "fake").write_bytes(b"hello")
    with pytest.raises(ReviewError, match=r"fake.nii.gz: cannot be read as an image"):
        store.add_image("new", tmp_path / "fake", "fake.nii.gz")
    assert "new" not in store.images()


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("x.mha", b"ObjectType = Image\nElementDataFile = /etc/passwd\n", "cannot be sent"),
        ("x.mhd", b"ObjectType = Image\nElementDataFile = /etc/passwd\n", "cannot be sent"),
        ("x.nrrd", b"NRRD0004\ntype: uchar\nDATA FILE: /etc/passwd\n\n", "voxels in another file"),
        (
            "x.nrrd",
            b"NRRD0004\r\ntype: uchar\r\ndatafile: LIST\r\n/etc/passwd\r\n\r\n",
            "voxels in another file",
        ),
        ("x.nrrd", b"NRRD0004\ntype: uchar\n", "has no end"),
        # A reader that ends lines at a lone carriage return would see the field.
        ("x.nrrd", b"NRRD0004\ncontent: a\rdata file: /etc/passwd\n\n", "control characters"),
    ],
)
def test_a_header_that_leads_to_another_file_is_refused(studies, store, tmp_path, name, content, message):
    (tmp_path / "sent").write_bytes(content)
    with pytest.raises(ReviewError, match=message):
        store.add_image("sent", tmp_path / "sent", name)
    assert "sent" not in store.images() and list((studies / "review" / "uploads").glob("*")) == []


@pytest.mark.parametrize(
    "array, affine, message",
    [
        (np.full((4, 4, 4), np.nan), np.eye(4), "NaN"),
        (np.zeros((4, 4), dtype=float), np.eye(4), "shape"),
        (np.random.default_rng(0).normal(size=(4, 4, 4)), np.diag([1, 1, 0, 1.0]), "singular"),
    ],
)
def test_an_image_that_no_landmark_can_be_found_in_is_not_taken(store, tmp_path, array, affine, message):
    image = nib.Nifti1Image(array.astype(np.float32), None)
    image.set_sform(affine, 1)
    nib.save(image, tmp_path / "odd.nii.gz")
    with pytest.raises(ReviewError, match=message):
        store.add_image("odd", tmp_path / "odd.nii.gz", "odd.nii.gz")
