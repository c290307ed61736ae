# SPDX-License-Identifier: Apache-2.0
"""What a dataset has and lacks is told, whether or not anything is wrong with it."""

from __future__ import annotations

import shutil

import numpy as np

from auto3dlandmark import LandmarkSet, read_landmarks, write_landmarks
from auto3dlandmark.checks.inventory import inventory
from auto3dlandmark.cli import main
from auto3dlandmark.data.datalist import scan_folder

EIGHT = tuple("abcdefgh")


def erase(folder, case, names):
    """Leave landmarks of a case unplaced."""
    path = folder / "landmarks" / f"{case}.mrk.json"
    found = read_landmarks(path)
    gone = np.isin(found.names, names)
    write_landmarks(path, LandmarkSet(found.names, np.where(gone[:, None], np.nan, found.points)))


def test_images_without_landmarks_are_counted(write_dataset):
    folder = write_dataset(EIGHT)
    (folder / "landmarks" / "c.mrk.json").unlink()
    assert inventory(scan_folder(folder), 8)[0] == "8 images: 7 with landmarks, 1 without"


def test_cases_with_nothing_placed_and_landmarks_placed_nowhere_or_seldom_are_named(write_dataset):
    folder = write_dataset(EIGHT)
    erase(folder, "a", ["nose", "left_ear", "right_ear", "chin"])
    for case in EIGHT:
        erase(folder, case, ["chin"] if case == "b" else ["chin", "nose"])
    told = "\n".join(inventory(scan_folder(folder), 8))
    assert "nothing is placed in 'a'" in told
    assert "placed in no case, and so not learnt: 'chin'" in told
    assert "placed in few of the 8 cases: nose (1)" in told
    assert "compared between cases" not in told


def test_few_cases_are_told_not_to_be_compared(write_dataset, capsys):
    main(["check", str(write_dataset(("a", "b")))])
    assert "from 8 cases on" in capsys.readouterr().out


def test_of_a_single_case_it_is_told_that_nothing_can_be_held_out(write_dataset, tmp_path, capsys):
    folder = write_dataset(("a", "b"))
    shutil.move(folder / "landmarks" / "b.mrk.json", tmp_path)
    main(["check", str(folder)])
    assert "nothing can be held out" in capsys.readouterr().out
