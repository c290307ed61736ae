# SPDX-License-Identifier: Apache-2.0
"""What a check has to say: one thing that is wrong, how serious it is, and what to do.

An *error* stops; what is *suspect* is very likely wrong, and a *warning* is something to look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import LandmarkError

__all__ = ["ERROR", "SEVERITIES", "SUSPECT", "WARNING", "Finding", "raise_on_errors", "report_findings"]

ERROR, SUSPECT, WARNING = "error", "suspect", "warning"
SEVERITIES = (ERROR, SUSPECT, WARNING)


@dataclass(frozen=True)
class Finding:
    """
    One thing that is wrong.

    Args:
        severity: one of ``SEVERITIES``.
        case: its id.
        message: what is wrong, the value, what is usual, and what to do.
        landmarks: those concerned.
        suggestion: the very change that would put it right, as far as it can be told; nothing makes it for
            you.
        expected: where the first of the landmarks is expected, RAS millimetres.
    """

    severity: str
    case: str
    message: str
    landmarks: tuple[str, ...] = ()
    suggestion: str = ""
    expected: tuple[float, ...] | None = None

    def __str__(self) -> str:
        return f"{self.severity}: {self.case}: {self.message}"


def report_findings(findings: Iterable[Finding], suggestions: bool = False) -> str:
    """
    All findings as lines of text, each with its suggestion below if wanted.
    """
    lines = []
    for finding in findings:
        lines.append(str(finding))
        if suggestions and finding.suggestion:
            lines.append(f"    suggestion: {finding.suggestion}")
    return "\n".join(lines)


def raise_on_errors(findings: Sequence[Finding], suggestions: bool = False) -> None:
    """
    Args:
        suggestions: tell them too.

    Raises:
        LandmarkError: naming every case with an error, when there is one.
    """
    errors = [finding for finding in findings if finding.severity == ERROR]
    if errors:
        cases = len({finding.case for finding in errors})
        serious = [finding for finding in findings if finding.severity in (ERROR, SUSPECT)]
        text = report_findings(serious, suggestions)
        raise LandmarkError(f"the data has {len(errors)} errors in {cases} cases:\n{text}")
