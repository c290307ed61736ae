# SPDX-License-Identifier: Apache-2.0
"""The findings of a check as one HTML page: what is wrong, worst first, with pictures. The page loads
nothing."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Sequence

from ..data.datalist import Case, Datalist
from ..data.slices import three_slices
from ..errors import LandmarkError
from ..files import write_text
from .findings import ERROR, SUSPECT, Finding

__all__ = ["write_check_report"]

MOST_PICTURES = 100
STYLE = """
body {font: 15px sans-serif; margin: 2em; max-width: 60em}
section {border-left: 6px solid #bbb; padding: .2em 1em; margin: 1em 0}
.error {border-color: #c22} .suspect {border-color: #e90}
img {background: #000} h2 {font-size: 1em; margin: .4em 0}
"""


def write_check_report(path: str | os.PathLike, findings: Sequence[Finding], datalist: Datalist) -> None:
    """
    Write the page; errors and suspects of annotated cases come with three slices through the landmark.

    Args:
        findings: as :func:`auto3dlandmark.checks.dataset.check_dataset` gives them.
        datalist: the checked dataset.
    """
    cases = {case.id: case for case in (*datalist.training, *datalist.testing)}
    parts = []
    for number, finding in enumerate(findings):
        serious = finding.severity in (ERROR, SUSPECT) and number < MOST_PICTURES
        picture = _picture(cases.get(finding.case), finding) if serious else ""
        title = html.escape(" ".join([finding.severity, finding.case, *finding.landmarks]))
        text = html.escape(finding.message)
        advice = f"<p>Suggestion: {html.escape(finding.suggestion)}.</p>" if finding.suggestion else ""
        body = f"<h2>{title}</h2><p>{text}</p>{advice}{picture}"
        parts.append(f'<section class="{finding.severity}">{body}</section>')
    root, count = html.escape(str(datalist.root)), len(datalist.training)
    summary = f"{count} annotated cases, {len(findings)} findings. Nothing in the data was changed."
    head = f"<!doctype html><meta charset='utf-8'><title>Check of {root}</title><style>{STYLE}</style>"
    write_text(path, f"{head}<h1>Check of {root}</h1><p>{summary}</p>{''.join(parts)}\n")


def _picture(case: Case | None, finding: Finding) -> str:
    if case is None or case.label is None:
        return ""
    landmark = finding.landmarks[0] if finding.landmarks else None
    try:
        image = three_slices(case, landmark, finding.expected)
    except LandmarkError:
        return ""  # the finding says what is wrong with the file
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    shown = html.escape(landmark or "the middle of its landmarks")
    key = "<p>Circle: where it is; cross: where it is expected.</p>" if finding.expected else ""
    what = f"sagittal, coronal and axial slice through {shown}"
    return f'<img alt="{what}" src="data:image/png;base64,{data}">{key}'
