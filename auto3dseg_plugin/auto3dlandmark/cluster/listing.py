# SPDX-License-Identifier: Apache-2.0
"""The images of a large job: of a folder, or listed in a table, here or elsewhere."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..data.images import IMAGE_SUFFIXES, case_id
from ..errors import LandmarkError

__all__ = ["Listed", "listed_images", "listed_in"]

COLUMN, CASE = "image", "case"
TABLES = (".csv", ".parquet")


@dataclass(frozen=True)
class Listed:
    """
    An image of the list.

    Args:
        case: its name, which no other one has.
        image: a path that all machines see, or an address such as ``s3://bucket/case.nii.gz``.
    """

    case: str
    image: str

    @property
    def elsewhere(self) -> bool:
        """Whether it has to be fetched."""
        return "://" in self.image


def listed_images(paths: Iterable[Path]) -> list[Listed]:
    """
    Raises:
        LandmarkError: when two of them are one case.
    """
    return _unique([Listed(case_id(path) or path.name, str(path.resolve())) for path in paths])


def listed_in(table: str | os.PathLike) -> list[Listed]:
    """
    The images of a table with a column ``image``, and perhaps one ``case``.

    Args:
        table: a .csv or .parquet file; paths in it are looked up from its folder.

    Raises:
        LandmarkError: when it cannot be read, has no such column or row, or names one case twice.
    """
    path = Path(table)
    if path.suffix.lower() not in TABLES:
        raise LandmarkError(f"{path}: is no list of images. Give a {' or '.join(TABLES)} file.")
    rows = _rows(path)
    if not rows or not all(row.get(COLUMN) for row in rows):
        raise LandmarkError(
            f"{path}: needs a column {COLUMN!r} with the path or address of an image in every row."
        )
    found = []
    for row in rows:
        image = str(row[COLUMN])
        name = image.split("?")[0].rstrip("/").rpartition("/")[2]
        case = str(row.get(CASE) or case_id(name) or name)
        if "://" in image and case_id(name) is None:
            raise LandmarkError(
                f"{path}: {image!r} is no image file. Known suffixes: {', '.join(IMAGE_SUFFIXES)}."
            )
        place = image if "://" in image else str((path.parent / image).resolve())
        found.append(Listed(case, place))
    return _unique(found, f"{path}: ")


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise LandmarkError(f"{path}: there is no such file.")
    try:
        if path.suffix.lower() == ".csv":
            with open(path, encoding="utf-8-sig", newline="") as stream:
                return list(csv.DictReader(stream))
        import pyarrow.parquet

        columns = [name for name in pyarrow.parquet.read_schema(path).names if name in (COLUMN, CASE)]
        rows: list[dict[str, str]] = pyarrow.parquet.read_table(path, columns=columns).to_pylist()
        return rows
    except (OSError, ValueError, csv.Error) as error:
        raise LandmarkError(f"{path}: cannot be read as a table ({error}).") from error


def _unique(found: list[Listed], where: str = "") -> list[Listed]:
    case, count = Counter(one.case for one in found).most_common(1)[0] if found else ("", 0)
    if count > 1:
        images = [one.image for one in found if one.case == case]
        raise LandmarkError(
            f"{where}case {case!r} is there {count} times: {images[0]} and {images[1]}. Rename one."
        )
    return found
