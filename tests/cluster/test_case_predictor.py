# SPDX-License-Identifier: Apache-2.0
"""A case may be asked for again after a process died: nothing is made twice, nobody's points are lost."""

from __future__ import annotations

import json

import numpy as np
import pytest
from number_maker import NumberMaker

from auto3dlandmark import read_landmarks, write_landmarks
from auto3dlandmark.cluster.case_predictor import MOST_ATTEMPTS, CasePredictor
from auto3dlandmark.cluster.fetching import fetched
from auto3dlandmark.landmarks import LandmarkSet

FILE = "cases/0000/a.mrk.json"


@pytest.fixture
def ask(tmp_path):
    """Asks for the case of an image file that holds 4, as a cluster does."""
    (tmp_path / "a.nii.gz").write_text("4")
    (tmp_path / "unfinished").mkdir()

    def ask(maker=None, job="job", **more):
        asked = {"case": "a", "image": str(tmp_path / "a.nii.gz"), "file": FILE}
        asked |= {"known": "", "file_digest": "", "overwrite": False, **more}
        folders = str(tmp_path / "out"), str(tmp_path / "unfinished")
        predictor = CasePredictor(maker or NumberMaker(), *folders, job)
        batch = {key: np.array([value]) for key, value in fetched(asked).items()}
        answer = {key: values[0] for key, values in predictor(batch).items()}
        return {**answer, "rows": json.loads(answer["rows"])}

    return ask


def times_made(tmp_path):
    return len((tmp_path / "a.nii.gz.log").read_text())


def test_a_case_gets_its_file_and_its_rows(ask, tmp_path):
    answer = ask()
    assert (answer["case"], answer["became"], answer["failed"]) == ("a", "made", "")
    here, gone = answer["rows"]
    assert (here["landmark"], here["x_mm"]) == ("here", 4)
    assert (here["status"], gone["status"]) == ("present", "unknown")
    assert here["made_by"] == "first" and here["file"] == FILE and len(here["image_digest"]) > 8
    assert read_landmarks(tmp_path / "out" / FILE).points[0, 2] == 4


def test_what_was_made_before_a_process_died_is_not_made_again(ask, tmp_path):
    first = ask()
    assert str(ask()) == str(first) and times_made(tmp_path) == 1
    assert ask(NumberMaker("second"))["became"] == "made" and times_made(tmp_path) == 2
    (tmp_path / "a.nii.gz").write_text("5")
    assert ask(NumberMaker("second"))["rows"][0]["x_mm"] == 5 and times_made(tmp_path) == 3


def test_what_the_table_knows_is_kept(ask, tmp_path):
    row = ask()["rows"][0]
    (tmp_path / "unfinished" / FILE).unlink()
    known = {"known": row["image_digest"], "file_digest": row["file_digest"]}
    assert ask(**known)["became"] == "kept" and times_made(tmp_path) == 1
    (tmp_path / "out" / FILE).unlink()
    assert ask(**known)["became"] == "made" and times_made(tmp_path) == 2


@pytest.mark.parametrize("known", [True, False], ids=["edited since", "somebody's own"])
def test_points_of_somebody_stay_until_they_may_be_replaced(ask, tmp_path, known):
    digest = ask()["rows"][0]["file_digest"] if known else ""
    if known:
        (tmp_path / "unfinished" / FILE).unlink()
    write_landmarks(tmp_path / "out" / FILE, LandmarkSet(["here"], [[1.0, 2, 3]]))
    answer = ask(file_digest=digest)
    assert answer["became"] == "edited" and "edited since" in answer["rows"][0]["note"]
    assert read_landmarks(tmp_path / "out" / FILE).points[0, 2] == 3
    assert ask(file_digest=digest, overwrite=True)["became"] == "made"
    assert read_landmarks(tmp_path / "out" / FILE).points[0, 2] == 4


def test_points_edited_while_the_job_runs_stay(ask, tmp_path):
    ask()
    write_landmarks(tmp_path / "out" / FILE, LandmarkSet(["here"], [[1.0, 2, 3]]))
    assert ask()["became"] == "edited"
    assert read_landmarks(tmp_path / "out" / FILE).points[0, 2] == 3


def test_a_case_that_kills_is_given_up(ask, tmp_path):
    begun = tmp_path / "unfinished" / FILE
    begun.parent.mkdir(parents=True)
    begun.write_text("." * (MOST_ATTEMPTS - 1))  # as processes left it that died
    write_landmarks(tmp_path / "out" / FILE, LandmarkSet(["here"], [[1.0, 2, 3]]))  # the last thing one did
    assert ask()["became"] == "made"
    begun.write_text("." * MOST_ATTEMPTS)
    answer = ask()
    assert answer["became"] == "failed" and f"died, {MOST_ATTEMPTS} times" in answer["failed"]


def test_a_broken_image_and_a_bundle_that_cannot_be_loaded_are_sentences(ask, tmp_path):
    assert ask(NumberMaker(refusal="The bundle is not there."))["failed"] == "The bundle is not there."
    (tmp_path / "a.nii.gz").write_text("broken")
    assert "cannot be read as an image" in ask()["failed"]
    (tmp_path / "a.nii.gz").unlink()
    assert "a.nii.gz: there is no such file" in ask()["failed"]


def test_what_failed_is_tried_again_by_the_next_job_only(ask, tmp_path):
    (tmp_path / "a.nii.gz").write_text("broken")
    first = ask()
    assert first["became"] == "failed" and str(ask()) == str(first) and times_made(tmp_path) == 1
    assert ask(job="next")["became"] == "failed" and times_made(tmp_path) == 2
    (tmp_path / "a.nii.gz").write_text("4")
    assert ask(job="next")["became"] == "made" and times_made(tmp_path) == 3


def test_points_of_somebody_stay_after_replacing_them_failed(ask, tmp_path):
    write_landmarks(tmp_path / "out" / FILE, LandmarkSet(["here"], [[1.0, 2, 3]]))
    (tmp_path / "a.nii.gz").write_text("broken")
    assert ask(overwrite=True)["became"] == "failed"
    (tmp_path / "a.nii.gz").write_text("4")
    assert ask(job="next")["became"] == "edited"
    assert read_landmarks(tmp_path / "out" / FILE).points[0, 2] == 3


def test_a_folder_that_other_machines_do_not_see_is_told_and_not_made(ask, tmp_path):
    (tmp_path / "unfinished").rmdir()
    assert "out: is not there on" in ask()["failed"] and not (tmp_path / "out").exists()


def test_an_image_is_fetched_from_elsewhere(ask, tmp_path):
    pytest.importorskip("fsspec", reason="fsspec is not installed: the extra 'cluster' brings it")
    assert ask(image=f"file://{tmp_path}/a.nii.gz")["rows"][0]["x_mm"] == 4
    assert not (tmp_path / "a.nii.gz.log").exists()  # what was predicted was a copy
    assert "b.nii.gz: cannot be fetched" in ask(image=f"file://{tmp_path}/b.nii.gz")["failed"]
