# SPDX-License-Identifier: Apache-2.0
"""Write a plan into a copy of the template: a MONAI bundle, ready to be trained.

The template's configs are complete; filling one means replacing the values of its top-level keys, never
editing its structure. A recipe is a JSON file of such values: how to learn, where the plan says what.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.datalist import read_datalist, with_taught
from ..data.images import read_geometry
from ..errors import LandmarkError
from ..formats import read_landmarks
from ..geometry import image_axes
from ..planning.plan import Plan, write_plan
from ..planning.recipes import default_recipe, override, read_recipe, top_level
from ..planning.stages import frame_of, room_around
from ..shapes.alignment import mean_shape
from ..shapes.model import fit_shape
from ..shapes.symmetry import flip_groups, lie_between_sides
from .agreement import refuse_disagreement
from .folder import TEMPLATES, BundleFolder, without_machine_keys

__all__ = [
    "continue_bundle",
    "copy_template",
    "fill_bundle",
    "fill_configs",
    "kept_on_disk",
    "normalization_transforms",
]

STORE = "$@bundle_root + '/../store'"  # beside the bundles of the other folds, which share it
MEMORY_GB = 8.0  # of prepared images; more of them lie on disk
LEVEL_OFF = 0.1  # of the images that a second stage learns from: shown one level off
COARSE_SHARE = 0.2  # of the minutes, for the first of two stages


def copy_template(folder: str | os.PathLike, template: str | os.PathLike | None = None) -> None:
    """
    Copy a template's files to ``folder``, over those of the same names; other files there stay.

    Args:
        template: a folder of the form of ``templates/heatmap``; left out, that one.
    """
    source = TEMPLATES / "heatmap" if template is None else template
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def fill_bundle(
    folder: str | os.PathLike,
    plan: Plan,
    datalist: str | os.PathLike,
    fold: int | None,
    recipe: str | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """
    Replace the head keys of a copied template by a plan's, a recipe's and a dataset's values.

    Args:
        folder: the bundle.
        plan: what to train.
        datalist: the datalist file.
        fold: the held-out fold; None: nothing is held out.
        recipe: how to train, as for :func:`auto3dlandmark.planning.recipes.read_recipe`; left out, what
            suits the network.
        overrides: further values of train.json, such as ``minutes`` or ``optimizer#lr``.

    Returns:
        the values of train.json's head keys.

    Raises:
        LandmarkError: when the fold has no case, or an override is not a key of train.json.
    """
    datalist = Path(datalist).resolve()
    listed = read_datalist(datalist)
    if fold is not None and fold not in listed.folds:
        raise LandmarkError(f"{datalist}: has no fold {fold}, only {listed.folds}.")
    places: dict[str, Any] = {
        "dataset_dir": str(listed.root.resolve()),
        "datalist": str(datalist),
        "fold": fold,
    }
    learnt = with_taught(listed, overrides.get("taught")).training
    known = [read_landmarks(case.label).select(plan.landmark_names) for case in learnt if case.label]
    shapes = np.array([one.points for one in known])
    between = not listed.left_right_pairs and lie_between_sides(shapes)
    if between:
        places["flip_pairs"] = [[row, row] for row in range(len(plan.landmark_names))]
    elif listed.left_right_pairs:
        number = {name: index for index, name in enumerate(plan.landmark_names)}
        pairs = [[number[name] for name in pair] for pair in listed.left_right_pairs]
        places["mirrored_landmarks"] = pairs
        groups = flip_groups(mean_shape(shapes), pairs)
        places["flip_pairs"] = groups or []  # anatomy that looks otherwise in a mirror is never flipped
    recipe = recipe or default_recipe(plan.network)
    if plan.coarse is None:
        return fill_configs(folder, plan, recipe, {**places, **overrides})
    bundle = BundleFolder(folder)
    copy_template(bundle.coarse_path)
    own = default_recipe(plan.coarse.network)
    fill_configs(
        bundle.coarse_path,
        plan.coarse,
        recipe if own == default_recipe(plan.network) else own,  # a recipe for GPUs is too slow for it
        # A pose has to be found in any image, and need not be exact.
        {**places, "exact_from": 1.0, **_part(overrides, 0.0, COARSE_SHARE)},
    )
    images = [read_geometry(case.image) for case in learnt if case.label]
    along = shapes
    if len(set(plan.spacing)) > 1:  # planned along the axes of the images
        along = np.array([s @ image_axes(affine) for s, (_, affine) in zip(shapes, images)])
    frame = frame_of(plan, fit_shape(along, plan.landmark_names))
    frame.seen_in(images, shapes).write(bundle.frame)
    if not between:  # else a mirror image lies in another pose, which this stage never sees
        places.pop("flip_pairs", None)
    return fill_configs(folder, plan, recipe, {**places, **_part(overrides, COARSE_SHARE, 1.0)})


def _part(overrides: Mapping[str, Any], begin: float, end: float) -> dict[str, Any]:
    """The settings of one of two stages: its part of the minutes."""
    minutes = overrides.get("minutes")
    own = {} if minutes is None else {"minutes": round(minutes * (end - begin), 4)}
    return {**overrides, **own, "progress_part": [begin, end]}


def second_stage(plan: Plan) -> dict[str, Any]:
    """
    What makes a training that of a second stage: values of train.json and inference.json.
    """
    assert plan.frame is not None
    values: dict[str, Any] = {
        "coarse": {
            "_target_": "auto3dlandmark.inference.coarse.CoarseStage",
            "bundle": "@coarse_bundle",
            "device": "@device",
        },
        "framing": [
            {
                "_target_": "auto3dlandmark.transforms.FrameByShaped",
                "keys": "image",
                "frame": "@frame",
                "finder": "@coarse",
                "room": room_around(plan.frame, plan.spacing),
            }
        ],
        "resample": {"_target_": "Identityd", "keys": "image"},
        "random_patch#shift": 0.0,
        "random_patch#rotation_deg": "@rotation_deg",
        "random_patch#rotation_prob": "@rotation_prob",
    }
    if list(plan.frame["shape"]) == list(plan.patch_size):
        # The frame is always seen whole, where a first stage may have laid it.
        values["random_patch#landmark_prob"] = 0.0
        values["random_patch#centred"] = True
        values["random_patch#shift"] = plan.frame["room"]
        if "level" in plan.frame:
            values["random_patch#jump"] = plan.frame["level"]
            values["random_patch#jump_turn_deg"] = plan.frame.get("level_turn_deg", [0.0, 0.0, 0.0])
            values["random_patch#jump_prob"] = LEVEL_OFF
    return values


def continue_bundle(
    source: str | os.PathLike, folder: str | os.PathLike, gentler: float = 1.0, **places: Any
) -> None:
    """
    Write a bundle that trains another one's network on, from its weights.

    Args:
        source: a trained bundle; of a published one, the network of its first fold.
        folder: of the new bundle.
        gentler: the learning rate is multiplied by this.
        places: further values of train.json's head keys, such as ``dataset_dir`` and ``datalist``.

    Raises:
        LandmarkError: when the source was made by an earlier version.
    """
    copy_template(folder)
    old, new = BundleFolder(Path(source).resolve()), BundleFolder(folder)
    template = {name: new.read_config(name) for name in ("train", "inference")}
    train, inference = old.read_config("train"), old.read_config("inference")
    if "initial_weights" not in train:
        raise LandmarkError(
            f"{old.path}: was made by an earlier version, and cannot be trained on. Build it again."
        )
    values = {
        **places,
        "initial_weights": str(old.models.trainable),
        "optimizer": {**train["optimizer"], "lr": train["optimizer"]["lr"] * gentler},
    }
    new.write_config("train", {**without_machine_keys(train, template["train"]), **values})
    # Of a published bundle, which predicts with several networks, the one that is trained on.
    alone = {"network_def": train["network_def"], "ckpt_path": template["inference"]["ckpt_path"]}
    new.write_config("inference", {**without_machine_keys(inference, template["inference"]), **alone})
    new.write_config("metadata", old.read_config("metadata"))
    write_plan(new.config_path("plan"), old.read_plan())
    for coarse in old.coarse_stages():  # only the second stage is trained on
        shutil.copyfile(old.frame, new.frame)
        shutil.copytree(
            coarse.path,
            new.coarse_path,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", "models_old_*", "eval", "checkpoint.pt", ".*"),
        )


def fill_configs(
    folder: str | os.PathLike, plan: Plan, recipe: str, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Replace the head keys of a copied template by a plan's values, those a recipe's, and those by
    ``overrides``.

    Returns:
        the values of the replaced head keys.

    Raises:
        LandmarkError: when a landmark's name would run as code, or the recipe or an override sets what is
            not there.
    """
    bundle = BundleFolder(Path(folder).resolve())
    _refuse_expressions("landmark", plan.landmark_names)
    _refuse_expressions("channel", plan.modalities)
    train, inference = bundle.read_config("train"), bundle.read_config("inference")
    planned: dict[str, Any] = {
        "bundle_root": str(bundle.path),
        "landmark_names": list(plan.landmark_names),
        "may_be_absent": list(plan.may_be_absent),
        "channels": len(plan.modalities),
        "spacing": list(plan.spacing),
        "antialias": plan.antialias,
        "patch_size": list(plan.patch_size),
        "roi_size": list(plan.roi_size),
        "divisor": plan.divisor and list(plan.divisor),
        "batch_size": plan.batch_size,
        "normalization": normalization_transforms(plan.normalization),
        "network_def": plan.network_def,
        "rotation_deg": plan.rotation_deg,
        "rotation_prob": plan.rotation_prob,
        "thick_axis": plan.thick_axis,
        "store": STORE if kept_on_disk(plan) else None,
    }
    stage = [] if plan.frame is None else [second_stage(plan)]
    layers = [*read_recipe(recipe, train), *stage, dict(overrides)]
    if overrides.get("minutes") is not None and "epochs" not in overrides:
        layers.append({"epochs": None})  # what the user says last: the recipe's number would end it earlier
    filled = {**train, **planned}
    for layer in layers:
        filled = override(filled, layer)
    changed = {*planned, *(top_level(key) for layer in layers for key in layer)}
    values = {key: filled[key] for key in changed}
    values["zscored"] = {one["scheme"] for one in plan.normalization} == {"zscore"}
    if not values["zscored"]:
        # The others fix the range of values themselves.
        values["clip_percentiles"] = train["clip_percentiles"]
    refuse_disagreement({**train, **values}, bundle.config_path("train"))
    bundle.write_config("train", _filled(train, values))
    # Where predictions come from and go is said at the call, not by the plan.
    elsewhere = {key: inference[key] for key in ("dataset_dir", "output_dir")}
    bundle.write_config("inference", _filled(inference, {**values, **elsewhere}))
    bundle.write_config("metadata", _filled_metadata(bundle.read_config("metadata"), plan))
    write_plan(bundle.config_path("plan"), plan)
    return values


