# SPDX-License-Identifier: Apache-2.0
"""What users type on the command line, checked before any work begins: names of options, their values, how
many."""

from __future__ import annotations

import difflib
import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ..errors import LandmarkError

__all__ = ["Command", "first_folds", "given", "one_of", "positive", "positives", "suggestion"]

SHORT_OPTION = re.compile(r"-[A-Za-z]")
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Command:
    """
    A function as a command: its positional parameters are arguments, the others options. A command without
    arguments takes its first option by its place, too.

    Args:
        function: annotated, with a docstring whose section ``Args`` describes each parameter.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.name = function.__name__.replace("_", "-")
        self.parameters = dict(inspect.signature(function).parameters)
        hints = typing.get_type_hints(function)
        self.kinds = {name: _kind(hint) for name, hint in hints.items()}
        self.value_optional = {
            name for name, hint in hints.items() if {str, bool} <= {*typing.get_args(hint)}
        }

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """Parameters that are given by name."""
        rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {
            name: parameter
            for name, parameter in self.parameters.items()
            if parameter.default is not inspect.Parameter.empty and parameter.kind not in rest
        }

    @property
    def arguments(self) -> dict[str, inspect.Parameter]:
        """Parameters that are given by their place."""
        return {name: value for name, value in self.parameters.items() if name not in self.options}

    def usage(self) -> str:
        """One line: the command and what it takes."""
        places = [
            f"[{_metavar(name)} ...]" if value.kind is inspect.Parameter.VAR_POSITIONAL else _metavar(name)
            for name, value in self.arguments.items()
        ]
        if not self.arguments and self.options:
            places = [f"[{_metavar(next(iter(self.options)))}]"]
        return " ".join(["auto3dlandmark", self.name, *places, *(["[options]"] if self.options else [])])

    def read(self, words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
        """
        The words behind the command as values for its function.

        Raises:
            LandmarkError: for an option that is unknown, given twice or without its value, a value of another
                kind, or too few or too many arguments.
        """
        places: list[str] = []
        options: dict[str, Any] = {}
        left = list(words)
        while left:
            word = left.pop(0)
            if not word.startswith("--") and not SHORT_OPTION.match(word):
                places.append(word)
                continue
            typed, equals, value = word.partition("=")
            name = typed.lstrip("-").replace("-", "_")
            if name not in self.options:
                raise LandmarkError(self._unknown(typed))
            if name in options:
                raise LandmarkError(f"{typed} is given twice. Give it once.")
            if not equals and self.kinds[name] is bool:
                value = "true"
            elif not equals:
                if not left or left[0].startswith("--"):
                    if name in self.value_optional:
                        options[name] = True
                        continue
                    raise LandmarkError(f"{typed} needs a value, as in {typed} {_example(self.kinds[name])}.")
                value = left.pop(0)
            options[name] = self._value(name, value)
        first = next(iter(self.options), None)
        if not self.arguments and first is not None and first not in options and len(places) == 1:
            options[first] = self._value(first, places.pop())
        self._count(places)
        return [self._value(self._name_of_place(number), word) for number, word in enumerate(places)], options

    def _unknown(self, typed: str) -> str:
        known = ["--" + name.replace("_", "-") for name in self.options]
        name = "--" + typed.lstrip("-").replace("_", "-")
        there = f"It has {', '.join(known)}." if known else "It has none."
        return f"{self.name} has no option {typed}. {suggestion(name, known) or there}"

    def _count(self, places: Sequence[str]) -> None:
        many = any(value.kind is inspect.Parameter.VAR_POSITIONAL for value in self.arguments.values())
        fixed = [
            name
            for name, value in self.arguments.items()
            if value.kind is not inspect.Parameter.VAR_POSITIONAL
        ]
        if len(places) < len(fixed):
            missing = ", ".join(_metavar(name) for name in fixed[len(places) :])
            raise LandmarkError(f"{self.name} needs {missing}. Usage: {self.usage()}")
        if len(places) > len(fixed) and not many:
            raise LandmarkError(
                f"{self.name} takes {len(fixed)} arguments, not {len(places)}: {places[len(fixed)]!r} is "
                "left over. "
                f"Usage: {self.usage()}"
            )

    def _name_of_place(self, number: int) -> str:
        return list(self.arguments)[min(number, len(self.arguments) - 1)]

    def _value(self, name: str, text: str) -> Any:
        """A word as a value of the kind that the parameter's annotation names; ``None`` is what an option is
        left out as."""
        kind = self.kinds[name]
        if text == "None" and name in self.options and self.options[name].default is None:
            return None
        try:
            if kind is bool:
                return WORDS[text.lower()]
            if kind is tuple:
                return tuple(float(part) for part in text.strip("()[]").split(",") if part.strip())
            return kind(text)
        except (ValueError, KeyError):
            wanted = {bool: "true or false", int: "a whole number", float: "a number", tuple: "numbers"}[kind]
            raise LandmarkError(f"{name}={text!r} must be {wanted}, as in {_example(kind)}.") from None


def _kind(hint: Any) -> type:
    """What a word is turned into: str (also where True stands for no word), int, float, bool, or tuple for
    several numbers."""
    choices = [one for one in typing.get_args(hint) if one is not types.NoneType]
    if set(choices) == {str, bool}:
        return str
    if isinstance(hint, types.UnionType) and len(choices) == 1:
        hint = choices[0]
    return hint if hint in (str, int, float, bool) else tuple if typing.get_args(hint) else str


def _example(kind: type) -> str:
    return {int: "2", float: "1.5", tuple: "2,3,4", bool: "true"}.get(kind, "NAME")


def _metavar(name: str) -> str:
    return name.upper().replace("_", "-")


def suggestion(typed: str, known: Collection[str]) -> str:
    """
    "Did you mean ...?" for a mistyped name; empty when nothing is near.
    """
    near = difflib.get_close_matches(typed, known, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else ""


def first_folds(available: Sequence[int], count: Any) -> list[int]:
    """
    The first so many folds of a dataset.

    Raises:
        LandmarkError: when that is no number of folds, or nothing can be held out.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise LandmarkError(f"folds={count!r} must be a whole number from 1 to {len(available)}.")
    if len(available) < 2:
        raise LandmarkError(
            "the dataset has a single annotated case. At least two are needed, one to hold out."
        )
    return list(available)[:count]


def positive(name: str, value: float) -> float:
    """
    A number greater than 0.

    Raises:
        LandmarkError: for another.
    """
    if not value > 0:
        raise LandmarkError(f"{name}={value:g} must be a number greater than 0.")
    return float(value)


def positives(name: str, values: Sequence[float]) -> tuple[float, ...]:
    """
    Numbers greater than 0, at least one.

    Raises:
        LandmarkError: for others.
    """
    if not values:
        raise LandmarkError(f"{name} must be at least one number, as in 2,3,4.")
    return tuple(positive(name, value) for value in values)


def one_of(name: str, value: object, choices: Sequence[object]) -> None:
    """
    Raises:
        LandmarkError: for a value that is none of these; None is left out.
    """
    if value is not None and value not in choices:
        raise LandmarkError(f"{name}={value!r} is unknown. Choose one of {', '.join(map(str, choices))}.")


def given(**options: Any) -> Mapping[str, Any]:
    """
    Those options that are not None.
    """
    return {name: value for name, value in options.items() if value is not None}
