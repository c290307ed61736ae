# SPDX-License-Identifier: Apache-2.0
"""Several systems, evaluated on the same cases, as one table: for a terminal, for spreadsheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import LandmarkError
from ..landmarks import PRESENT
from .compare import Evaluation, success_detection_rate
from .paired import Difference, differences_to_best
from .tables import figure_text

__all__ = ["FAR_MM", "comparison_rows", "comparison_table", "subjects_of", "worse_text"]

FAR_MM = 10.0  # an error that is no inaccuracy any more, but another place


def comparison_rows(
    evaluations: Mapping[str, Evaluation],
    figures: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """
    One row for each system, best first.

    Args:
        evaluations: by system, of the same cases and landmarks.
        figures: by system, what else is known of it, such as ``parameters``.
        groups: of cases that belong together, such as those of one subject.

    Returns:
        rows of errors in millimetres (``over_10mm`` and ``sdr_...`` in percent of all points that are there,
        with those that were missed), ``biometry_mm``, the figures, and how much worse a system is than the
        best: ``worse_by_mm``, ``worse_low_mm`` and ``worse_high_mm``, ``p`` and ``p_holm``, ``verdict``.

    Raises:
        LandmarkError: when systems predicted other cases.
    """
    first = next(iter(evaluations.values()))
    for name, one in evaluations.items():
        if one.cases != first.cases or one.names != first.names:
            missing = sorted(set(first.cases) ^ set(one.cases))
            raise LandmarkError(
                f"{name}: has other cases than {next(iter(evaluations))}, such as {', '.join(missing[:5])}. "
                "Compare predictions of the same cases."
            )
    subjects = subjects_of(first.cases, groups or {})
    errors = {name: one.errors_mm for name, one in evaluations.items()}
    best, differences = differences_to_best(errors, subjects)
    rows = [
        {
            "system": name,
            **_errors(one),
            **figures.get(name, {}),
            **_against_best(None if name == best else differences[name]),
        }
        for name, one in evaluations.items()
    ]
    return sorted(rows, key=lambda row: (row["system"] != best, row["mre_mm"] is None, row["mre_mm"]))


def subjects_of(cases: Sequence[str], groups: Mapping[str, str]) -> list[str]:
    """
    What each case counts as: its group, or itself.
    """
    return [f"group {groups[case]}" if groups.get(case) else f"case {case}" for case in cases]


def _errors(evaluation: Evaluation) -> dict[str, Any]:
    summary = evaluation.summary()
    missed = (evaluation.true_status == PRESENT) & (evaluation.predicted_status != PRESENT)
    (near,) = success_detection_rate(np.where(missed, np.inf, evaluation.errors_mm), [FAR_MM])
    lengths = [
        row["mean_absolute_error"]
        for row in summary.get("biometry", ())
        if row["unit"] == "mm" and row["mean_absolute_error"] is not None
    ]
    kept = ("mre_mm", "std_mm", "macro_mre_mm", "macro_std_mm", "median_mm")
    return {
        "cases": summary["cases"],
        "points": summary["points_compared"],
        "missed": summary["presence"]["present_missed"],
        **{key: summary[key] for key in kept},
        **{key: value for key, value in summary.items() if key.startswith("sdr_")},
        "over_10mm": None if np.isnan(near) else round(100 - near, 2),
        **({"biometry_mm": round(float(np.mean(lengths)), 4)} if lengths else {}),
    }


def _against_best(difference: Difference | None) -> dict[str, Any]:
    if difference is None:
        values: tuple[float | None, ...] = (0.0, None, None, None, None)
        verdict = "best"
    else:
        numbers = (
            difference.mean_mm, difference.low_mm, difference.high_mm, difference.p, difference.p_holm
        )  # fmt: skip
        values = tuple(None if np.isnan(one) else float(f"{one:.4g}") for one in numbers)
        verdict = difference.verdict()
    keys = ("worse_by_mm", "worse_low_mm", "worse_high_mm", "p", "p_holm")
    return {**dict(zip(keys, values)), "verdict": verdict}


def comparison_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """
    What :func:`comparison_rows` gives, as text, one line each.
    """
    rates = [key for key in rows[0] if key.startswith("sdr_")]
    width = max(len("system"), *(len(row["system"]) for row in rows))
    head = f"{'system':<{width}} {'MRE mm':>7} {'std':>6} {'median':>7}"
    head += "".join(f"{key[4:]:>7}" for key in rates) + f" {'>10mm':>6} {'missed':>6}"
    lines = [f"{head}  {'worse than the best by (95 %)':36} {'p':>6}  {'steps':>6} {'parameters':>10}"]
    for row in rows:
        cells = f"{row['system']:<{width}} {figure_text(row['mre_mm']):>7} {figure_text(row['std_mm']):>6} "
        cells += f"{figure_text(row['median_mm']):>7}" + "".join(
            f"{figure_text(row[key], 1):>7}" for key in rates
        )
        cells += f" {figure_text(row['over_10mm'], 1):>6} {row['missed']:>6}  {worse_text(row):36} "
        steps, parameters = row.get("steps"), row.get("parameters")
        cells += f"{figure_text(row['p_holm'], 3):>6}  {'-' if steps is None else steps:>6} "
        lines.append(cells + f"{'-' if parameters is None else f'{parameters / 1e6:.2f} M':>10}")
    return "\n".join(lines)


def worse_text(row: Mapping[str, Any]) -> str:
    """
    How much worse than the best, between which bounds, and whether that is clear.
    """
    if row["verdict"] == "best":
        return "best"
    low, high = row["worse_low_mm"], row["worse_high_mm"]
    span = "" if low is None else f" ({figure_text(low)} to {figure_text(high)})"
    return f"{figure_text(row['worse_by_mm'])}{span}, {row['verdict']}"
