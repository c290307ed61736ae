# SPDX-License-Identifier: Apache-2.0
"""Bundles run code: MONAI's configs evaluate what begins with "$" and call what is named as a ``_target_``.

What the template and the recipes evaluate and call is known. A bundle that asks for more is refused, unless
whoever loads it says that it is trusted.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import LandmarkError
from ..files import read_json
from ..planning import recipes
from .folder import TEMPLATES

__all__ = ["foreign_code", "refuse_foreign_code"]

# Written into configs by the planner, learning from unlabelled images, the import of nnLandmark's models,
# version 0.1, and bundles of 0.2.
KNOWN = re.compile(
    r"\$torch\.nn\.\w+|\$len\(@landmark_names\)|\$@bundle_root \+ '/models/ensemble\.pt'"
    r"|\$@epochs \* @epoch_length|\$@epochs if @minutes is None else 10\*\*6|\$@ckpt_dir \+ '/model\.pt'"
    r"|\$item_weights\(@train#dataset\.data, 0\.\d+\)"
    r"|\$training_items\(@datalist, @fold, @dataset_dir\)"
    r"|\$shard_for_training\(training_items\(@datalist, @fold, @dataset_dir\), @seed\)"
    r"|\$@preprocessing \+ @landmarks|\$lambda x: x != 0|\$from auto3dlandmark(\.\w+)* import \w+"
)
# Classes, never functions, of modules that compute. MONAI's own are named without a module.
CLASSES = re.compile(
    r"(monai\.(data|engines|handlers|inferers|losses|metrics|networks|optimizers|transforms)(\.\w+)*\."
    r"|auto3dlandmark\.(averaging|handlers|inferers|losses|metrics|networks|schedule|training|transforms)(\.\w+)*\."
    r"|auto3dlandmark\.inference\.coarse\."
    r"|dynamic_network_architectures\.architectures(\.\w+)+\.|torch\.(nn|optim)(\.\w+)*\.|torch\.utils\.data\."
    r")?[A-Z]\w+"
)
MOST_SHOWN = 3


def foreign_code(config: Mapping[str, Any]) -> list[str]:
    """
    Expressions and classes of a config that neither the template nor a recipe has, sorted.
    """
    known = _known_expressions()
    found = set()
    for key, value in _texts(config):
        if key == "_target_":
            if not CLASSES.fullmatch(value):
                found.add(value)
        elif value.startswith(("$", "%")) and value not in known and not KNOWN.fullmatch(value):
            found.add(value)
    return sorted(found)


def refuse_foreign_code(config: Mapping[str, Any], path: str | os.PathLike, trusted: bool) -> None:
    """
    Raises:
        LandmarkError: when a config that is not trusted runs code from outside the template.
    """
    found = [] if trusted else foreign_code(config)
    if found:
        shown = "; ".join(found[:MOST_SHOWN]) + ("; ..." if len(found) > MOST_SHOWN else "")
        raise LandmarkError(
            f"{path}: runs code from outside the template: {shown}. Whoever made the bundle decides "
            "what that does on "
            "this computer. Read it, and if you trust it say so by --trust (trust=True in Python)."
        )


@functools.cache
def _known_expressions() -> frozenset[str]:
    files = [*TEMPLATES.glob("heatmap/configs/*.json"), *recipes.FOLDER.glob("*.json")]
    return frozenset(
        value for file in files for _, value in _texts(read_json(file)) if value.startswith(("$", "%"))
    )


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a config, with the key it stands under."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _texts(part, str(name))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part, key)
    elif isinstance(value, str):
        yield key, value
