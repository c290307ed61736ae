# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there, and JSON that a person can read."""

from __future__ import annotations

import pytest

from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.files import atomic_folder, atomic_path, read_json, write_json, write_text


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "result.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path, stop):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(stop), atomic_path(path) as temporary:
        temporary.write_text("new")
        raise stop()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_landmark_error_that_names_the_file(tmp_path):
    refused = pytest.raises(LandmarkError, match=r"result\.txt: cannot be written \(No space left")
    with refused, atomic_path(tmp_path / "result.txt"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be_is_a_landmark_error(tmp_path):
    (tmp_path / "work").write_text("I am a file")
    with pytest.raises(LandmarkError, match="cannot be written"):
        write_text(tmp_path / "work" / "result.txt", "text")


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "result.json").mkdir()
    with pytest.raises(LandmarkError, match="cannot be written"):
        write_json(tmp_path / "result.json", {})
    assert list(tmp_path.iterdir()) == [tmp_path / "result.json"]


def test_others_may_read_a_written_file_as_they_may_read_any_file(tmp_path):
    (tmp_path / "usual").write_text("")
    write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_text_is_utf_8(tmp_path):
    write_text(tmp_path / "text", "Größe 左\n")
    assert (tmp_path / "text").read_bytes().decode("utf-8") == "Größe 左\n"


@pytest.mark.parametrize(
    "content",
    [
        {"a": [1, 2.5, -3e-9], "b": {"c": None, "d": True}},
        [],
        [[1, 2], [3, 4]],
        "text",
        {"Größe": ["左", ""]},
        [[]],
    ],
)
def test_json_is_read_as_it_was_written(tmp_path, content):
    write_json(tmp_path / "content.json", content)
    assert read_json(tmp_path / "content.json") == content


def test_every_digit_of_a_number_is_kept(tmp_path):
    write_json(tmp_path / "content.json", [0.1 + 0.2, 1 / 3, 1e-300, 12345678901234567890])
    assert read_json(tmp_path / "content.json") == [0.1 + 0.2, 1 / 3, 1e-300, 12345678901234567890]


def test_a_short_list_of_numbers_is_one_line(tmp_path):
    write_json(tmp_path / "content.json", {"point": [1.5, -2, 3e-05], "name": "a"})
    assert (tmp_path / "content.json").read_text() == '{\n  "point": [1.5, -2, 3e-05],\n  "name": "a"\n}\n'


@pytest.mark.parametrize("name", ["M [ 3 ]", "[ 1,  2 ]", "[ 7 ]"])
def test_text_that_looks_like_a_list_of_numbers_is_kept(tmp_path, name):
    write_json(tmp_path / "content.json", {name: name})
    assert read_json(tmp_path / "content.json") == {name: name}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_nan(tmp_path, value):
    with pytest.raises(ValueError):
        write_json(tmp_path / "content.json", {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_a_byte_order_mark_is_read_over(tmp_path):
    (tmp_path / "content.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "content.json") == {"a": 1}


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "the file is empty"),
        (b" \n\t", "the file is empty"),
        (b'{"markups": [{"type": ', "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
        (b'{"a": 1} trailing', "not valid JSON"),
        (b"\xff\xfe\x00binary", "cannot be read"),
        (b"[" * 100_000, "not valid JSON"),
        (b"1" * 5000, "not valid JSON"),  # Python reads no whole number that long
    ],
)
def test_a_broken_file_is_named(tmp_path, content, message):
    (tmp_path / "broken.json").write_bytes(content)
    with pytest.raises(LandmarkError, match=rf"broken\.json.*{message}"):
        read_json(tmp_path / "broken.json")


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    (tmp_path / "folder.json").mkdir()
    for name in ("missing.json", "folder.json"):
        with pytest.raises(LandmarkError, match=f"{name}: cannot be read"):
            read_json(tmp_path / name)


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    with atomic_folder(tmp_path / "a" / "out") as unfinished:
        (unfinished / "file").write_text("x")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "file").read_text() == "x"
    with pytest.raises(KeyError), atomic_folder(tmp_path / "b") as unfinished:
        (unfinished / "file").write_text("x")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_holds_something_is_not_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(LandmarkError, match="out: cannot be written"), atomic_folder(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "precious"]
