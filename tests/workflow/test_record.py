# SPDX-License-Identifier: Apache-2.0
"""A step of work is done once, and again when there is a reason."""

from __future__ import annotations

import os

import pytest

from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.files import digest, files_digest
from auto3dlandmark.workflow.record import WorkRecord


@pytest.fixture
def run(tmp_path):
    """Run the step "double" in a fresh Steps, as a fresh start of the program would; tells whether it
    worked."""

    def run(number, name="double"):
        done = []

        def action():
            (tmp_path / "out.txt").write_text(str(2 * number))
            done.append(number)

        WorkRecord(tmp_path, say=lambda line: None).once(
            name, {"number": number}, [tmp_path / "out.txt"], action
        )
        return bool(done)

    return run


def test_a_finished_step_is_kept(run):
    assert [run(1), run(1), run(1)] == [True, False, False]


def test_changed_inputs_run_it_again(run, tmp_path):
    assert [run(1), run(2)] == [True, True]
    assert (tmp_path / "out.txt").read_text() == "4"


def test_only_the_last_inputs_count(run):
    assert [run(1), run(2), run(1)] == [True, True, True]


def test_a_missing_output_runs_it_again(run, tmp_path):
    run(1)
    (tmp_path / "out.txt").unlink()
    assert run(1)


def test_a_missing_record_runs_it_again(run, tmp_path):
    run(1)
    (tmp_path / "steps.json").unlink()
    assert run(1)


def test_steps_do_not_mix(run):
    assert [run(1), run(1, name="other"), run(1)] == [True, True, False]


def test_a_step_that_failed_is_not_finished(run, tmp_path):
    def fail():
        (tmp_path / "out.txt").write_text("half")
        raise LandmarkError("no")

    with pytest.raises(LandmarkError):
        WorkRecord(tmp_path, say=lambda line: None).once(
            "double", {"number": 1}, [tmp_path / "out.txt"], fail
        )
    assert run(1)


def test_each_step_says_what_it_does_and_where_the_result_is(tmp_path):
    said = []
    for _ in range(2):
        WorkRecord(tmp_path, said.append).once(
            "double", 1, [tmp_path / "out"], lambda: (tmp_path / "out").touch()
        )
    out = tmp_path / "out"
    assert said == ["double: running", f"double: done, see {out}", f"double: unchanged, kept {out}"]


def test_a_noted_value_is_there_after_a_restart(tmp_path):
    WorkRecord(tmp_path).remember("began", "abc")
    assert WorkRecord(tmp_path).record == {"began": "abc"}


def test_a_work_folder_that_does_not_exist_yet_is_made_by_the_first_step(tmp_path):
    work = tmp_path / "deep" / "work"
    WorkRecord(work).remember("began", 1)
    assert (work / "steps.json").is_file()


def test_a_broken_record_is_named(tmp_path):
    (tmp_path / "steps.json").write_text('{"plan": ')
    with pytest.raises(LandmarkError, match=r"steps\.json"):
        WorkRecord(tmp_path)


def test_a_record_that_is_no_record_is_named(tmp_path):
    (tmp_path / "steps.json").write_text("[1, 2]")
    with pytest.raises(LandmarkError, match=r"steps\.json"):
        WorkRecord(tmp_path)


@pytest.mark.parametrize(
    "other", [{"a": 1, "b": [2]}, {"b": [2, 1], "a": 1}, {"a": 1, "b": ["2", "3"]}, None, {}]
)
def test_other_content_has_another_digest(other):
    assert digest({"a": 1, "b": [2, 3]}) != digest(other)


def test_the_order_of_keys_does_not_change_a_digest():
    assert digest({"a": 1, "b": (2, 3)}) == digest({"b": [2, 3], "a": 1})


def test_the_digest_of_files_follows_their_change(tmp_path):
    path = tmp_path / "a.txt"
    states = [files_digest([path])]
    for text, time in (("one", 1_000), ("eno", 2_000), ("longer", 2_000)):
        path.write_text(text)
        os.utime(path, (time, time))
        states.append(files_digest([path]))
    assert len(set(states)) == 4
    assert files_digest([path, None]) == files_digest([str(path)]) == states[-1]
