# SPDX-License-Identifier: Apache-2.0
"""An evaluation, or a comparison of several, as one HTML page that loads nothing from anywhere."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from ..data.datalist import Case
from ..data.slices import three_slices
from ..errors import LandmarkError
from ..evaluation.compare import Evaluation, prediction_of
from ..evaluation.comparison import subjects_of, worse_text
from ..evaluation.paired import rank_shares
from ..evaluation.tables import figure_text
from ..files import write_text
from ..formats import read_landmarks
from ..landmarks import PRESENT
from .charts import calibration_chart, cumulative_chart, difference_chart, landmark_chart, rank_chart

__all__ = ["png_of", "write_comparison_report", "write_page", "write_report"]

MOST_PICTURES = 6
LEAST_VIEW_MM, VIEW = 25.0, 2.0  # from a landmark to a picture's border: at least, and times its error


def write_report(
    path: str | os.PathLike,
    title: str,
    evaluation: Evaluation,
    cases: Sequence[Case],
    predictions: str | os.PathLike,
    notes: Sequence[str] = (),
) -> None:
    """
    Write what an evaluation says: failures first, then all landmarks, then whether radii hold.

    Args:
        path: an .html file.
        title: of the page.
        evaluation: of these cases.
        cases: annotated, with their images.
        predictions: the folder of their predictions.
        notes: sentences that a reader should know.
    """
    summary = evaluation.summary()
    sections = [
        _section(
            "The largest errors", *_worst_text(summary), pictures=_worst(evaluation, cases, predictions)
        ),
        _section("All landmarks", table=_landmark_rows(evaluation)),
    ]
    if summary["points_compared"]:
        sections += [
            _section("Error by landmark", chart=landmark_chart(evaluation.errors_mm, evaluation.names)),
            _section("Cumulative error", chart=cumulative_chart({"": _with_missed(evaluation)})),
        ]
    if (told := summary.get("uncertainty")) is not None:
        text = f"The 95 % radius is {_mm(told['radius95_mm'])} in the middle; "
        text += "its rank correlation with the error is "
        sections.append(
            _section(
                "Does it know how far off it is?",
                text + f"{figure_text(told['spearman'])}.",
                chart=calibration_chart(told["coverage"]),
            )
        )
    if summary.get("biometry"):
        sections.append(_section("Lengths and angles", table=_biometry_rows(summary["biometry"])))
    sections.append(_section("Cases", table=_case_rows(evaluation)))
    if notes:
        sections.append(_section("To be known", list=list(notes)))
    lead = f"{summary['cases']} cases, {summary['points_compared']} points with an error"
    write_page(path, title, lead, _headline(summary), sections)


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
        _section("All systems", _reading(), table=_system_rows(rows)),
        _section(
            "Cumulative error",
            chart=cumulative_chart({name: _with_missed(evaluations[name]) for name in names}),
        ),
    ]
    if len(rows) > 1:
        sections.append(
            _section(
                "How much worse than the best",
                "Dots are mean differences of the same cases, lines where the mean lies with 95 % over other "
                "cases.",
                chart=difference_chart(rows),
            )
        )
        sections.append(
            _section(
                "Would another set of cases give the same ranks?",
                chart=rank_chart(rank_shares(errors, subjects), names),
            )
        )
    sections.append(
        _section(
            f"The largest errors of {best}", pictures=_worst(evaluations[best], cases, predictions[best])
        )
    )
    if np.isfinite(errors[best]).any():
        chart = landmark_chart(errors[best], evaluations[best].names)
        sections.append(_section(f"Error of {best} by landmark", chart=chart))
    sections.append(_section("The systems", list=_about(systems, names)))
    write_page(path, f"Benchmark on {dataset}", lead, [], sections)


def _reading() -> str:
    return (
        "Errors in millimetres. A system is called worse when Wilcoxon's signed ranks of the cases, "
        "corrected by Holm for all pairs of systems, say so at 5 %, and the mean and the median difference, "
        "too. What is within so many millimetres, and above 10 mm, counts missed points."
    )


def _with_missed(evaluation: Evaluation) -> np.ndarray:
    """Errors, infinite for points that are there and were missed."""
    missed = (evaluation.true_status == PRESENT) & (evaluation.predicted_status != PRESENT)
    return np.where(missed, np.inf, evaluation.errors_mm)


def _section(title: str, *text: str, **parts: Any) -> dict[str, Any]:
    if "chart" in parts:
        parts["chart"] = Markup(parts["chart"])  # made by matplotlib, which escapes what it draws
    return {"title": title, "text": text, **parts}


def write_page(
    path: str | os.PathLike,
    title: str,
    lead: str,
    figures: Sequence[tuple[str, str]],
    sections: Sequence[Mapping[str, Any]],
) -> None:
    """
    Write a page that loads nothing.

    Args:
        path: an .html file.
        title, lead: a heading and a sentence.
        figures: values to stand out, and what they are.
        sections: each with a ``title``, and ``text``, ``list``, ``table``, ``chart`` (markup) or ``pictures``
            (``png``, ``alt`` and ``caption``).
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.ChainableUndefined)
    page = environment.get_template("report.html")
    write_text(path, page.render(title=title, lead=lead, figures=figures, sections=sections))


