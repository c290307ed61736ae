# SPDX-License-Identifier: Apache-2.0
"""An evaluation as one page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..data.datalist import Case
from ..evaluation.compare import Evaluation
from ..evaluation.tables import figure_text
from .charts import calibration_chart, cumulative_chart, landmark_chart
from .html_page import mm_text, rates_of, section, table_of, write_page
from .pictures import worst_pictures

__all__ = ["write_report"]


def write_report(
    path: str | os.PathLike,
    title: str,
    evaluation: Evaluation,
    cases: Sequence[Case],
    predictions: str | os.PathLike,
) -> None:
    """
    Write what an evaluation says: failures first, then all landmarks, then whether radii hold.

    Args:
        path: an .html file.
        title: of the page.
        evaluation: of these cases.
        cases: annotated, with their images.
        predictions: the folder of their predictions.
    """
    summary = evaluation.summary()
    sections = [
        section(
            "The largest errors",
            *_worst_text(summary),
            pictures=worst_pictures(evaluation, cases, predictions),
        ),
        section("All landmarks", table=_landmark_rows(evaluation)),
    ]
    if summary["points_compared"]:
        sections += [
            section("Error by landmark", chart=landmark_chart(evaluation.errors_mm, evaluation.names)),
            section("Cumulative error", chart=cumulative_chart({"": evaluation.errors_with_missed()})),
        ]
    if (told := summary.get("uncertainty")) is not None:
        text = f"The 95 % radius is {mm_text(told['radius95_mm'])} in the middle; "
        text += "its rank correlation with the error is "
        sections.append(
            section(
                "Does it know how far off it is?",
                text + f"{figure_text(told['spearman'])}.",
                chart=calibration_chart(told["coverage"]),
            )
        )
    if summary.get("biometry"):
        sections.append(section("Lengths and angles", table=_biometry_rows(summary["biometry"])))
    sections.append(section("Cases", table=_case_rows(evaluation)))
    lead = f"{summary['cases']} cases, {summary['points_compared']} points with an error"
    write_page(path, title, lead, _headline(summary), sections)


def _headline(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    figures = [
        (mm_text(summary["mre_mm"]), "mean error"),
        (mm_text(summary["median_mm"]), "median"),
        *((f"{figure_text(summary[key], 1)} %", f"within {key[4:-2]} mm") for key in rates_of(summary)),
    ]
    if summary.get("no_image_mre_mm") is not None:
        figures.append((mm_text(summary["no_image_mre_mm"]), "mean error without looking"))
    if summary["presence"]["present_missed"]:
        figures.append((str(summary["presence"]["present_missed"]), "points missed"))
    return figures


def _worst_text(summary: Mapping[str, Any]) -> list[str]:
    odd = summary.get("unusual_cases")
    text = "Green rings are the annotated points, red crosses the predicted ones."
    if not odd:
        return [text]
    return [text, f"{len(odd)} cases do not look like the training images: {', '.join(list(odd)[:10])}."]


def _landmark_rows(evaluation: Evaluation) -> dict[str, Any]:
    found = evaluation.per_landmark()
    rates = rates_of(found[0])
    head = ["landmark", "mean mm", "std", "median", "max", *(f"within {key[4:-2]} mm" for key in rates)]
    rows = [
        [
            row["landmark"],
            *(figure_text(row[key]) for key in ("mre_mm", "std_mm", "median_mm", "max_mm")),
            *(figure_text(row[key], 1) for key in rates),
            row["present"],
            row["missed"],
            row["false"],
        ]
        for row in found
    ]
    return table_of([*head, "present", "missed", "false"], rows)


def _case_rows(evaluation: Evaluation) -> dict[str, Any]:
    rows = [
        [
            row["case"],
            figure_text(row["mre_mm"]),
            figure_text(row["max_mm"]),
            row["worst_landmark"] or "-",
            row["missed"],
            figure_text(row.get("unusual"), 1),
        ]
        for row in evaluation.per_case()
    ]
    return table_of(
        ["case", "mean mm", "max", "worst landmark", "missed", "unusual (usual is below 1)"], rows
    )


def _biometry_rows(biometry: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = [
        [
            row["measurement"],
            row["unit"],
            row["cases"],
            figure_text(row["mean_absolute_error"]),
            figure_text(row["bias"]),
        ]
        for row in biometry
    ]
    return table_of(["measurement", "unit", "cases", "mean absolute error", "bias"], rows)
