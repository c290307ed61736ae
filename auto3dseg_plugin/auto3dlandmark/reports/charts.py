# SPDX-License-Identifier: Apache-2.0
"""Errors as vector graphics: each function gives one <svg> to stand in a page."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..estimates import LEVELS

__all__ = [
    "calibration_chart",
    "course_chart",
    "cumulative_chart",
    "difference_chart",
    "landmark_chart",
    "rank_chart",
]

# Told apart by the colour-blind, too. Source: Okabe and Ito, "Color universal design", 2008.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c8c8c")
DASHES = ("-", "--", ":")  # of further lines of the same colours
MOST_LANDMARKS = 60  # boxes that can be read; of more, the worst are shown
AROUND = 2  # cases on either side that are averaged with one
MOST_MM = 99.0  # percentile of the errors that a cumulative curve goes up to


@contextmanager
def _drawing(width: float, height: float, title: str) -> Iterator[tuple[Any, list[str]]]:
    """An axes to draw on, inches; the finished graphic is put into the list."""
    import matplotlib
    from matplotlib.figure import Figure

    svg: list[str] = []
    # Text stays text; names within the graphic are the same each time, and others than the next one's.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        yield axes, svg
        stream = io.StringIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of letters whose width it does not know; a browser has them
            figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    drawn = stream.getvalue()
    label = title.replace("&", "and").replace("<", " ").replace('"', "'")
    svg.append(drawn[drawn.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def landmark_chart(errors_mm: np.ndarray, names: Sequence[str]) -> str:
    """
    A box for each landmark, worst on top, and each case as a dot.

    Args:
        errors_mm: shape (cases, N).
        names: of the N landmarks.
    """
    known = [column[np.isfinite(column)] for column in errors_mm.T]
    order = sorted((i for i in range(len(names)) if len(known[i])), key=lambda i: known[i].mean())
    order = order[-MOST_LANDMARKS:]
    with _drawing(8.5, 0.9 + 0.26 * len(order), "error by landmark") as (axes, svg):
        axes.boxplot(
            [known[i] for i in order],
            orientation="horizontal",
            tick_labels=[_plain(names[i]) for i in order],
            widths=0.6,
            showfliers=False,
            medianprops={"color": COLOURS[1]},
        )
        random = np.random.default_rng(0)
        for row, i in enumerate(order, start=1):
            spread = random.uniform(-0.18, 0.18, len(known[i]))
            axes.plot(known[i], row + spread, ".", color=COLOURS[0], alpha=0.5, markersize=4)
        axes.set_xlabel("error, mm")
        axes.set_xlim(left=0)
    return svg[0]


def cumulative_chart(errors_mm: Mapping[str, np.ndarray]) -> str:
    """
    Which share of all points errs by less than so many millimetres.

    Args:
        errors_mm: by system, any shape; infinite for points that are there and were missed.
    """
    with _drawing(8.5, 3.6, "cumulative error") as (axes, svg):
        far = 0.0
        for number, (name, errors) in enumerate(errors_mm.items()):
            known = np.sort(errors[~np.isnan(errors)])
            found = known[np.isfinite(known)]
            if len(found):
                share = 100 * np.arange(1, len(known) + 1) / len(known)
                dash = DASHES[number // len(COLOURS) % len(DASHES)]
                axes.step(
                    known, share, dash, where="post", color=COLOURS[number % len(COLOURS)], label=_plain(name)
                )
                far = max(far, float(np.percentile(found, MOST_MM if len(errors_mm) == 1 else 90)))
        axes.set_xlim(0, far * 1.05 or 1)
        axes.set_ylim(0, 101)
        axes.set_xlabel("error, mm")
        axes.set_ylabel("points, %")
        axes.grid(alpha=0.3)
        if len(errors_mm) > 1:
            axes.legend(loc="lower right", fontsize=8, frameon=False)
    return svg[0]


def calibration_chart(coverage: Mapping[str, float]) -> str:
    """
    Whether radii hold what they say.

    Args:
        coverage: percent of the points that lie in the radius of each level, as in ``metrics.json``.
    """
    with _drawing(4.2, 3.6, "calibration of the radii") as (axes, svg):
        axes.plot([0, 100], [0, 100], "--", color=COLOURS[7], label="as told")
        axes.plot(LEVELS, [coverage[str(level)] for level in LEVELS], "o-", color=COLOURS[0], label="found")
        axes.set_xlabel("points that a radius is to hold, %")
        axes.set_ylabel("points that it holds, %")
        axes.set_xlim(0, 101)
        axes.set_ylim(0, 101)
        axes.legend(loc="upper left", frameon=False)
    return svg[0]


def difference_chart(rows: Sequence[Mapping[str, Any]]) -> str:
    """
    How much worse than the best, with 95 % intervals over cases.

    Args:
        rows: of :func:`auto3dlandmark.evaluation.comparison.comparison_rows`.
    """
    shown = [row for row in rows if row["worse_by_mm"] is not None][::-1]
    with _drawing(8.5, 0.9 + 0.3 * len(shown), "difference to the best system") as (axes, svg):
        for at, row in enumerate(shown):
            low, high = row["worse_low_mm"], row["worse_high_mm"]
            colour = COLOURS[1] if row["verdict"] == "worse" else COLOURS[0]
            if low is not None:
                axes.plot([low, high], [at, at], "-", color=colour, linewidth=2)
            axes.plot(row["worse_by_mm"], at, "o", color=colour)
        axes.axvline(0, color=COLOURS[7], linewidth=1)
        axes.set_yticks(range(len(shown)), [_plain(row["system"]) for row in shown])
        axes.set_xlabel("mean error of a case more than that of the best, mm")
    return svg[0]


def rank_chart(shares: np.ndarray, names: Sequence[str]) -> str:
    """
    How often each system takes each rank when cases are drawn again.

    Args:
        shares: shape (systems, ranks), as :func:`auto3dlandmark.evaluation.paired.rank_shares` gives them.
        names: of the systems.
    """
    with _drawing(8.5, 0.9 + 0.3 * len(names), "stability of the ranks") as (axes, svg):
        for row, of_system in enumerate(shares):
            for rank, share in enumerate(of_system):
                if share >= 0.005:
                    axes.scatter(rank + 1, len(names) - 1 - row, s=260 * share, color=COLOURS[0])
        axes.set_yticks(range(len(names)), [_plain(name) for name in names[::-1]])
        axes.set_xticks(range(1, len(names) + 1))
        axes.set_xlim(0.4, len(names) + 0.6)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlabel("rank; the area of a dot is how often")
        axes.grid(alpha=0.2)
    return svg[0]


def course_chart(values: Sequence[float | None], groups: Sequence[Any], label: str) -> str:
    """
    A value for each of many cases in their order, and the mean of those around it.

    Args:
        values: None where a case has none.
        groups: what each case belongs to, told apart by colours.
        label: of the values.
    """
    known = np.array([np.nan if value is None else value for value in values], dtype=float)
    kinds = list(dict.fromkeys(groups))
    with _drawing(8.5, 3.2, label) as (axes, svg):
        places = np.arange(1, len(known) + 1)
        for number, kind in enumerate(kinds):
            mine = np.array([group == kind for group in groups])
            axes.plot(
                places[mine],
                known[mine],
                "o",
                clip_on=False,
                color=COLOURS[number % len(COLOURS)],
                label=str(kind).lower(),
            )
        beside = [known[max(0, at - AROUND) : at + AROUND + 1] for at in range(len(known))]
        means = [np.nanmean(some) if np.isfinite(some).any() else np.nan for some in beside]
        axes.plot(places, means, "-", color=COLOURS[7])
        axes.set_xlabel("case")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.legend(title="model", fontsize=8, frameon=False)
    return svg[0]


def _plain(name: str) -> str:
    """A name that matplotlib does not take for a formula."""
    plain = name.replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain  # else no legend would show it
