# SPDX-License-Identifier: Apache-2.0
"""``pairs.csv``: which landmarks mirror each other."""

from __future__ import annotations

import pytest

from auto3dlandmark.data.datalist import read_datalist, scan_folder, write_datalist
from auto3dlandmark.errors import LandmarkError


def test_pairs_of_a_folder_reach_its_datalist(write_dataset, tmp_path):
    folder = write_dataset()
    first, second = scan_folder(folder).landmark_names[:2]
    (folder / "pairs.csv").write_text(f"left,right\n{first},{second}\n")
    listed = scan_folder(folder)
    assert listed.left_right_pairs == ((first, second),)
    write_datalist(tmp_path / "list.json", listed)
    assert read_datalist(tmp_path / "list.json").left_right_pairs == ((first, second),)


@pytest.mark.parametrize(
    "text, said",
    [
        ("a,b\n", "the header is 'a,b'. It must be left,right"),
        ("left,right\n{0},nobody\n", "row 2: 'nobody' is no landmark"),
        ("left,right\n{0}\n", "row 2: must hold two names"),
        ("left,right\n{0},{0}\n", "row 2: .* is in more than one pair"),
        ("left,right\n{0},{1}\n{1},{0}\n", "row 3: .* is in more than one pair"),
    ],
)
def test_faults_are_told_with_their_row(write_dataset, text, said):
    folder = write_dataset()
    (folder / "pairs.csv").write_text(text.format(*scan_folder(folder).landmark_names))
    with pytest.raises(LandmarkError, match=said):
        scan_folder(folder)
