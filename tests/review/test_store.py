# SPDX-License-Identifier: Apache-2.0
"""Labels in a studies folder: whole, checked, with a history, and never lost, whoever else writes or dies."""

from __future__ import annotations

import errno
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from auto3dlandmark.errors import LandmarkError, disk_error
from auto3dlandmark.review.store import FINAL, ORIGINAL, ReviewStore, Saved, checksum_of
from auto3dlandmark.review.submission import ReviewError, check_submission, parse_parameters

NAMES = ("nose", "left_ear", "right_ear", "chin")


def test_a_label_is_kept_byte_by_byte(studies, store, label):
    content = label() + b"\n\n "
    saved = store.save("C3HeB.FeJ_", content, reviewer="Zoë")
    path = studies / "labels" / "final" / "C3HeB.FeJ_.mrk.json"
    assert path.read_bytes() == content and saved == Saved(checksum_of(content), None)
    assert store.labelled() == ["C3HeB.FeJ_"] and store.labelled(ORIGINAL) == []
    store.save("C3HeB.FeJ_", content, reviewer="Ann")  # she agrees
    assert [(entry["action"], entry["reviewer"]) for entry in store.log()] == [
        ("save label", "Zoë"),
        ("same label", "Ann"),
    ]


def test_what_is_replaced_is_in_the_history(store, label):
    contents = [label(shift) for shift in (0, 1, 2)]
    for content in contents:
        store.save("a", content)
    assert [path.read_bytes() for path in store.history("a")] == contents[:2]
    assert store.label("a").read_bytes() == contents[2]


def test_a_stale_label_is_refused_and_a_repeated_one_is_not(store, label):
    first = store.save("a", label(), base="")
    store.save("a", label(1), base=first.checksum)
    assert store.save("a", label(1), base=first.checksum).replaced is None
    for base in ("", first.checksum):
        with pytest.raises(ReviewError, match="somebody saved another label of 'a' meanwhile") as caught:
            store.save("a", label(2), base=base)
        assert caught.value.status == 409
    assert store.label("a").read_bytes() == label(1)


def point(**changes):
    return {"label": "nose", "position": [0, 0, 0], **changes}


def others():
    return [{"label": name, "position": ""} for name in NAMES[1:]]


