# SPDX-License-Identifier: Apache-2.0
"""What a check has to say: one thing that is wrong, how serious it is, and what to do.

An *error* stops; what is *suspect* is very likely wrong, and a *warning* is something to look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .landmarks import LandmarkError

__all__ = ["ERROR", "SEVERITIES", "SUSPECT", "WARNING", "Finding", "raise_on_errors", "report_findings"]

ERROR, SUSPECT, WARNING = "error", "suspect", "warning"
SEVERITIES = (ERROR, SUSPECT, WARNING)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: how serious, in which case, a sentence with what to do, and on which landmarks."""

    severity: str
    case: str
    message: str
    landmarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.severity}: {self.case}: {self.message}"


def report_findings(findings: Iterable[Finding]) -> str:
    """
    All findings as lines of text.
    """
    return "\n".join(str(finding) for finding in findings)


def raise_on_errors(findings: Sequence[Finding]) -> None:
    """
    Raises:
        LandmarkError: naming every case with an error, when there is one.
    """
    errors = [finding for finding in findings if finding.severity == ERROR]
    if errors:
        cases = len({finding.case for finding in errors})
        text = report_findings(finding for finding in findings if finding.severity in (ERROR, SUSPECT))
        raise LandmarkError(f"the data has {len(errors)} errors in {cases} cases:\n{text}")
