# SPDX-License-Identifier: Apache-2.0
"""From the words that were typed to the one function that is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from .. import __version__
from ..errors import LandmarkError
from .arguments import Command, suggestion
from .comparing import ablate, benchmark
from .completion import completion_script
from .datasets import check, convert, export_nnlandmark
from .help import command_page, overview_page
from .main_job import demo, evaluate, run
from .models import calibrate, import_nnlandmark, publish, stress
from .new_images import predict, transfer
from .review import effort, serve, view
from .single_steps import analyze, build, plan, train

__all__ = ["GROUPS", "main"]


def completion(shell: str) -> None:
    """
    Print what lets a shell complete commands and options.

    For bash: eval "$(auto3dlandmark completion bash)", in ~/.bashrc.

    Args:
        shell: bash or zsh.
    """
    print(completion_script(COMMANDS, shell), end="")


GROUPS = {
    title: [Command(function) for function in functions]
    for title, functions in {
        "main job": (run, predict, evaluate, demo),
        "few annotated images": (transfer,),
        "data": (check, convert, export_nnlandmark),
        "the steps of run, one by one": (analyze, plan, build, train),
        "which is better": (benchmark, ablate),
        "models": (calibrate, stress, publish, import_nnlandmark),
        "review": (serve, view, effort),
        "shell": (completion,),
    }.items()
}
COMMANDS = {command.name: command for commands in GROUPS.values() for command in commands}
HELP = ("-h", "--help")


def main(arguments: Sequence[str] | None = None) -> None:
    """
    The entry point: user errors end with one message and exit status 1, without a traceback.

    Args:
        arguments: the words after the program's name; left out, those it was started with.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(words)
    except LandmarkError as error:
        sys.exit(f"auto3dlandmark: {error}")
    except KeyboardInterrupt:
        sys.exit("auto3dlandmark: stopped. Run the same command again to go on.")


def _run(words: list[str]) -> None:
    if not words or words[0] in (*HELP, "help"):
        asked = words[1:2] if words[:1] == ["help"] else []
        print(command_page(_command(asked[0])) if asked else overview_page(GROUPS, __version__))
    elif words[0] in ("--version", "version"):
        print(f"auto3dlandmark {__version__}")
    elif any(word in HELP for word in words[1:]):
        print(command_page(_command(words[0])))
    else:
        _call(_command(words[0]), words[1:])


def _command(name: str) -> Command:
    wanted = name.replace("_", "-")
    if wanted not in COMMANDS:
        hint = suggestion(wanted, COMMANDS) or f"There are {', '.join(COMMANDS)}."
        raise LandmarkError(f"there is no command {name!r}. {hint}")
    return COMMANDS[wanted]


def _call(command: Command, words: list[str]) -> None:
    places, options = command.read(words)
    import fire

    fire.Fire(
        partial(command.function, *places, **options), command=[], name=f"auto3dlandmark {command.name}"
    )
