# SPDX-License-Identifier: Apache-2.0
"""Recipes: how to train, as small JSON files of values for train.json.

A recipe sets top-level keys of train.json, or parts of them by MONAI's ids such as ``optimizer#lr``. Several
may be laid over each other, ``nnlandmark_2026+poses``, and one may name another it is ``based_on``.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import LandmarkError
from ..files import read_json

__all__ = ["RECIPES", "default_recipe", "override", "read_recipe", "stages_of", "top_level"]

SEPARATOR = "::"  # MONAI's, of ids; "#" is the older one
FOLDER = Path(__file__).parent / "recipes"
RECIPES = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def default_recipe(network: str) -> str:
    """
    The recipe that goes with a preset of networks.
    """
    return "quick" if network in ("small", "folded") else "nnlandmark_2026"


def stages_of(recipe: str | None) -> int | None:
    """
    How many networks a recipe asks for: nnLandmark's train one. None leaves it to the data.
    """
    return 1 if recipe is not None and recipe.startswith("nnlandmark") else None


def read_recipe(recipe: str, keys: Collection[str] | None = None) -> list[dict[str, Any]]:
    """
    The values a recipe sets, one dictionary for each of its parts, in the order they are to be applied.

    Args:
        recipe: names of ``RECIPES`` or paths of JSON files, joined by ``+``.
        keys: the top-level keys train.json has; left out, they are not checked.

    Raises:
        LandmarkError: when there is no such recipe, or it sets a key that train.json does not have.
    """
    names = [recipe] if Path(recipe).is_file() else recipe.split("+")
    return [part for name in names for part in _read_parts(name, keys, ())]


def _read_parts(name: str, keys: Collection[str] | None, above: tuple[str, ...]) -> list[dict[str, Any]]:
    """The recipe of one name, after what it is based on."""
    path = FOLDER / f"{name}.json" if name in RECIPES else Path(name)
    if not path.is_file():
        raise LandmarkError(
            f"recipe={name!r} is unknown. Choose one of {', '.join(RECIPES)}, or give a JSON file."
        )
    values = read_json(path)
    if not isinstance(values, dict):
        raise LandmarkError(f"{path}: must be a JSON object of values for train.json.")
    base = values.pop("based_on", None)
    if base in (*above, name):
        raise LandmarkError(f"{path}: is based on {base!r}, which is based on it. Remove one of the two.")
    unknown = [] if keys is None else _unknown(values, keys)
    if unknown:
        raise LandmarkError(
            f"{path}: sets {', '.join(unknown)}, which train.json does not have. Check the spelling."
        )
    return [*([] if base is None else _read_parts(base, keys, (*above, name))), values]


def override(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """
    A copy of a config with other values.

    Args:
        config: as train.json.
        values: by top-level key, or by an id below one, such as ``target#radius``.

    Raises:
        LandmarkError: for a key that the config does not have.
    """
    unknown = _unknown(values, config)
    if unknown:
        raise LandmarkError(f"train.json has no key {unknown[0]!r}. Its keys: {', '.join(config)}.")
    from monai.bundle import ConfigParser  # seconds, and only a bundle that is filled needs it

    parser = ConfigParser(copy.deepcopy(dict(config)))
    for key, value in values.items():
        try:
            parser[key] = value
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise LandmarkError(
                f"train.json has nothing to set at {key!r} ({error}). Check the spelling."
            ) from error
    return dict(parser.get())


def _unknown(values: Mapping[str, Any], keys: Collection[str]) -> list[str]:
    return sorted(key for key in values if top_level(key) not in keys)


def top_level(key: str) -> str:
    """
    The top-level key an id such as ``optimizer#lr`` or ``optimizer::lr`` lies below.
    """
    return key.replace("#", SEPARATOR).split(SEPARATOR)[0]
