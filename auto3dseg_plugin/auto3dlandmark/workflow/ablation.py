# SPDX-License-Identifier: Apache-2.0
"""Train variants of a recipe on the same folds of the same data, and compare them in one table.

Each variant is a work folder of its own below the first one, with the same datalist and plan; so a run that
was stopped goes on, and every variant's bundles and predictions stay to be looked at.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..bundles.fill import kept_on_disk
from ..errors import LandmarkError
from ..files import read_json, write_json
from ..planning.plan import read_plan
from .work_folder import WorkFolder, visible_devices

__all__ = ["ablate", "ablation_table", "read_variants"]

UNCHANGED = "as it is"


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
    folders = [_folder_name(name) for name in variants]
    for name in variants:
        if folders.count(_folder_name(name)) > 1:
            raise LandmarkError(f"{path}: the variant {name!r} has the name of another one. Rename it.")
    return variants


def _folder_name(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "_", name.casefold()).strip("_.") or "_"


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
        for each variant its name and the numbers of its ``metrics.json``; also written to
        ``ablation/table.json``.
    """
    shared = {"store": str(work.store)} if kept_on_disk(read_plan(work.plan)) else {}
    rows = []
    top = work.folder / "ablation"
    for name, values in variants.items():
        variant = WorkFolder(top / _folder_name(name), partial(_say, work.say, name))
        variant.folder.mkdir(parents=True, exist_ok=True)
        for path in (work.datalist, work.plan):
            shutil.copy2(path, variant.folder / path.name)
        for fold in folds:
            variant.build(fold, recipe, **{**shared, **options, **values})
        variant.train_folds(folds, visible_devices())
        variant.predict_held_out(folds)
        metrics = read_json(variant.cross_validate(folds))
        steps = [read_json(variant.bundle(fold).models.outcome)["steps"] for fold in folds]
        rows.append({"variant": name, "steps": sum(steps) // len(steps), **metrics})
        write_json(top / "table.json", rows)
    work.drop_store()
    return rows


def _say(say: Callable[[str], None], name: str, line: str) -> None:
    say(f"{name}: {line}")


def ablation_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """
    The rows as text, one line each, errors in millimetres.
    """
    rates = [key for key in rows[0] if key.startswith("sdr_")]
    width = max(len("variant"), *(len(row["variant"]) for row in rows))
    head = f"{'variant':<{width}} {'MRE mm':>8} {'std':>6} {'median':>7}"
    lines = [head + "".join(f"{key[4:]:>7}" for key in rates) + f"{'steps':>8}"]
    for row in rows:
        numbers = f"{row['mre_mm']:>8.2f} {row['std_mm']:>6.2f} {row['median_mm']:>7.2f}"
        shares = "".join(f"{row[key]:>7.1f}" for key in rates)
        lines.append(f"{row['variant']:<{width}} {numbers}{shares}{row['steps']:>8}")
    return "\n".join(lines)