def _headline(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    figures = [
        (_mm(summary["mre_mm"]), "mean error"),
        (_mm(summary["median_mm"]), "median"),
        *(
            (f"{figure_text(value, 1)} %", f"within {key[4:-2]} mm")
            for key, value in summary.items()
            if _is_rate(key)
        ),
    ]
    if summary.get("no_image_mre_mm") is not None:
        figures.append((_mm(summary["no_image_mre_mm"]), "mean error without looking"))
    if summary["presence"]["present_missed"]:
        figures.append((str(summary["presence"]["present_missed"]), "points missed"))
    return figures


def _is_rate(key: str) -> bool:
    return key.startswith("sdr_")


def _worst_text(summary: Mapping[str, Any]) -> list[str]:
    odd = summary.get("unusual_cases")
    text = "Green rings are the annotated points, red crosses the predicted ones."
    if not odd:
        return [text]
    return [text, f"{len(odd)} cases do not look like the training images: {', '.join(list(odd)[:10])}."]


def _worst(
    evaluation: Evaluation, cases: Sequence[Case], predictions: str | os.PathLike
) -> list[dict[str, str]]:
    """Pictures of the largest error of each of the worst cases."""
    by_id = {case.id: case for case in cases}
    pictures: list[dict[str, str]] = []
    for row in evaluation.per_case():
        case = by_id[row["case"]]
        if row["mre_mm"] is None or len(pictures) == MOST_PICTURES:
            break
        landmark, error = row["worst_landmark"], row["max_mm"]
        path = prediction_of(predictions, case)
        if path is None:
            continue
        found = read_landmarks(path).select([landmark])
        try:
            image = three_slices(case, landmark, found.points[0], max(LEAST_VIEW_MM, VIEW * error))
        except LandmarkError:
            continue  # an image that has gone since
        pictures.append(
            {
                "png": png_of(image),
                "alt": f"sagittal, coronal and axial slice of {case.id} through {landmark}",
                "caption": f"{case.id}, {landmark}: {_mm(error)} off; mean of the case {_mm(row['mre_mm'])}",
            }
        )
    return pictures


def png_of(image: Image.Image) -> str:
    """A picture as text for a page."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _rows(head: Sequence[str], rows: Sequence[Sequence[Any]], best: int | None = None) -> dict[str, Any]:
    return {
        "head": head,
        "rows": [{"cells": cells, "best": number == best} for number, cells in enumerate(rows)],
    }


def _landmark_rows(evaluation: Evaluation) -> dict[str, Any]:
    found = evaluation.per_landmark()
    rates = [key for key in found[0] if _is_rate(key)]
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
    return _rows([*head, "present", "missed", "false"], rows)


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
    return _rows(["case", "mean mm", "max", "worst landmark", "missed", "unusual (usual is below 1)"], rows)


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
    return _rows(["measurement", "unit", "cases", "mean absolute error", "bias"], rows)


def _system_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rates = [key for key in rows[0] if _is_rate(key)]
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
    return _rows(head, cells, best=0)


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


def _mm(value: Any) -> str:
    return "-" if value is None else f"{value:.2f} mm"
