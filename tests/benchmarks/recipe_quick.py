# SPDX-License-Identifier: Apache-2.0
"""The experiment behind the recipe ``quick``: variants of it, trained alike on one dataset, side by side.

Run by hand, for example

    python tests/benchmarks/recipe_quick.py ../shared/data/hippocampus /tmp/quick --steps 1500
    python tests/benchmarks/recipe_quick.py ../shared/data/hippocampus /tmp/quick --minutes 15 --only quick

Each variant is the recipe with a few values replaced. All share one plan and hold out fold 0. The table gives the
MRE on the held-out fold at the end (the models are not picked by it), the steps done and the seconds taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fire

from auto3dlandmark.bundle import read_recipe
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.pipeline import Work

PATCH: dict[str, Any] = {
    "rotation_deg": 30.0,
    "rotation_prob": 1.0,
    "scale_range": [0.82, 1.22],
    "scale_prob": 1.0,
    "stretch": 0.1,
}

# Dotted names lead into the recipe's dictionaries.
VARIANTS: dict[str, dict[str, Any]] = {
    "quick": {},
    "wide_augmentation": {f"random_patch.{key}": value for key, value in PATCH.items()},
    "no_geometric_augmentation": {"random_patch.rotation_prob": 0.0, "random_patch.scale_prob": 0.0},
    "wide_target": {"target.sigma": 2.5},
    "narrow_target": {"target.sigma": 1.0},
    "no_distance_term": {"loss.distance_weight": 0.0},
    "strong_distance_term": {"loss.distance_weight": 1.0},
    "high_rate": {"optimizer.lr": 3e-3},
    "falling_rate": {"learning_rate_power": 0.9, "optimizer.lr": 3e-3},
    "no_average": {"average_power": None},
    "no_clipping": {"clip_percentiles": [0, 100]},
    "falling_rate_no_average_no_clipping": {
        "learning_rate_power": 0.9,
        "optimizer.lr": 3e-3,
        "average_power": None,
        "clip_percentiles": [0, 100],
    },
    "cone_and_bce": {
        "target": {"_target_": "auto3dlandmark.transforms.ConeTarget", "radius": 7.0},
        "loss": {"_target_": "auto3dlandmark.losses.TopKBCELoss", "top_k": 0.2},
        "activation": "sigmoid",
        "decode_radius": 2,
    },
}


def changed(recipe: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The recipe with some values replaced."""
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in recipe.items()}
    for name, value in values.items():
        *outer, last = name.split(".")
        place = result
        for key in outer:
            place = place[key]
        place[last] = value
    return result


def main(
    dataset: str,
    work: str,
    steps: int = 1500,
    minutes: float | None = None,
    only: Any = None,
    network: str = "small",
) -> None:
    """
    Train every variant and print the table.

    Args:
        dataset, work: as for ``auto3dlandmark run``.
        steps: of each training.
        minutes: of each training, instead of steps.
        only: names of variants, separated by commas.
        network: a preset.
    """
    recipe = read_recipe("quick")
    names = (
        list(VARIANTS)
        if only is None
        else list(only) if isinstance(only, (tuple, list)) else str(only).split(",")
    )
    rows = []
    for name in names:
        folder = Work(Path(work) / name)
        folder.check(dataset)
        folder.analyze()
        folder.make_plan(network)
        variant = folder.folder / "recipe.json"
        write_json(
            variant, {**changed(recipe, VARIANTS[name]), "epochs": max(1, steps // recipe["epoch_length"])}
        )
        folder.build(0, str(variant), minutes=minutes)
        folder.train(0)
        rows.append((name, read_json(folder.bundle(0) / "models" / "training.json")))
    print(f"\n{'variant':28} {'MRE mm':>7} {'steps':>6} {'seconds':>8}")
    for name, result in rows:
        print(f"{name:28} {result['mre_mm']:7.3f} {result['steps']:6d} {result['seconds']:8.0f}")


if __name__ == "__main__":
    fire.Fire(main)
