# SPDX-License-Identifier: Apache-2.0
"""A journal on disk: a line of JSON for everything that was done, whole lines only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["append_record", "checksum_of", "read_records", "sync", "time_stamp"]


def append_record(path: Path, entry: Mapping[str, Any]) -> None:
    """
    Add a line; when this returns it is on disk. The caller sees to it that nobody else writes.
    """
    line = json.dumps(entry, ensure_ascii=False, allow_nan=False)
    with open(path, "ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            line = line if stream.read(1) == b"\n" else f"\n{line}"  # a crash cut the last line off
        stream.write(f"{line}\n".encode())
        stream.flush()
        os.fsync(stream.fileno())


def read_records(path: Path) -> list[dict[str, Any]]:
    """
    All lines, oldest first; one that a crash cut off is left out.
    """
    entries = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError):
            entries.append(json.loads(line))
    return [entry for entry in entries if isinstance(entry, dict)]


def checksum_of(content: bytes) -> str:
    """
    SHA-256, in hexadecimal.
    """
    return hashlib.sha256(content).hexdigest()


def time_stamp() -> str:
    """
    Now, UTC, to the microsecond; sorts as time does and may be part of a file's name.
    """
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def sync(path: Path) -> None:
    """
    Wait until a file, or a folder's list of files, is on disk.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
