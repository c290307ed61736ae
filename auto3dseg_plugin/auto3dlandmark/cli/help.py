# SPDX-License-Identifier: Apache-2.0
"""The help pages: one of all commands, and one for each with its arguments, options and defaults."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Mapping, Sequence

from .arguments import Command

__all__ = ["command_page", "overview_page"]

EXAMPLES = """\
examples
  auto3dlandmark demo                    # a small dataset, and everything on it
  auto3dlandmark run DATASET WORK --folds 1 --minutes 60
  auto3dlandmark predict WORK/heatmap_0 IMAGES OUT
"""
WIDEST = 100


def overview_page(groups: Mapping[str, Sequence[Command]], version: str) -> str:
    """
    All commands in their groups, a line each.
    """
    width = max(len(command.name) for commands in groups.values() for command in commands)
    parts = [
        f"Auto3DLandmark {version}: self-configuring 3D landmark detection. For research; not a medical "
        "device.",
        "usage: auto3dlandmark COMMAND ...",
    ]
    for title, commands in groups.items():
        lines = [f"  {command.name:<{width}}  {summary_of(command)}" for command in commands]
        parts.append("\n".join([title, *lines]))
    parts += [EXAMPLES.rstrip(), "auto3dlandmark COMMAND --help shows what a command takes."]
    return "\n\n".join(parts)


def command_page(command: Command) -> str:
    """
    What a command does and takes, every option with its default.
    """
    doc = inspect.getdoc(command.function) or ""
    text, _, described = doc.partition("\nArgs:\n")
    notes = _descriptions(described)
    rows = {
        "arguments": [(name.upper().replace("_", "-"), notes.get(name, "")) for name in command.arguments],
        "options": [
            (
                f"--{name.replace('_', '-')} {_value(command, name)}".rstrip(),
                _with_default(command, name, notes),
            )
            for name in command.options
        ],
    }
    width = max((len(left) for part in rows.values() for left, _ in part), default=0)
    parts = [f"usage: {command.usage()}", _wrapped(text.strip(), "")]
    for title, lines in rows.items():
        if lines:
            body = [_wrapped(f"  {left:<{width}}  {right}", " " * (width + 4)) for left, right in lines]
            parts.append("\n".join([title, *body]))
    return "\n\n".join(parts)


def summary_of(command: Command) -> str:
    """
    The first sentence of a command's description.
    """
    first = (inspect.getdoc(command.function) or "").split("\n\n")[0]
    return " ".join(first.split()).rstrip(".")


def _descriptions(text: str) -> dict[str, str]:
    """The section ``Args`` of a docstring: what is said of each parameter."""
    found: dict[str, str] = {}
    name = ""
    for line in textwrap.dedent(text).splitlines():
        head, colon, rest = line.partition(": ")
        if colon and not line.startswith(" "):
            name, found[head] = head, rest.strip()
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return found


def _value(command: Command, name: str) -> str:
    return {bool: "", int: "N", float: "NUMBER", tuple: "NUMBERS"}.get(command.kinds[name], "VALUE")


def _with_default(command: Command, name: str, notes: Mapping[str, str]) -> str:
    default = command.options[name].default
    text = notes.get(name, "").rstrip(".")
    if default is None or default is False or default == "":
        return text
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return f"{text} (default: {shown})"


def _wrapped(text: str, indent: str) -> str:
    width = min(shutil.get_terminal_size((WIDEST, 40)).columns, WIDEST)
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        textwrap.fill(" ".join(part.split()) if not indent else part, width, subsequent_indent=indent)
        for part in paragraphs
    )
