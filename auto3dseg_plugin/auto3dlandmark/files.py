# SPDX-License-Identifier: Apache-2.0
"""Files that are either whole or not there, and JSON that a person can read.

Every file of ours is written under a temporary name beside its place and then moved there, so neither a
kill nor a full disk leaves half a file behind.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import LandmarkError

__all__ = [
    "atomic_folder",
    "atomic_path",
    "csv_text",
    "digest",
    "files_digest",
    "json_text",
    "read_json",
    "read_text",
    "readable_write_errors",
    "unique_keys",
    "write_json",
    "write_rows",
    "write_text",
]


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """
    Give a temporary path to write to, and move it to ``path`` when the block ends without an error.

    Folders that do not exist yet are made. After an error nothing is left behind, and an older file at
    ``path`` is untouched.

    Raises:
        LandmarkError: when the place cannot be written to (no permission, a full disk).
    """
    path = Path(path)
    temporary = None
    try:
        with readable_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
            os.close(handle)
            temporary = Path(name)
            yield temporary
            with open(temporary, "rb") as stream:
                os.fsync(stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp allows only the owner to read
            os.replace(temporary, path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def readable_write_errors(path: str | os.PathLike) -> Iterator[None]:
    """
    Say what the system says of a place that cannot be written to.

    Raises:
        LandmarkError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise LandmarkError(
            f"{path}: cannot be written ({error.strerror or error}). Nothing was changed there. "
            "Check the permissions and the free space, then run the same command again."
        ) from error


@contextmanager
def atomic_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """
    Give a temporary folder to fill, and move it to ``folder`` when the block ends without an error.

    After an error, or a kill and another try, nothing of the temporary one is left.

    Args:
        folder: must not be there yet, or be empty.

    Raises:
        LandmarkError: when the place cannot be written to, or holds something.
    """
    folder = Path(folder)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        if folder.is_dir():
            folder.rmdir()  # refuses a folder that holds something
        unfinished.replace(folder)
    except OSError as error:
        raise LandmarkError(
            f"{folder}: cannot be written ({error.strerror or error}). Nothing was left there. "
            "Check the permissions and the free space, then run the same command again."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """
    Write a UTF-8 text file, whole or not at all.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_rows(
    path: str | os.PathLike, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()
) -> None:
    """
    Write a CSV file.

    Args:
        rows: values by column; one that a row lacks stays empty.
        columns: in their order; left out, all that any row has.
    """
    write_text(path, csv_text(rows, columns))


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """
    What :func:`write_rows` writes.
    """
    stream = io.StringIO(newline="")
    found = columns or list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(stream, found, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def write_json(path: str | os.PathLike, content: Any) -> None:
    """
    Write JSON with two spaces of indent and short lists of numbers on one line.

    Raises:
        ValueError: for NaN or infinity, which JSON does not have.
    """
    write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """
    The text that :func:`write_json` writes.
    """
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
    number_list = re.compile(r"\[\n\s*(-?[\d.eE+-]+(?:,\n\s*-?[\d.eE+-]+)*)\n\s*\]")
    text = number_list.sub(lambda match: "[" + re.sub(r",\s+", ", ", match.group(1)) + "]", text)
    return text + "\n"


def read_text(path: str | os.PathLike) -> str:
    """
    Read a UTF-8 text file, with or without a byte order mark; line ends stay as they are.

    Raises:
        LandmarkError: when the file is missing, not readable, or not text.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise LandmarkError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})."
        ) from error


def read_json(path: str | os.PathLike) -> Any:
    """
    Read a JSON file.

    Raises:
        LandmarkError: when the file is missing, empty, or not JSON.
    """
    text = read_text(path)
    if not text.strip():
        raise LandmarkError(f"{path}: the file is empty. Save it again, or remove it.")
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise LandmarkError(
            f"{path}: is not valid JSON ({error}). Save it again from the program that made it."
        ) from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """
    For ``json.loads``: an object whose keys all differ.

    Raises:
        ValueError: when a key stands twice, since readers differ in which of the two they take.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return found


def digest(content: Any) -> str:
    """
    A short name for JSON content: the same content, the same name.
    """
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def files_digest(paths: Iterable[str | os.PathLike | None]) -> str:
    """
    A short name for the state of files, by name, size and time of change; not by place, which may be moved.

    Args:
        paths: of files, or of folders that stand for the files in them.
    """
    state = []
    for path in paths:
        if path is not None:
            for file in sorted(Path(path).iterdir()) if os.path.isdir(path) else [Path(path)]:
                found = file.stat() if file.exists() else None
                state.append([file.name, found and found.st_size, found and found.st_mtime_ns])
    return digest(state)
