# SPDX-License-Identifier: Apache-2.0
"""What papers found on public datasets, beside what was measured here."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import LandmarkError
from ..files import read_json
from ..planning.systems import SYSTEMS

__all__ = ["published_tables"]

FIGURES = Path(__file__).with_name("published.json")


def published_tables(work: str | os.PathLike | None = None) -> str:
    """
    The published tables as text, each with its source and how to reproduce its rows.

    Args:
        work: a benchmark's folder, whose rows stand beside those of the table whose name its dataset's folder
            has (``afids``, ``mml``, ``pddca``, ``feta``, ``lfc``), or below all of them; left out, none.

    Raises:
        LandmarkError: when there is no benchmark.
    """
    tables: dict[str, dict[str, Any]] = read_json(FIGURES)
    measured, dataset = ({}, "") if work is None else _measured(Path(work))
    own = next((name for name in tables if name == dataset), None)
    lines = []
    for name, table in tables.items():
        beside = measured if name == own else {}
        lines += ["", table["title"], f"  {table['source']}", *_table(table, beside)]
        if "remark" in table:
            lines.append(f"  {table['remark']}")
        if "dataset" in table:
            systems = ",".join(row["system"] for row in table["rows"] if row["system"] in SYSTEMS)
            more = f" {table['options']}" if "options" in table else ""
            lines.append(f"  again: auto3dlandmark convert {table['dataset']} DOWNLOADED {name}{more}")
            lines.append(f"         auto3dlandmark benchmark {name} WORK --systems {systems},auto3dlandmark")
    if measured and own is None:
        lines += ["", f"Measured here: {work}", *_table({"rows": []}, measured)]
    return "\n".join(lines[1:])


def _measured(work: Path) -> tuple[dict[str, Mapping[str, str]], str]:
    """The rows of a benchmark by system, of test cases where there are some, and its dataset's name."""
    found = [work / name for name in ("test_results.csv", "results.csv") if (work / name).is_file()]
    if not found:
        raise LandmarkError(f"{work}: has no results of a benchmark. Run 'auto3dlandmark benchmark' first.")
    with open(found[0], encoding="utf-8", newline="") as stream:
        rows: dict[str, Mapping[str, str]] = {str(row["system"]): row for row in csv.DictReader(stream)}
    return rows, str(read_json(work / "benchmark.json").get("dataset", "")).casefold()


def _table(table: Mapping[str, Any], measured: Mapping[str, Mapping[str, str]]) -> list[str]:
    rows: dict[str, Mapping[str, Any]] = {row["system"]: row for row in table["rows"]}
    names = [*rows, *(name for name in measured if name not in rows)]
    width = max(map(len, names))
    head = f"  {'':{width}} {'MRE mm':>14} {'SDR 2/3/4 mm':>20}"
    lines = [
        head + (f" {'lengths':>8}" if "biometry" in table else "") + (f"{'here':>22}" if measured else "")
    ]
    for name in names:
        row = rows.get(name, {})
        line = f"  {name:{width}} {_error(row.get('mre_mm'), row.get('std_mm')):>14} "
        line += f"{_rates(row.get('sdr')):>20}"
        if "biometry" in table:
            line += f" {table['biometry'].get(name, '-'):>8}"
        if measured:
            here = measured.get(name)
            line += f"{'-' if here is None else _error(here['mre_mm'], here['std_mm']):>22}"
        lines.append(line + (f"  ({row['note']})" if "note" in row else ""))
    return lines


def _error(mean: Any, spread: Any) -> str:
    if mean in (None, ""):
        return "-"
    return f"{float(mean):.2f}" + ("" if spread in (None, "") else f" ± {float(spread):.2f}")


def _rates(shares: Sequence[float] | None) -> str:
    return "" if shares is None else " / ".join(f"{share:.1f}" for share in shares)
