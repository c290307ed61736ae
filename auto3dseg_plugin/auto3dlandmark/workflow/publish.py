# SPDX-License-Identifier: Apache-2.0
"""Make one bundle to give away from all trained folds of a work folder: in the form of MONAI's model zoo.

It holds the mean of all folds for inference (``models/model.pt``), the first fold for training on and for
an honest evaluation (``models/one_fold.pt``), the cross-validation, and a description; no path of this
machine, and no image.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bundles.fill import copy_template
from ..bundles.folder import BundleFolder, without_machine_keys
from ..data.datalist import read_datalist
from ..data.slices import write_preview
from ..errors import LandmarkError
from ..evaluation.tables import landmark_table
from ..files import atomic_folder, read_json, write_json, write_text
from ..networks.mean import mean_state_dict
from ..networks.weights import load_weights, save_atomically
from ..planning.plan import write_plan
from ..shapes.calibration import HeldOut
from .calibrating import calibrate_bundle, held_out_evidence, shape_of, usual_noise_mm
from .work_folder import WorkFolder

__all__ = ["publish"]

# What a description file may say; the first four must be there.
ABOUT = ("name", "description", "authors", "copyright")
ABOUT_TOO = (
    "version",
    "intended_use",
    "data_source",
    "data_type",
    "references",
    "data_license",
    "task",
    "changelog",
)


def publish(work: str | os.PathLike, folder: str | os.PathLike, about: str | os.PathLike) -> None:
    """
    Write the bundle ``folder`` from the trained folds of a work folder.

    Args:
        work: a work folder after ``run``.
        folder: must not exist yet, or be empty.
        about: a JSON file with ``name``, ``description``, ``authors`` and ``copyright``, and perhaps
            ``version``, ``intended_use``, ``data_source``, ``data_type``, ``references`` and
            ``data_license``.

    Raises:
        LandmarkError: when no fold is trained, folds do not fit together, or the description lacks something.
    """
    source, folder = WorkFolder(work), Path(folder)
    told = _read_about(about)
    if folder.exists() and any(folder.iterdir()):
        raise LandmarkError(f"{folder}: is there already. Choose another place, or remove it first.")
    bundles = _trained(source)
    with atomic_folder(folder) as unfinished:
        copy_template(unfinished)
        published = BundleFolder(unfinished)
        _write_configs(published, bundles, told, read_json(source.datalist))
        _write_weights(published, bundles)
        coarse = [stage for bundle in bundles for stage in bundle.coarse_stages()]
        if coarse:
            copy_template(published.coarse_path)
            stage = BundleFolder(published.coarse_path)
            _write_configs(stage, coarse, told, read_json(source.datalist))
            _write_weights(stage, coarse)
            write_text(published.frame, bundles[0].frame.read_text(encoding="utf-8"))
            train = published.read_config("train")
            # The one network that is trained on, and evaluated, has its own first stage.
            published.write_config("train", {**train, "coarse": {**train["coarse"], "alone": 0}})
        _write_shape(source, published)
        validation = read_json(bundles[0].models.cross_validation)
        write_json(published.models.cross_validation, validation)
        held_out = [
            case for case in read_datalist(source.datalist).training if case.id in validation["cases"]
        ]
        write_preview(unfinished / "docs" / "preview.png", held_out, source.folder / "predictions")
        _write_docs(unfinished, folder.name, told, source.folder / "evaluation", len(bundles))


def _read_about(path: str | os.PathLike) -> dict[str, Any]:
    told = read_json(path)
    if not isinstance(told, dict):
        raise LandmarkError(f"{path}: must be a JSON object with {', '.join(ABOUT)}.")
    missing = [key for key in ABOUT if not told.get(key)]
    unknown = sorted(set(told) - {*ABOUT, *ABOUT_TOO})
    if missing or unknown:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has the unknown {', '.join(unknown)}"
        raise LandmarkError(f"{path}: {wrong}. It may have {', '.join((*ABOUT, *ABOUT_TOO))}.")
    return told


def _trained(work: WorkFolder) -> list[BundleFolder]:
    """The bundles of the trained folds that can be one: same network, same preprocessing."""
    bundles = [work.bundle(fold) for fold in read_datalist(work.datalist).folds]
    bundles = [bundle for bundle in bundles if bundle.models.outcome.is_file()]
    if not bundles:
        raise LandmarkError(f"{work.folder}: has no trained fold. Run 'auto3dlandmark run' first.")
    first = read_json(bundles[0].config_path("plan"))
    for bundle in bundles:
        if read_json(bundle.config_path("plan")) != first:
            raise LandmarkError(
                f"{bundle.path}: was made from another plan than {bundles[0].path}. Train the folds alike."
            )
        if not bundle.models.cross_validation.is_file():
            raise LandmarkError(f"{bundle.path}: has no cross-validation. Finish 'auto3dlandmark run' first.")
    return bundles


def _write_weights(published: BundleFolder, bundles: Sequence[BundleFolder]) -> None:
    """All networks as one, and the first one alone."""
    states = [load_weights(bundle.models.weights) for bundle in bundles]
    save_atomically(mean_state_dict(states), published.models.weights)
    first = mean_state_dict(states[:1])
    alone = {name.removeprefix("networks.0."): value for name, value in first.items()}
    save_atomically(alone, published.models.one_fold)


def _write_shape(source: WorkFolder, published: BundleFolder) -> None:
    """How all training landmarks lie, and what every fold's held-out cases say."""
    listed, noise = read_datalist(source.datalist), usual_noise_mm(published.read_plan())
    held_out: list[HeldOut] = []
    for fold in listed.folds:
        if source.bundle(fold).models.shape.is_file():
            seen = [case for case in listed.training if case.fold != fold]
            shape = shape_of(seen, listed, noise)
            held_out += held_out_evidence(listed.held_out(fold), source.peaks, shape).values()
    calibrate_bundle(published, shape_of(listed.training, listed, noise), held_out)


