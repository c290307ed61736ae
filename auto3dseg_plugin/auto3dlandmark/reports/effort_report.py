# SPDX-License-Identifier: Apache-2.0
"""How much reviewers still have to correct, case by case: from the log of a studies folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from .charts import course_chart
from .html_page import section, table_of, write_page

__all__ = ["effort_rows", "write_effort_report"]

COUNTS = ("placed", "moved", "removed")


def effort_rows(log: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    A row for each case, when it was submitted for the first time, in that order.

    Args:
        log: of :meth:`auto3dlandmark.review.store.ReviewStore.log`.

    Returns:
        ``case``, ``time``, ``reviewer``, ``model`` (the version whose prediction was shown; None: nothing
        was), ``corrections``, of which ``placed``, ``moved`` and ``removed``, ``moved_mm`` (their mean),
        ``landmarks``.
    """
    shown: dict[str, int | None] = {}
    rows: dict[str, dict[str, Any]] = {}
    for entry in log:
        case, corrected = str(entry.get("image")), entry.get("corrected")
        if entry.get("tag") == "original":
            shown[case] = (entry.get("details") or {}).get("version")
        if not isinstance(corrected, Mapping) or corrected.get("from") == "final" or case in rows:
            continue
        rows[case] = {
            "case": case,
            "time": entry.get("time"),
            "reviewer": entry.get("reviewer"),
            "model": None if corrected["from"] == "nothing" else shown.get(case),
            "corrections": sum(corrected[name] for name in COUNTS),
            **{name: corrected[name] for name in (*COUNTS, "moved_mm", "landmarks")},
        }
    return list(rows.values())


def write_effort_report(path: str | os.PathLike, studies: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """
    Write the rows as a page with two curves.

    Args:
        path: an .html file.
        studies: the folder's name.
        rows: of :func:`effort_rows`, at least one.
    """
    asked = sum(row["landmarks"] for row in rows)
    made = sum(row["corrections"] for row in rows)
    models = [row["model"] for row in rows]
    last = rows[-10:]
    figures = [
        (str(len(rows)), "cases reviewed"),
        (f"{100 * made / max(asked, 1):.0f} %", "of the landmarks corrected"),
        (
            f"{sum(row['corrections'] for row in last) / len(last):.1f}",
            f"corrections in each of the last {len(last)}",
        ),
    ]
    head = [
        "case",
        "model",
        "corrections",
        "placed",
        "moved",
        "removed",
        "moved by, mm",
        "landmarks",
        "reviewer",
    ]
    table = [
        [
            row["case"],
            "none" if row["model"] is None else row["model"],
            row["corrections"],
            *(row[name] for name in COUNTS),
            f"{row['moved_mm']:.2f}" if row["moved"] else "-",
            row["landmarks"],
            row["reviewer"],
        ]
        for row in rows
    ]
    moved = [row["moved_mm"] if row["moved"] else None for row in rows]
    sections = [
        section(
            "Corrections of each case",
            "The line is the mean of five cases. Colours are versions of the model: none, 0 (what the server "
            "was started with), and those trained since.",
            chart=course_chart([row["corrections"] for row in rows], models, "landmarks corrected"),
        ),
        section(
            "How far points were moved",
            "Of those that had a point before and have one now.",
            chart=course_chart(moved, models, "moved by, mm"),
        ),
        section("All cases", table=table_of(head, table)),
    ]
    lead = "What reviewers changed in what they were shown, in the order of their first submissions."
    write_page(path, f"{studies}: effort of the review", lead, figures, sections)
