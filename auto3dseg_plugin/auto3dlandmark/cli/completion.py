# SPDX-License-Identifier: Apache-2.0
"""A script that lets a shell complete commands, options and file names."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import LandmarkError
from .arguments import Command

__all__ = ["completion_script"]

SCRIPT = """\
_auto3dlandmark() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} options=
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
        return
    fi
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
    case $word in
        -*) COMPREPLY=($(compgen -W "$options --help" -- "$word")) ;;
        *) COMPREPLY=($(compgen -f -- "$word")) ;;
    esac
}}
complete -o filenames -F _auto3dlandmark auto3dlandmark
"""
BEFORE = {"bash": "", "zsh": "autoload -U +X bashcompinit && bashcompinit\n"}


def completion_script(commands: Mapping[str, Command], shell: str) -> str:
    """
    Args:
        commands: by name.
        shell: bash or zsh.

    Raises:
        LandmarkError: for another shell.
    """
    if shell not in BEFORE:
        raise LandmarkError(f"shell={shell!r} is unknown. Choose one of {', '.join(BEFORE)}.")
    options = {
        name: " ".join("--" + option.replace("_", "-") for option in command.options)
        for name, command in commands.items()
    }
    cases = "\n".join(f'        {name}) options="{named}" ;;' for name, named in options.items())
    return BEFORE[shell] + SCRIPT.format(commands=" ".join(commands), cases=cases)
