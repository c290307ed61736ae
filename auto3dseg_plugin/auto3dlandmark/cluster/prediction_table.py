# SPDX-License-Identifier: Apache-2.0
"""
The points of a large job: a Parquet table of many files, whole ones only, and what it says is done.

Each file holds the rows of some cases, those of one case behind each other. A case that was done again is in
a later file, and its earlier rows do not count; :meth:`PredictionTable.tidy` leaves one file in which every
case is once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_path
from ..journal import time_stamp

__all__ = ["Done", "PredictionTable"]

ROWS_AT_ONCE = 200_000  # that are in memory when the table is made one file
# Parquet's types by column; positions are RAS millimetres.
COLUMNS = {
    "case": "string",
    "landmark": "string",
    "status": "string",
    "x_mm": "float64",
    "y_mm": "float64",
    "z_mm": "float64",
    "probability": "float64",
    "radius95_mm": "float64",
    "score": "float64",
    "note": "string",
    "unusual": "float64",
    "made_by": "string",
    "image_digest": "string",
    "file": "string",
    "file_digest": "string",
    "seconds": "float64",
}


@dataclass(frozen=True)
class Done:
    """
    What made a case's rows.

    Args:
        made_by: the bundles, as :class:`auto3dlandmark.inference.parallel.Maker` names them.
        image_digest: of the image's content.
        file: of the case's points, below the folder of the predictions.
        file_digest: of that file's content, as it was written.
    """

    made_by: str
    image_digest: str
    file: str
    file_digest: str


MADE = tuple(Done.__dataclass_fields__)


class PredictionTable:
    """
    Args:
        folder: holds ``part-*.parquet`` files, and nothing else.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)

    def parts(self) -> list[Path]:
        """Its files, oldest first."""
        return sorted(self.folder.glob("part-*.parquet"))

    def done(self) -> dict[str, Done]:
        """What made each case that is there."""
        import pyarrow.parquet

        found: dict[str, Done] = {}
        for part in self.parts():
            for batch in pyarrow.parquet.ParquetFile(part).iter_batches(
                ROWS_AT_ONCE, columns=["case", *MADE]
            ):
                cases = batch["case"].to_numpy(zero_copy_only=False)
                first = np.flatnonzero(np.concatenate([[True], cases[1:] != cases[:-1]]))
                for case, *made in zip(*(column.to_pylist() for column in batch.take(first).columns)):
                    found[case] = Done(*made)
        return found

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """
        Keep rows; when this returns they are on disk.

        Args:
            rows: values by column, all landmarks of some cases.
        """
        if rows:
            self._write([self._table(rows)])

    def tidy(self) -> None:
        """Make it one file, in which each case is as it was made last; a killed process loses nothing."""
        import pyarrow.compute
        import pyarrow.parquet

        parts = self.parts()
        last: dict[str, int] = {}
        for number, part in enumerate(parts):
            for case in pyarrow.parquet.read_table(part, columns=["case"])["case"].unique().to_pylist():
                last[case] = number
        if len(parts) < 2:
            return

        def batches() -> Any:
            for number, part in enumerate(parts):
                for batch in pyarrow.parquet.ParquetFile(part).iter_batches(ROWS_AT_ONCE):
                    current = [last[case] == number for case in batch["case"].to_pylist()]
                    yield pyarrow.Table.from_batches([batch]).filter(pyarrow.array(current))

        self._write(batches())
        for part in parts:  # until they are gone, they say the same
            part.unlink()

    def _write(self, tables: Any) -> None:
        import pyarrow.parquet

        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            atomic_path(self.folder / f"part-{time_stamp()}.parquet") as temporary,
            pyarrow.parquet.ParquetWriter(temporary, self._schema(), compression="zstd") as writer,
        ):
            for table in tables:
                writer.write_table(table)

    def _table(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        import pyarrow

        columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
        return pyarrow.table(columns, schema=self._schema())

    def _schema(self) -> Any:
        import pyarrow

        kinds = {"string": pyarrow.string(), "float64": pyarrow.float64()}
        return pyarrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