def _write_configs(
    published: BundleFolder,
    bundles: Sequence[BundleFolder],
    about: Mapping[str, Any],
    datalist: dict[str, Any],
) -> None:
    source = bundles[0]
    for name in ("train", "inference"):
        config = without_machine_keys(source.read_config(name), published.read_config(name))
        if name == "inference":
            config["network_def"] = {
                "_target_": "auto3dlandmark.networks.mean.MeanNetwork",
                "network": config["network_def"],
                "count": len(bundles),
            }
        published.write_config(name, config)
    datalist.pop("dataroot", None)
    published.write_config("datalist", datalist)
    write_plan(published.config_path("plan"), source.read_plan())
    validation = source.models.cross_validation
    told = {key: value for key, value in about.items() if key != "data_license"}
    metrics = {"eval_metrics": {"mre_mm": read_json(validation)["mre_mm"]}} if validation.is_file() else {}
    metadata = {**source.read_config("metadata"), **told, **metrics}
    if metadata["version"] not in metadata.get("changelog", {}):
        metadata["changelog"] = {**metadata.get("changelog", {}), metadata["version"]: "Published."}
    published.write_config("metadata", metadata)


def _write_docs(folder: Path, name: str, about: Mapping[str, Any], evaluation: Path, folds: int) -> None:
    metrics = read_json(evaluation / "metrics.json")
    references = "\n".join(f"- {reference}" for reference in about.get("references", []))
    text = f"""# {about["name"]}

{about["description"]}

{about.get("intended_use", "For research. Not a medical device.")}

![Held-out cases: true points as circles, predictions as crosses](preview.png)

## Use

Every image of a folder; the points go to OUT as one `.mrk.json` each, for 3D Slicer:

    auto3dlandmark predict {name} IMAGES OUT

From this folder, with stock MONAI and the package `auto3dlandmark` installed:

    python -m monai.bundle run --config_file configs/inference.json --dataset_dir IMAGES --output_dir OUT
    python -m monai.bundle run training --config_file configs/train.json --dataset_dir DATA

`models/model.pt` holds the networks of all {folds} folds, whose logits are averaged; `models/one_fold.pt`
the one that holds out fold 0 of `configs/datalist.json`; `models/cross_validation.json` each held-out error
and score; `models/shape.json` how landmarks lie to each other, and what the held-out cases say of radii and
presence.

## Accuracy

Cross-validation over {folds} folds: {metrics["cases"]} cases, each predicted by the one network that had not
seen it.

{_table(evaluation)}

## Data

{about.get("data_source", "Not said.")}

{references}
"""
    write_text(folder / "docs" / "README.md", text)
    write_text(folder / "docs" / "data_license.txt", about.get("data_license", "Not said.").rstrip() + "\n")


def _table(evaluation: Path) -> str:
    metrics, rows = landmark_table(evaluation)
    rates = [key for key in rows[0] if key.startswith("sdr_")]
    lines = [
        "| landmark | MRE mm | std | median | " + " | ".join(f"within {key[4:]}" for key in rates) + " |",
        "|---|" + "---|" * (3 + len(rates)),
    ]
    for row in [*rows, {"landmark": "**all**", **metrics}]:
        cells = [row["mre_mm"], row["std_mm"], row["median_mm"]]
        numbers = [f"{float(cell):.2f}" if cell not in (None, "") else "-" for cell in cells]
        shares = [f"{float(row[key]):.1f} %" if row[key] not in (None, "") else "-" for key in rates]
        lines.append(f"| {row['landmark']} | " + " | ".join(numbers + shares) + " |")
    return "\n".join(lines)
