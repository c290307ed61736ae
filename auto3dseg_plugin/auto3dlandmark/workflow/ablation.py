# SPDX-License-Identifier: Apache-2.0
"""Train variants of a recipe on the same folds of the same data, and compare them in one table.

Each variant is a work folder of its own below the first one, with the same datalist and plan; so a run that
was stopped goes on, and every variant's bundles and predictions stay to be looked at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import LandmarkError
from ..files import read_json
from .side_by_side import (
    compare,
    folder_name,
    held_out,
    learn_together,
    shared_store,
    trained,
    work_folder_below,
)
from .work_folder import WorkFolder

__all__ = ["ablate", "read_variants"]

UNCHANGED, GROUP = "as it is", "ablation"


def read_variants(path: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """
    Variants by name, each the values of train.json it changes; the unchanged recipe is put first.

    Raises:
        LandmarkError: when the file is not an object of objects, or two names would share a folder.
    """
    variants = read_json(path)
    if not isinstance(variants, dict) or not all(isinstance(values, dict) for values in variants.values()):
        raise LandmarkError(
            f'{path}: must name variants and what they change, as {{"radius 7": {{"target#radius": 7}}}}.'
        )
    variants = {UNCHANGED: {}, **variants}
    folders = [folder_name(name) for name in variants]
    for name in variants:
        if folders.count(folder_name(name)) > 1:
            raise LandmarkError(f"{path}: the variant {name!r} has the name of another one. Rename it.")
    return variants


def ablate(
    work: WorkFolder,
    variants: Mapping[str, Mapping[str, Any]],
    folds: Sequence[int],
    recipe: str | None,
    **options: Any,
) -> list[dict[str, Any]]:
    """
    Train and cross-validate each variant.

    Args:
        work: a work folder with a plan.
        variants: as :func:`read_variants` gives them.
        folds: to train.
        recipe: the recipe they vary; left out, what suits the network.
        options: further values of train.json for all of them, such as ``minutes``.

    Returns:
        as :func:`auto3dlandmark.evaluation.comparison.comparison_rows`; also ``ablation/results.csv`` and
        ``ablation/report.html``.
    """
    shared = shared_store(work, work)
    systems: dict[str, Any] = {}
    predictions: dict[str, Path] = {}
    files = [work.datalist, work.plan]
    parts = {name: work_folder_below(work, name, GROUP, files) for name in variants}
    changed = {name: {**shared, **options, **values} for name, values in variants.items()}
    for error in learn_together(parts, folds, dict.fromkeys(parts, recipe), changed).values():
        raise error
    for name, values in variants.items():
        variant = parts[name]
        found = trained(variant, folds, recipe, **changed[name])
        taken = {key: found[key] for key in ("steps", "train_seconds")}
        systems[name] = {
            "about": json.dumps(values) if values else UNCHANGED,
            "budget": options,
            "figures": taken,
        }
        predictions[name] = variant.folder / "predictions"
    work.drop_store()
    known = {"systems": systems, "folds": list(folds)}
    return compare(work, held_out(work, folds), predictions, known, work.folder / GROUP)
