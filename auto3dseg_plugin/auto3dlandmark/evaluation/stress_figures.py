# SPDX-License-Identifier: Apache-2.0
"""What a stress test says: errors, presence, radii and warnings by disturbance and severity, as rows, as
files and as a table for a terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_json, write_rows
from .disturbances import DISTURBANCES
from .tables import figure_text

__all__ = ["UNDISTURBED", "Look", "StressTest", "stress_table", "write_stress"]

UNDISTURBED = "undisturbed"
SEVERITIES = (1, 2, 3)
FAR_MM = 10.0
FAILING = 3.0  # times the error that 95 % of the undisturbed points are within: a case whose mean is beyond
NAMED = 3  # disturbances in the summary


@dataclass(frozen=True)
class Look:
    """
    What was found in one image of one case.

    Args:
        case: its id.
        disturbance, severity: what was done to it; severity 0 is nothing.
        errors_mm: of landmarks inside the image, shape (N,); NaN where the truth or the prediction has no
            point, or the landmark lies outside.
        radii95_mm: shape (N,); NaN where none is given.
        missed: landmarks inside that are predicted absent.
        false: absent landmarks that are predicted present.
        outside: landmarks that lie outside the image.
        outside_claimed: those of them that are predicted at a place inside.
        unusual: as :class:`auto3dlandmark.estimates.Estimates` says; NaN where it does not.
        failed: why there is no prediction; None where there is one.
    """

    case: str
    disturbance: str
    severity: int
    errors_mm: np.ndarray
    radii95_mm: np.ndarray
    missed: int = 0
    false: int = 0
    outside: int = 0
    outside_claimed: int = 0
    unusual: float = np.nan
    failed: str | None = None


@dataclass(frozen=True)
class StressTest:
    """
    A bundle's errors on disturbed images.

    Args:
        bundle: its folder.
        cases: ids.
        looks: at every case, undisturbed and in every disturbance and severity.
    """

    bundle: str
    cases: tuple[str, ...]
    looks: tuple[Look, ...]

    @property
    def failing_mm(self) -> float:
        """
        The mean error beyond which a case has failed: three times what 95 % of the undisturbed points are
        within; NaN where no point can be compared.
        """
        errors = np.concatenate([look.errors_mm for look in self._looks(UNDISTURBED, 0)])
        known = errors[np.isfinite(errors)]
        return FAILING * float(np.percentile(known, 95)) if len(known) else np.nan

    def rows(self) -> list[dict[str, Any]]:
        """One row for the undisturbed images, and one for each disturbance and severity."""
        return [self._row(*kind, self._looks(*kind)) for kind in self._kinds()]

    def case_rows(self) -> list[dict[str, Any]]:
        """As :meth:`rows`, with a row for each case."""
        return [
            {"case": look.case, **self._row(*kind, [look]), "unusual": _rounded(look.unusual)}
            for kind in self._kinds()
            for look in self._looks(*kind)
        ]

    def summary(self) -> str:
        """One line: the worst disturbances, and whether the predictions said that something was wrong."""
        rows = self.rows()
        told = [row for row in rows if row["severity"] == SEVERITIES[-1] and row["median_mm"] is not None]
        worst = sorted(told, key=lambda row: -row["median_mm"])[:NAMED]
        named = ", ".join(f"{row['disturbance']} {figure_text(row['median_mm'])}" for row in worst)
        failing = sum(row["failing_cases"] for row in rows)
        flagged = [row["failing_cases_flagged"] for row in rows if row["failing_cases_flagged"] is not None]
        if not failing:
            verdict = f"no mean over a case is above {figure_text(self.failing_mm)} mm"
        elif not flagged:
            verdict = f"{failing} failing cases, none of which this bundle can flag: calibrate it"
        else:
            verdict = f"{sum(flagged)} of {failing} failing cases flagged"
        return f"stress: {figure_text(rows[0]['median_mm'])} mm -> {named} (median, severest); {verdict}"

    def to_json(self) -> dict[str, Any]:
        """What :func:`write_stress` writes."""
        return {
            "bundle": self.bundle,
            "cases": list(self.cases),
            "failing_mm": _rounded(self.failing_mm),
            "summary": self.summary(),
            "rows": self.rows(),
            "case_rows": self.case_rows(),
            "no_prediction": [
                f"{look.case}, {look.disturbance} {look.severity}: {look.failed}"
                for look in self.looks
                if look.failed is not None
            ],
        }

    def _kinds(self) -> list[tuple[str, int]]:
        return [(UNDISTURBED, 0), *((one.name, number) for one in DISTURBANCES for number in SEVERITIES)]

    def _looks(self, disturbance: str, severity: int) -> list[Look]:
        return [one for one in self.looks if (one.disturbance, one.severity) == (disturbance, severity)]

    def _row(self, disturbance: str, severity: int, looks: Sequence[Look]) -> dict[str, Any]:
        errors = np.concatenate([look.errors_mm for look in looks])
        radii = np.concatenate([look.radii95_mm for look in looks])
        held = np.isfinite(errors) & np.isfinite(radii)
        known = errors[np.isfinite(errors)]
        means = np.array([_mean(look.errors_mm) for look in looks])
        unusual = np.array([look.unusual for look in looks])
        failing = means > self.failing_mm
        amounts = {one.name: one.severities for one in DISTURBANCES}
        return {
            "disturbance": disturbance,
            "severity": severity,
            "amount": amounts[disturbance][severity - 1] if severity else None,
            "points": len(known),
            "mean_mm": _rounded(_mean(known)),
            "median_mm": _rounded(np.median(known)) if len(known) else None,
            "p95_mm": _rounded(np.percentile(known, 95)) if len(known) else None,
            "above_10mm_percent": _percent(known > FAR_MM),
            "in_radius95_percent": _percent(errors[held] <= radii[held]),
            "missed": sum(look.missed for look in looks),
            "false": sum(look.false for look in looks),
            "outside": sum(look.outside for look in looks),
            "outside_claimed": sum(look.outside_claimed for look in looks),
            "flagged_percent": _percent(unusual[np.isfinite(unusual)] > 1),
            "failing_cases": int(failing.sum()),
            "failing_cases_flagged": (
                int((failing & (unusual > 1)).sum()) if np.isfinite(unusual).any() else None
            ),
            "no_prediction": sum(look.failed is not None for look in looks),
        }


def write_stress(folder: str | os.PathLike, test: StressTest) -> None:
    """
    Write ``stress.csv``, ``stress_cases.csv`` and, last, ``stress.json``.
    """
    content = test.to_json()
    for name, rows in (("stress", content["rows"]), ("stress_cases", content["case_rows"])):
        write_rows(Path(folder) / f"{name}.csv", rows)
    write_json(Path(folder) / "stress.json", content)


def stress_table(test: StressTest) -> str:
    """
    Errors against severity, and what else the severest did, for a terminal.
    """
    start, *rows = test.rows()
    width = max(len(one.name) for one in DISTURBANCES)
    heads = ("missed", "claimed", ">10 mm", "in 95 %", "flagged", "failing")
    lines = [
        f"\nundisturbed: {len(test.cases)} cases, {start['points']} points, "
        f"median {figure_text(start['median_mm'])} mm, mean {figure_text(start['mean_mm'])} mm, "
        f"95 % within {figure_text(start['p95_mm'])} mm",
        f"{'':{width}}  {'median / mean error in mm, by severity':<43}  at severity {SEVERITIES[-1]}",
        f"{'disturbance':{width}}  {'  '.join(f'{number:^13}' for number in SEVERITIES)}  {' '.join(heads)}",
    ]
    for number in range(0, len(rows), len(SEVERITIES)):
        severities = rows[number : number + len(SEVERITIES)]
        last = severities[-1]
        errors = "  ".join(
            f"{figure_text(row['median_mm']):>5} / {figure_text(row['mean_mm']):<5}" for row in severities
        )
        shares = [
            "-" if last[key] is None else f"{last[key]:.0f} %"
            for key in ("above_10mm_percent", "in_radius95_percent", "flagged_percent")
        ]
        claimed = f"{last['outside_claimed']}/{last['outside']}"
        cells = [str(last["missed"]), claimed, *shares, f"{last['failing_cases']}/{len(test.cases)}"]
        columns = " ".join(f"{cell:>{len(head)}}" for cell, head in zip(cells, heads))
        lines.append(f"{last['disturbance']:{width}}  {errors}  {columns}")
    return "\n".join(line.rstrip() for line in lines)


def _mean(errors: np.ndarray) -> float:
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if len(known) else np.nan


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _percent(held: np.ndarray) -> float | None:
    return round(float(100 * held.mean()), 2) if len(held) else None
