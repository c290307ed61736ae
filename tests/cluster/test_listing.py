# SPDX-License-Identifier: Apache-2.0
"""Which images a large job is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from auto3dlandmark.cluster.listing import Listed, listed_images, listed_in
from auto3dlandmark.errors import LandmarkError


def test_a_table_names_images_here_and_elsewhere(tmp_path):
    table = tmp_path / "cases.csv"
    table.write_text("image,case,age\nx/a.nii.gz,,3\n/there/b.c.nii.gz,other,4\ns3://bucket/d.nrrd?x=1,,5\n")
    assert listed_in(table) == [
        Listed("a", str(tmp_path / "x" / "a.nii.gz")),
        Listed("other", "/there/b.c.nii.gz"),
        Listed("d", "s3://bucket/d.nrrd?x=1"),
    ]


def test_a_parquet_table_says_the_same(tmp_path):
    pyarrow = pytest.importorskip("pyarrow.parquet", reason="the extra 'cluster' is not installed")
    import pyarrow as arrow

    pyarrow.write_table(arrow.table({"age": [3], "image": ["a.nii.gz"]}), tmp_path / "cases.parquet")
    assert listed_in(tmp_path / "cases.parquet") == [Listed("a", str(tmp_path / "a.nii.gz"))]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path\na.nii.gz\n", "needs a column 'image'"),
        ("image\n", "needs a column 'image'"),
        ("image,case\na.nii.gz,x\n,y\n", "in every row"),
        ("image\nx/a.nii.gz\ny/a.nii.gz\n", "case 'a' is there 2 times: .*x/a.nii.gz and .*y/a.nii.gz"),
        ("image\ns3://bucket/\n", "is no image file"),
        ("image\nhttp://host/a.png\n", "'http://host/a.png' is no image file"),
    ],
)
def test_a_table_that_names_no_images_is_refused(tmp_path, content, said):
    table = tmp_path / "cases.csv"
    table.write_text(content)
    with pytest.raises(LandmarkError, match=said):
        listed_in(table)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(LandmarkError, match="no such file"):
        listed_in(tmp_path / "cases.csv")
    (tmp_path / "cases.parquet").write_bytes(b"no table")
    with pytest.raises(LandmarkError, match="cannot be read as a table|is no list"):
        listed_in(tmp_path / "cases.parquet")
    with pytest.raises(LandmarkError, match="is no list of images"):
        listed_in(tmp_path / "cases.xlsx")


def test_two_images_of_one_name_are_told(tmp_path):
    with pytest.raises(LandmarkError, match="case 'a' is there 2 times"):
        listed_images([Path("x/a.nii.gz"), Path("y/a.nrrd")])
