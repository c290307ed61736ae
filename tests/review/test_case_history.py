# SPDX-License-Identifier: Apache-2.0
"""Who labelled what when, what was said, and how far two people lie apart."""

from __future__ import annotations

import numpy as np
import pytest

from auto3dlandmark.formats.markups import markups_bytes
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN, LandmarkSet
from auto3dlandmark.review.case_history import agreement_rows, case_rows, remarks_of, versions_of
from auto3dlandmark.review.choice import RESERVED_SECONDS
from auto3dlandmark.review.store import ORIGINAL, ReviewStore
from auto3dlandmark.review.submission import ReviewError, check_submission

NOW = 1e9


def people(versions):
    return [version.reviewers for version in versions]


def row_of(store, case):
    return next(row for row in case_rows(store, NOW) if row["case"] == case)


def test_a_version_tells_who_made_it(store, label):
    contents = [label(shift) for shift in (0, 1)]
    store.save("a", contents[0], reviewer="Ann")
    store.save("a", contents[0], reviewer="Ben")  # agrees
    store.save("a", contents[1], reviewer="Ben")
    store.save("a", contents[0], reviewer="Cem")  # the first one once more
    found = versions_of(store, "a")
    assert people(found) == [("Ann", "Ben"), ("Ben",), ("Cem",)]
    assert [version.content for version in found] == [*contents, contents[0]]
    assert [version.time for version in found] == sorted(version.time for version in found)
    assert [version.blind for version in found] == [True, False, False]


def test_a_label_that_nobody_handed_in_is_a_version(studies, store, label):
    (studies / "labels" / "final").mkdir(parents=True, exist_ok=True)
    (studies / "labels" / "final" / "a.mrk.json").write_bytes(label())
    store = ReviewStore(studies, store.names)
    (version,) = versions_of(store, "a")
    assert version.content == label() and version.reviewers == () and version.time == ""
    assert versions_of(store, "c") == []
    with pytest.raises(ReviewError, match="no image 'z'"):
        versions_of(store, "z")


def test_another_image_of_the_same_name_has_no_past(studies, store, label):
    image = (studies / "a.nii.gz").read_bytes()
    store.save("a", label(), reviewer="Ann")
    store.remark("a", "was it turned?", "Ann")
    store.remove_image("a")
    (studies / "a.nii.gz").write_bytes(image)
    assert versions_of(store, "a") == [] and remarks_of(store, "a") == []
    assert row_of(store, "a")["labels"] == 0


def test_remarks_are_kept_as_they_were_written(store):
    text = "<b>two</b> lines,\n=1+1 and ü"
    store.remark("a", text, "Ann")
    store.remark("a", "seen", "Ben")
    found = remarks_of(store, "a")
    assert [(one["reviewer"], one["text"]) for one in found] == [("Ann", text), ("Ben", "seen")]
    assert row_of(store, "a")["remarks"] == 2 and row_of(store, "a")["remark"] == "seen"
    (store.folder / "notes.json").unlink(missing_ok=True)  # which may be lost
    assert len(remarks_of(store, "a")) == 2


@pytest.mark.parametrize("text", ["", " \n", "x" * 2001, "a\x00b", 7, None, "\ud800"])
def test_what_is_no_remark_is_refused(store, text):
    with pytest.raises(ReviewError):
        store.remark("a", text)
    with pytest.raises(ReviewError, match="name of the reviewer"):
        store.remark("a", "x", "a\nb")
    with pytest.raises(ReviewError, match="no image"):
        store.remark("z", "x")
    assert store.log() == []


def test_two_reviewers_are_compared_landmark_by_landmark(store, label):
    first = check_submission(label(), store.names)
    names, points = first.names, first.points
    status = np.full(len(names), PRESENT)
    status[0], status[1] = ABSENT, UNKNOWN
    moved = np.where((status == PRESENT)[:, None], points + [0, 0.3, 0.4], np.nan)
    store.save("a", markups_bytes(first), reviewer="Ann")
    store.save("a", markups_bytes(first), reviewer="")  # whoever that was
    store.save("a", markups_bytes(LandmarkSet(names, moved, status)), reviewer="Ben")
    rows = agreement_rows(store)
    assert {(row["case"], row["first"], row["second"], row["blind"]) for row in rows} == {
        ("a", "Ann", "Ben", False)
    }
    assert [row["apart_mm"] for row in rows] == [None] + [0.5] * (len(names) - 2)
    assert [row["presence_differs"] for row in rows] == [True] + [False] * (len(names) - 2)
    row = row_of(store, "a")
    assert (
        row["apart_mm"] == pytest.approx(0.5)
        and row["presence_differs"] == 1
        and row["reviewers"] == ["Ann", "Ben"]
    )
    assert row["labels"] == 2 and row["state"] == "reviewed"


def test_only_who_saw_no_other_label_is_independent(store, label):
    store.save("a", label(), reviewer="Ann")
    store.save("a", label(0.5), reviewer="Ben", blind=True)
    assert {row["blind"] for row in agreement_rows(store)} == {True}
    assert row_of(store, "a")["apart_mm"] == pytest.approx(0.5 * 3**0.5, abs=1e-3)
    store.save("a", label(0.5), reviewer="Cem")  # agrees, having seen it
    assert {row["second"]: row["blind"] for row in agreement_rows(store) if row["first"] == "Ben"} == {
        "Cem": False
    }


def test_a_case_has_a_state(store, label):
    states = {row["case"]: row["state"] for row in case_rows(store, NOW)}
    assert set(states.values()) == {"unseen"}
    store.note("a", given={"to": "x", "at": NOW - 1}, gain=2.5)
    assert row_of(store, "a")["state"] == "in review" and row_of(store, "a")["gain_mm"] == 2.5
    store.note("a", given={"to": "x", "at": NOW - RESERVED_SECONDS - 1})
    assert row_of(store, "a")["state"] == "unseen"
    store.save("a", label(), ORIGINAL)
    assert row_of(store, "a")["state"] == "predicted" and row_of(store, "a")["labels"] == 0
    store.note("a", unreadable=True)
    assert row_of(store, "a")["state"] == "unreadable"
    store.save("a", label(), reviewer="Ann")
    row = row_of(store, "a")
    assert row["state"] == "reviewed" and row["reviewers"] == ["Ann"] and row["reviewed"]
    assert row["apart_mm"] is None and row["blind"] is None
