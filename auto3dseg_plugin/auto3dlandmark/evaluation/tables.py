# SPDX-License-Identifier: Apache-2.0
"""An evaluation as files that people and spreadsheets read, and as a table for a terminal."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import read_json, write_json, write_rows
from ..landmarks import some_names
from .compare import Evaluation

__all__ = ["figure_text", "landmark_table", "summary_text", "write_cross_validation", "write_evaluation"]

MOST_ODD = 5  # cases named


def write_cross_validation(path: str | os.PathLike, evaluation: Evaluation) -> None:
    """
    Write the error and score of every held-out point, by landmark, for calibration later.

    The file has ``cases`` and, for each landmark, the lists ``error_mm``, ``score``, ``true_status`` and
    ``predicted_status`` in the order of the cases; None where there is no value.
    """

    def column(values: np.ndarray, number: int) -> list[float | None]:
        return [None if np.isnan(value) else round(float(value), 4) for value in values[:, number]]

    content = {
        "mre_mm": evaluation.summary()["mre_mm"],
        "cases": list(evaluation.cases),
        "landmarks": {
            name: {
                "error_mm": column(evaluation.errors_mm, number),
                "score": column(evaluation.scores, number),
                "true_status": evaluation.true_status[:, number].tolist(),
                "predicted_status": evaluation.predicted_status[:, number].tolist(),
            }
            for number, name in enumerate(evaluation.names)
        },
    }
    write_json(path, content)


def write_evaluation(folder: str | os.PathLike, evaluation: Evaluation) -> None:
    """
    Write ``per_landmark.csv``, ``per_case.csv``, with measurements ``biometry.csv``, and, last,
    ``metrics.json``.
    """
    tables: dict[str, Sequence[dict[str, Any]]] = {
        "per_landmark": evaluation.per_landmark(),
        "per_case": evaluation.per_case(),
    }
    if evaluation.biometry:
        tables["biometry"] = evaluation.biometry
    for name, rows in tables.items():
        write_rows(Path(folder) / f"{name}.csv", rows)
    write_json(Path(folder) / "metrics.json", evaluation.summary())


def landmark_table(folder: str | os.PathLike) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """
    What :func:`write_evaluation` wrote: the figures over all, and one row per landmark.
    """
    with open(Path(folder) / "per_landmark.csv", encoding="utf-8", newline="") as stream:
        return read_json(Path(folder) / "metrics.json"), list(csv.DictReader(stream))


def summary_text(folder: str | os.PathLike, title: str) -> str:
    """
    The main figures and the landmarks' errors that :func:`write_evaluation` wrote, as a table for a terminal.
    """
    metrics, rows = landmark_table(folder)
    rates = [key for key in rows[0] if key.startswith("sdr_")]
    total = {"landmark": "all landmarks", "max_mm": None, **metrics, **_presence_of_all(rows)}
    width = max(len(row["landmark"]) for row in [*rows, total])
    shown = [key for key in ("present", "missed", "false") if key in rows[0]]
    lines = [
        f"\n{title}: {metrics['cases']} cases, {metrics['points_compared']} points",
        f"{'landmark':{width}}  {'MRE mm':>7} {'std':>6} {'median':>6} {'max':>6}  "
        + "  ".join(f"{rate[4:]:>6}" for rate in rates)
        + "".join(f"{key:>9}" for key in shown),
    ]
    for row in [*rows, total]:
        cells = " ".join(f"{figure_text(row[key]):>6}" for key in ("std_mm", "median_mm", "max_mm"))
        lines.append(
            f"{row['landmark']:{width}}  {figure_text(row['mre_mm']):>7} {cells}  "
            + "  ".join(f"{figure_text(row[rate], 1):>6}" for rate in rates)
            + "".join(f"{row[key]:>9}" for key in shown)
        )
    if metrics.get("no_image_mre_mm") is not None:
        lines.append(
            f"without looking at the image (mean position): {figure_text(metrics['no_image_mre_mm'])} mm"
        )
    lines += _posterior_lines(metrics)
    without = [row["landmark"] for row in rows if row.get("present") == "0"]
    if without:
        lines.append(f"no error for {some_names(without)}: it is present in none of these cases")
    for row in metrics.get("biometry", ()):
        error, bias = figure_text(row["mean_absolute_error"]), figure_text(row["bias"])
        lines.append(
            f"{row['measurement']}: mean absolute error {error} {row['unit']}, bias {bias} {row['unit']}"
        )
    presence = metrics["presence"]
    if presence["present_missed"] or presence["absent_recognised"] or presence["absent_but_predicted"]:
        lines.append(
            "presence: " + ", ".join(f"{count} {key.replace('_', ' ')}" for key, count in presence.items())
        )
    if metrics.get("unusual_cases"):
        odd = [f"{case} ({value:.1f})" for case, value in metrics["unusual_cases"].items()]
        more = f" and {len(odd) - MOST_ODD} more" if len(odd) > MOST_ODD else ""
        shown_odd = ", ".join(odd[:MOST_ODD]) + more
        lines.append(f"do not look like the training images (usual is below 1): {shown_odd}")
    if (stressed := Path(folder) / "stress.json").is_file():
        lines.append(read_json(stressed)["summary"])
    return "\n".join(lines) + "\n"


def _posterior_lines(metrics: dict[str, Any]) -> list[str]:
    """What the landmarks gained by deciding together, and whether their radii hold."""
    lines = []
    if (found := metrics.get("as_found")) is not None:
        before = f"{figure_text(found['mre_mm'])} mm (median {figure_text(found['median_mm'])})"
        after = f"{figure_text(metrics['mre_mm'])} mm ({figure_text(metrics['median_mm'])})"
        lines.append(f"posterior: {before} as the network found them, {after} after all decided together")
    if (told := metrics.get("uncertainty")) is not None:
        held = ", ".join(
            f"{figure_text(share, 1)} % in {level} %" for level, share in told["coverage"].items()
        )
        lines.append(
            f"radii: {held}; the 95 % radius is {figure_text(told['radius95_mm'])} mm in the middle, its "
            f"rank correlation with the error {figure_text(told['spearman'])}"
        )
    return lines


def _presence_of_all(rows: Sequence[dict[str, str]]) -> dict[str, int]:
    """How many points are present, missed, and predicted although absent, over all landmarks."""
    counted = ("present", "missed", "false")
    return {key: sum(int(row[key]) for row in rows) for key in counted if key in rows[0]}


def figure_text(value: Any, digits: int = 2) -> str:
    """
    A number for people, or for one that there is not.
    """
    known = value not in (None, "") and math.isfinite(float(value))
    return f"{float(value):.{digits}f}" if known else "-"
