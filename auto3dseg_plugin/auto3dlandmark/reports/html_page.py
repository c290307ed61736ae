# SPDX-License-Identifier: Apache-2.0
"""An HTML page that loads nothing from anywhere, and what it is made of."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image

from ..files import write_text

__all__ = ["mm_text", "png_of", "rates_of", "section", "table_of", "write_page"]


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


def section(title: str, *text: str, **parts: Any) -> dict[str, Any]:
    """
    A section of :func:`write_page`.

    Args:
        text: paragraphs.
        parts: ``list``, ``table``, ``chart`` or ``pictures``.
    """
    if "chart" in parts:
        parts["chart"] = Markup(parts["chart"])  # made by matplotlib, which escapes what it draws
    return {"title": title, "text": text, **parts}


def table_of(head: Sequence[str], rows: Sequence[Sequence[Any]], best: int | None = None) -> dict[str, Any]:
    """
    A table of a section.

    Args:
        best: the row that stands out.
    """
    return {
        "head": head,
        "rows": [{"cells": cells, "best": number == best} for number, cells in enumerate(rows)],
    }


def png_of(image: Image.Image) -> str:
    """A picture as text for a page."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def mm_text(value: float | None) -> str:
    """Millimetres, or that there are none."""
    return "-" if value is None else f"{value:.2f} mm"


def rates_of(row: Mapping[str, Any]) -> list[str]:
    """Which columns are success detection rates."""
    return [key for key in row if key.startswith("sdr_")]
