# SPDX-License-Identifier: Apache-2.0
"""A comparison of systems as one page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.datalist import Case
from ..evaluation.compare import Evaluation
from ..evaluation.comparison import subjects_of, worse_text
from ..evaluation.paired import rank_shares
from ..evaluation.tables import figure_text
from .charts import cumulative_chart, difference_chart, landmark_chart, rank_chart
from .html_page import rates_of, section, table_of, write_page
from .pictures import worst_pictures

__all__ = ["write_comparison_report"]


def write_comparison_report(
    path: str | os.PathLike,
    dataset: str,
    rows: Sequence[Mapping[str, Any]],
    evaluations: Mapping[str, Evaluation],
    known: Mapping[str, Any],
    cases: Sequence[Case],
    predictions: Mapping[str, Path],
) -> None:
    """
    Write what a comparison of systems says.

    Args:
        path: an .html file.
        dataset: its name.
        rows: of :func:`auto3dlandmark.evaluation.comparison.comparison_rows`, best first.
        evaluations: by system.
        known: of the benchmark: ``systems`` with what they are and took, ``machine``, ``folds``.
        cases: annotated, with their images.
        predictions: by system, the folder of its predictions.
    """
    names = [row["system"] for row in rows]
    errors = {name: evaluations[name].errors_mm for name in names}
    best = names[0]
    systems = known.get("systems", {})
    subjects = subjects_of(evaluations[best].cases, {case.id: case.group for case in cases if case.group})
    lead = (
        f"{rows[0]['cases']} cases, folds {', '.join(map(str, known.get('folds', [])))}; "
        f"{_budget(systems, names)}; {known.get('machine', 'machine unknown')}."
    )
    sections = [
        section("All systems", _reading(), table=_system_rows(rows)),
        section(
            "Cumulative error",
            chart=cumulative_chart({name: evaluations[name].errors_with_missed() for name in names}),
        ),
    ]
    if len(rows) > 1:
        sections.append(
            section(
                "How much worse than the best",
                "Dots are mean differences of the same cases, lines where the mean lies with 95 % over other "
                "cases.",
                chart=difference_chart(rows),
            )
        )
        sections.append(
            section(
                "Would another set of cases give the same ranks?",
                chart=rank_chart(rank_shares(errors, subjects), names),
            )
        )
    sections.append(
        section(
            f"The largest errors of {best}",
            pictures=worst_pictures(evaluations[best], cases, predictions[best]),
        )
    )
    if np.isfinite(errors[best]).any():
        chart = landmark_chart(errors[best], evaluations[best].names)
        sections.append(section(f"Error of {best} by landmark", chart=chart))
    sections.append(section("The systems", list=_about(systems, names)))
    write_page(path, f"Benchmark on {dataset}", lead, [], sections)


def _reading() -> str:
    return (
        "Errors in millimetres. A system is called worse when Wilcoxon's signed ranks of the cases, "
        "corrected by Holm for all pairs of systems, say so at 5 %, and the mean and the median difference, "
        "too. What is within so many millimetres, and above 10 mm, counts missed points."
    )


def _system_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rates = rates_of(rows[0])
    head = ["system", "mean mm", "std", "median", "worse by mm (95 %)", "p (Holm)"]
    head += [
        *(f"within {key[4:-2]} mm" for key in rates),
        "above 10 mm %",
        "missed",
        "macro mean",
        "lengths mm",
    ]
    head += ["parameters", "steps", "training s", "s per image", "GB"]
    cells = []
    for row in rows:
        parameters = row.get("parameters")
        cells.append(
            [
                row["system"],
                *(figure_text(row[key]) for key in ("mre_mm", "std_mm", "median_mm")),
                worse_text(row),
                figure_text(row["p_holm"], 3),
                *(figure_text(row[key], 1) for key in (*rates, "over_10mm")),
                row["missed"],
                figure_text(row["macro_mre_mm"]),
                figure_text(row.get("biometry_mm")),
                "-" if parameters is None else f"{parameters / 1e6:.2f} M",
                row.get("steps", "-"),
                figure_text(row.get("train_seconds"), 0),
                figure_text(row.get("seconds_per_image")),
                figure_text(row.get("peak_gb")),
            ]
        )
    return table_of(head, cells, best=0)


def _budget(systems: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str:
    """What all that were trained took alike; that it differs, where it does."""
    taken = [dict(systems[name].get("budget", {})) for name in names if systems.get(name, {}).get("figures")]
    for one in taken:
        one.pop("resize", None)
    if any(one != taken[0] for one in taken):
        return "budgets differ, see the systems"
    return _taken(taken[0]) if taken and taken[0] else "each as long as its recipe says"


def _taken(budget: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value:g}" for key, value in budget.items()) + " of each fold"


def _about(systems: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    lines = []
    for name in names:
        one = systems.get(name, {})
        parts = [one.get("about", ""), one.get("source", ""), *one.get("departures", ())]
        if one.get("budget"):
            parts.append(_taken(one["budget"]))
        lines.append(f"{name}: " + "; ".join(part for part in parts if part))
    return lines