def kept_on_disk(plan: Plan) -> bool:
    """Whether the prepared images of a plan are too many for the memory."""
    return plan.cached_gb > MEMORY_GB


def _refuse_expressions(kind: str, names: Collection[str]) -> None:
    """MONAI's configs run what begins with "$" and look up what begins with "@" or "%"."""
    for name in names:
        if name.startswith(("$", "@", "%")):
            raise LandmarkError(
                f"the {kind} name {name!r} begins with {name[0]!r}, which a MONAI config would not "
                "read as a name. "
                "Rename it in the files it comes from."
            )


def normalization_transforms(normalization: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    A plan's normalisation as MONAI transforms: channels that are not treated alike are taken apart for it.
    """
    first = normalization[0]
    alike = all(
        one["scheme"] == first["scheme"] and one["nonzero"] == first["nonzero"] for one in normalization
    )
    if len(normalization) == 1 or (alike and first["scheme"] != "ct"):
        return _normalization(first, "image")
    parts = [f"image_{channel}" for channel in range(len(normalization))]
    return [
        {"_target_": "SplitDimd", "keys": "image", "output_postfixes": [part[6:] for part in parts]},
        *(step for one, part in zip(normalization, parts) for step in _normalization(one, part)),
        {"_target_": "ConcatItemsd", "keys": parts, "name": "image"},
        {"_target_": "DeleteItemsd", "keys": parts},
    ]


def _normalization(normalization: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    scheme, intensity = normalization["scheme"], normalization["intensity"]
    if scheme == "none":
        return [{"_target_": "Identityd", "keys": key}]
    if scheme == "rescale":
        return [{"_target_": "ScaleIntensityd", "keys": key, "channel_wise": True}]
    if scheme == "rgb":
        return [
            {
                "_target_": "ScaleIntensityRanged",
                "keys": key,
                "a_min": 0,
                "a_max": 255,
                "b_min": 0,
                "b_max": 1,
            }
        ]
    if scheme == "ct":
        low, high = intensity["percentile_00_5"], intensity["percentile_99_5"]
        clip = {"a_min": low, "a_max": high, "b_min": low, "b_max": high, "clip": True}
        mean, deviation = intensity["mean"], max(intensity["std"], 1e-8)
        return [
            {"_target_": "ScaleIntensityRanged", "keys": key, **clip},
            {"_target_": "NormalizeIntensityd", "keys": key, "subtrahend": mean, "divisor": deviation},
        ]
    return [
        {
            "_target_": "NormalizeIntensityd",
            "keys": key,
            "nonzero": normalization["nonzero"],
            "channel_wise": True,
        }
    ]


def _filled(config: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the values of those of its own top-level keys that ``values`` has."""
    return {key: values.get(key, value) for key, value in config.items()}


def _filled_metadata(metadata: dict[str, Any], plan: Plan) -> dict[str, Any]:
    def version(package: str) -> str:
        return importlib.metadata.version(package).split("+")[0]

    channels = {str(channel): name for channel, name in enumerate(plan.landmark_names)}
    formats = metadata["network_data_format"]
    image, heatmap = formats["inputs"]["image"], formats["outputs"]["pred"]
    inputs = {str(channel): name for channel, name in enumerate(plan.modalities)}
    modality = ", ".join(dict.fromkeys(plan.modalities))
    image.update(
        modality=modality, num_channels=len(inputs), channel_def=inputs, spatial_shape=list(plan.patch_size)
    )
    heatmap.update(num_channels=len(channels), spatial_shape=list(plan.patch_size), channel_def=channels)
    metadata["post_processed_outputs"]["pred"].update(num_channels=len(channels), channel_def=channels)
    required = metadata["required_packages_version"]
    return {
        **metadata,
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {package: version(package) for package in required},
        "description": f"Finds {len(channels)} landmarks in 3D images ({modality}) by heatmap regression.",
    }