REFUSED = {
    "empty": (b"", "is empty|not valid JSON"),
    "garbage": (b"\x00\xff\x13", "not valid|cannot be read"),
    "deep": (b"[" * 100_000, "submitted file"),
    "no markups": (b'{"markups": []}', "holds no 'markups'"),
    "a box": (b'{"markups": [{"type": "ROI", "center": [0,0,0]}]}', "type 'ROI'"),
    "a line": (
        json.dumps({"markups": [{"type": "Line", "controlPoints": [point(), *others()]}]}).encode(),
        "type 'Line', not a point list",
    ),
    "a name is missing": (
        json.dumps({"markups": [{"controlPoints": [point(), *others()[1:]]}]}).encode(),
        "lacks 'left_ear'",
    ),
    "a name too many": (
        json.dumps({"markups": [{"controlPoints": [point(), *others(), point(label="F-1")]}]}).encode(),
        "has 'F-1', which the model does not know",
    ),
    "another case": (
        json.dumps({"markups": [{"controlPoints": [point(label="Nose"), *others()]}]}).encode(),
        "lacks 'nose'",
    ),
    "NaN": (
        b'{"markups": [{"controlPoints": [{"label": "nose", "position": [NaN, 0, 0]}]}]}',
        "not three numbers",
    ),
    "far away": (
        json.dumps({"markups": [{"controlPoints": [point(position=[900, 0, 0]), *others()]}]}).encode(),
        "'nose' lies .* voxels outside the image a.nii.gz",
    ),
    "nothing placed": (
        json.dumps({"markups": [{"controlPoints": [point(position=""), *others()]}]}).encode(),
        "neither a placed landmark nor one that is marked absent",
    ),
    "unit": (
        json.dumps({"markups": [{"coordinateUnits": "ft", "controlPoints": []}]}).encode(),
        "coordinateUnits",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_set_of_landmarks_is_refused_with_a_sentence(store, label, kind):
    store.save("a", label())
    content, message = REFUSED[kind]
    with pytest.raises(ReviewError, match=message) as caught:
        store.save("a", content)
    assert caught.value.status == 422 and "/tmp" not in str(caught.value)
    assert store.label("a").read_bytes() == label() and store.history("a") == []


def test_a_file_of_megabytes_is_refused():
    with pytest.raises(ReviewError, match="more than any list") as caught:
        check_submission(b" " * 11 * 2**20, NAMES)
    assert caught.value.status == 413


@pytest.mark.parametrize("tag", ["../../..", "final/..", "", "Final", "a\nb"])
def test_a_tag_is_one_of_two(studies, store, label, tag):
    content, before = label(), sorted(studies.parent.rglob("*"))
    for action in (
        lambda: store.save("a", content, tag),
        lambda: store.label("a", tag),
        lambda: store.labelled(tag),
    ):
        with pytest.raises(ReviewError, match="the tag .* is unknown"):
            action()
    assert sorted(studies.parent.rglob("*")) == before


@pytest.mark.parametrize("image", ["../x", "/etc/passwd", "a.nii.gz", "", ".", "labels", "A"])
def test_an_id_is_never_a_path(store, label, image):
    for action in (store.image, store.label, store.remove_image, lambda image: store.save(image, label())):
        with pytest.raises(ReviewError, match="there is no image") as caught:
            action(image)
        assert caught.value.status == 404


def test_deleting_moves_to_the_trash(studies, store, label):
    content = label()
    store.save("a", content)
    store.remove_label("a")
    store.save("a", label(1))
    store.remove_image("a")
    assert "a" not in store.images()
    kept = sorted(
        path.relative_to(studies / "review" / "trash").parts[1:] for path in studies.rglob("trash/**/*.*z*")
    )
    assert ("a.nii.gz",) in kept
    labels = {path.read_bytes() for path in (studies / "review" / "trash").rglob("*.mrk.json")}
    assert labels == {content, label(1)}


@pytest.mark.parametrize("lost", ["review", "review/notes.json", "review/log.jsonl"])
def test_labels_outlive_everything_else(studies, store, label, lost):
    store.save("a", label())
    store.note("a", confidence=0.5)
    target = studies / lost
    shutil.rmtree(target) if target.is_dir() else target.write_text('{"trunca')
    again = ReviewStore(studies, NAMES)
    assert again.labelled() == ["a"] and again.label("a").read_bytes() == label()
    again.note("a", confidence=0.7)
    again.save("a", label(1))
    assert again.notes()["a"]["confidence"] == 0.7 and again.log()[-1]["action"] == "save label"


@pytest.mark.parametrize(
    "text, message", [("{", "not valid"), ("[1]", "must be"), ('{"a": NaN}', "NaN"), ("9" * 20_000, "longer")]
)
def test_odd_parameters_are_refused(text, message):
    with pytest.raises(ReviewError, match=message):
        parse_parameters(text)


def test_values_that_are_no_json_are_refused_before_anything_is_saved(store, label):
    with pytest.raises(ReviewError, match="cannot be kept"):
        store.save("a", label(), details={"x": float("nan")})
    with pytest.raises(ReviewError, match="cannot be kept"):
        store.note("a", x=float("inf"))
    with pytest.raises(ReviewError, match="cannot be kept"):
        store.save("a", label(), reviewer="\ud800")
    assert store.labelled() == [] and store.log() == []


def test_labels_of_another_format_are_not_passed_over(studies, store):
    (studies / "labels" / "final").mkdir(parents=True)
    (studies / "labels" / "final" / "a.fcsv").write_text("x")
    with pytest.raises(LandmarkError, match=r"a\.fcsv: labels under review are \.mrk\.json files"):
        ReviewStore(studies, NAMES)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(LandmarkError, match="nowhere: there is no such folder"):
        ReviewStore(tmp_path / "nowhere", NAMES)


def test_threads_that_save_at_once_lose_nothing(store, label):
    contents = [label(shift / 100) for shift in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: store.save("c", content), contents))
    kept = [path.read_bytes() for path in store.history("c")] + [store.label("c").read_bytes()]
    assert sorted(kept) == sorted(contents)
    assert sum(entry["action"] == "save label" for entry in store.log()) == 40


def test_a_label_absent_landmarks_alone_is_a_label(store):
    absent = [{"label": name, "position": "", "description": "status=missing"} for name in NAMES]
    content = json.dumps({"markups": [{"controlPoints": absent}]}).encode()
    store.save("a", content)
    assert np.isnan(store.landmarks("a").points).all() and store.labelled(FINAL) == ["a"]


def test_another_image_of_the_same_name_inherits_nothing(studies, store, label):
    store.save("a", label())
    store.save("a", label(1))
    store.note("a", confidence=0.5)
    shutil.copy(studies / "a.nii.gz", studies.parent / "kept.nii.gz")
    store.remove_image("a")
    assert store.add_image("a", studies.parent / "kept.nii.gz", "x.nii.gz") == "a"
    assert store.notes() == {} and store.history("a") == [] and store.labelled() == []
    assert len(list((studies / "review" / "trash").rglob("*.mrk.json"))) == 2


@pytest.mark.parametrize("number, what", [(errno.ENOSPC, "full"), (errno.EROFS, "read-only")])
def test_a_disk_that_takes_nothing_leaves_no_half_file_and_is_told_from_bad_input(
    store, label, monkeypatch, number, what
):
    store.save("a", label())
    before = store.label("a").read_bytes()

    def refuse(*places):
        raise OSError(number, "no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(LandmarkError) as refused:
        store.save("a", label(0.1))
    assert disk_error(refused.value) == what and disk_error(LandmarkError("x")) is None
    assert store.label("a").read_bytes() == before and store.history("a") == []
    assert all(path.stat().st_size for path in store.folder.rglob("*.mrk.json"))
    store.note("a", confidence=0.5)  # a case is given to a reviewer all the same


def test_nothing_is_written_over_while_the_clock_stands_still(store, label, monkeypatch):
    monkeypatch.setattr("auto3dlandmark.review.store.time_stamp", lambda: "20260101T000000.000000Z")
    contents = [label(number / 10) for number in range(4)]
    for content in contents:
        store.save("a", content)
    assert [path.read_bytes() for path in store.history("a")] == contents[:3]
    for case in ("a", "c"):
        store.save(case, contents[0])
        store.remove_label(case)
    assert len(list((store.folder / "trash").rglob("*.mrk.json"))) == 2
