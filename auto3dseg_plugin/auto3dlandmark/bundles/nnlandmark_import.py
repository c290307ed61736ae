# SPDX-License-Identifier: Apache-2.0
"""Turn a trained nnLandmark results folder into bundles of ours, one for each fold.

The reference reads images in file order with axes (z, y, x), moved by its ``transpose_forward``; ours are
(x, y, z). So the weights' kernels are turned around once, here, and nothing has to be turned at prediction.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from ..errors import LandmarkError
from ..files import atomic_folder, read_json
from ..networks.weights import fill_network, load_weights, save_atomically
from ..planning.plan import Plan
from ..planning.planner import NORMALIZATIONS
from .fill import copy_template, fill_configs
from .folder import BundleFolder

__all__ = ["import_nnlandmark", "turn_weights"]

# Only what nnU-Net's planners choose from: a plans.json from elsewhere must not name code to run.
NETWORKS = {
    f"dynamic_network_architectures.architectures.unet.{name}"
    for name in ("PlainConvUNet", "ResidualEncoderUNet")
}
CLASSES = {
    "torch.nn.modules.conv.Conv3d": "$torch.nn.Conv3d",
    "torch.nn.modules.instancenorm.InstanceNorm3d": "$torch.nn.InstanceNorm3d",
    "torch.nn.modules.batchnorm.BatchNorm3d": "$torch.nn.BatchNorm3d",
    "torch.nn.LeakyReLU": "$torch.nn.LeakyReLU",
    "torch.nn.ReLU": "$torch.nn.ReLU",
    None: None,
}
PER_STAGE = ("strides", "kernel_sizes")
AS_STORED, TO_RAS = ("SimpleITKIO", "NibabelIO"), ("NibabelIOWithReorient", "SimpleITKIOWithReorient")
SCHEMES = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "NoNormalization": "nonorm",
    "RescaleTo01Normalization": "rescale_to_0_1",
    "RGBTo01Normalization": "rgb_to_0_1",
}
RECIPE = "nnlandmark_2026"


def import_nnlandmark(
    model: str | os.PathLike, out: str | os.PathLike, configuration: str | None = None
) -> list[Path]:
    """
    Write ``out/<fold>`` for every ``fold_*`` of a results folder; they predict like the original.

    Args:
        model: holds plans.json, dataset.json and fold_*/checkpoint_final.pth.
        out: gets the bundles; those that are there already must not be.
        configuration: of plans.json; left out, the one that the first checkpoint was trained with.

    Returns:
        the bundles.

    Raises:
        LandmarkError: when files are missing or damaged, or the model is of a kind that cannot be imported.
    """
    model, out = Path(model), Path(out)
    plans, dataset = (_read(model / name) for name in ("plans.json", "dataset.json"))
    checkpoints = sorted(model.glob("fold_*/checkpoint_final.pth"))
    if not checkpoints:
        raise LandmarkError(
            f"{model}: has no fold_*/checkpoint_final.pth. Name the folder that holds plans.json."
        )
    taken = [out / path.parent.name for path in checkpoints if (out / path.parent.name).exists()]
    if taken:
        raise LandmarkError(f"{taken[0]}: is there already. Choose another place, or remove it first.")
    written = []
    for path in checkpoints:
        checkpoint = load_weights(path, trusting_numpy=True)
        try:
            name = configuration or checkpoint["init_args"]["configuration"]
            weights = checkpoint["network_weights"]
        except (KeyError, TypeError) as error:
            raise LandmarkError(f"{path}: is no checkpoint of nnLandmark ({error} is missing).") from error
        axes = _our_axes(plans, model)
        plan = _plan(model, plans, dataset, _configuration(model, plans, name), axes)
        state = turn_weights({_bare(key): value for key, value in weights.items()}, axes)
        _check_weights(path, plan, state)
        bundle = out / path.parent.name
        _write(
            bundle,
            plan,
            state,
            _framing(model, plans),
            f"{plans.get('dataset_name', model.name)}, {path.parent.name}",
        )
        written.append(bundle)
    return written


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise LandmarkError(f"{path}: must be a JSON object, as nnU-Net writes it.")
    return content


def _configuration(model: Path, plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration of plans.json, with what it inherits from others."""
    found = plans.get("configurations", {})
    merged: dict[str, Any] = {}
    seen: list[str] = []
    while name is not None:
        if name not in found or name in seen:
            known = ", ".join(found) or "none"
            raise LandmarkError(f"{model / 'plans.json'}: has no configuration {name!r}, only {known}.")
        seen.append(name)
        merged = {**found[name], **merged}
        name = found[name].get("inherits_from")
    if "architecture" not in merged:
        raise LandmarkError(
            f"{model / 'plans.json'}: states no network architecture; it is older than "
            "nnU-Net 2.4. Plan it again."
        )
    if len(merged.get("spacing", ())) != 3:
        raise LandmarkError(
            f"{model / 'plans.json'}: configuration {seen[0]!r} is not 3D. Choose another one."
        )
    return merged


def _our_axes(plans: Mapping[str, Any], model: Path) -> list[int]:
    """For each of our axes (x, y, z), which of the network's axes it is."""
    forward = list(plans.get("transpose_forward", ()))
    if sorted(forward) != [0, 1, 2]:
        raise LandmarkError(
            f"{model / 'plans.json'}: transpose_forward={forward} is not an order of three axes."
        )
    return [forward.index(2 - axis) for axis in range(3)]


def turn_weights(state: Mapping[str, torch.Tensor], axes: Sequence[int]) -> dict[str, torch.Tensor]:
    """
    The weights of the same network for images whose axes are in another order.

    Args:
        state: a network's state dict; kernels have the shape (out, in, a, b, c).
        axes: for each new spatial axis, which of the old ones it is.
    """
    turn = [0, 1, *(2 + axis for axis in axes)]
    return {
        name: value.permute(turn).contiguous() if value.ndim == 5 else value for name, value in state.items()
    }


def _bare(name: str) -> str:
    """The name of a weight without what torch.compile and DistributedDataParallel put before it."""
    return re.sub(r"^(_orig_mod\.|module\.)+", "", name)


def _framing(model: Path, plans: Mapping[str, Any]) -> list[dict[str, Any]]:
    reader = plans.get("image_reader_writer")
    if reader not in (*AS_STORED, *TO_RAS):
        raise LandmarkError(
            f"{model / 'plans.json'}: images were read by {reader!r}, which is not supported. "
            f"Supported: {', '.join((*AS_STORED, *TO_RAS))}."
        )
    crop = {
        "_target_": "CropForegroundd",
        "keys": "image",
        "source_key": "image",
        "select_fn": "$lambda x: x != 0",
    }
    turn = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None}
    return [turn, crop] if reader in TO_RAS else [crop]


def _plan(
    model: Path,
    plans: Mapping[str, Any],
    dataset: Mapping[str, Any],
    chosen: Mapping[str, Any],
    axes: list[int],
) -> Plan:
    """The configuration as a plan of ours."""
    channels, names = _channels(model, dataset, chosen), _landmark_names(model, dataset)

    def turned(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[axis] for axis in axes)

    return Plan(
        network="imported",
        landmark_names=names,
        modalities=channels,
        original_spacing=turned(chosen["spacing"]),
        spacing=turned(chosen["spacing"]),
        antialias=False,
        median_shape=turned(chosen["median_image_size_in_voxels"]),
        patch_size=turned(chosen["patch_size"]),
        batch_size=chosen["batch_size"],
        roi_size=turned(chosen["patch_size"]),
        divisor=None,
        cached_gb=0.0,
        may_be_absent=(),
        normalization=_normalization(model, plans, chosen),
        rotation_deg=30.0,
        rotation_prob=0.2,
        thick_axis=None,
        network_def=_network_def(model, chosen["architecture"], len(channels), len(names), turned),
    )


def _channels(model: Path, dataset: Mapping[str, Any], chosen: Mapping[str, Any]) -> tuple[str, ...]:
    """What the images' channels are called."""
    channels = list(dataset.get("channel_names", {}).values())
    schemes = chosen["normalization_schemes"]
    if not len(channels) == len(schemes) == len(chosen["use_mask_for_norm"]) > 0:
        raise LandmarkError(
            f"{model / 'dataset.json'}: has {len(channels)} image channels, plans.json normalises "
            f"{len(schemes)}."
        )
    return tuple(str(channel) for channel in channels)


def _landmark_names(model: Path, dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """In the order of their labels, which are the network's channels."""
    labels = dict(dataset.get("labels", {}))
    for other in ("background", "ignore"):
        labels.pop(other, None)
    numbers = list(labels.values())
    if not all(isinstance(one, int) for one in numbers) or sorted(numbers) != list(range(1, len(labels) + 1)):
        raise LandmarkError(f"{model / 'dataset.json'}: labels must number the landmarks 1, 2, 3, and so on.")
    return tuple(sorted(labels, key=labels.__getitem__))


def _normalization(
    model: Path, plans: Mapping[str, Any], chosen: Mapping[str, Any]
) -> tuple[dict[str, Any], ...]:
    """The normalisation of each channel, in the terms of a plan of ours."""
    schemes, masked = chosen["normalization_schemes"], chosen["use_mask_for_norm"]
    unknown = [scheme for scheme in schemes if scheme not in SCHEMES]
    if unknown:
        raise LandmarkError(f"{model / 'plans.json'}: the normalisation {unknown[0]!r} is not known.")
    intensities = plans.get("foreground_intensity_properties_per_channel", {})
    return tuple(
        {
            "scheme": NORMALIZATIONS[SCHEMES[scheme]],
            "nonzero": bool(masked[channel]),
            "intensity": intensities.get(str(channel), {}),
        }
        for channel, scheme in enumerate(schemes)
    )


def _network_def(
    model: Path, architecture: Mapping[str, Any], channels: int, landmarks: int, turned: Any
) -> dict[str, Any]:
    name, settings = architecture["network_class_name"], dict(architecture["arch_kwargs"])
    if name not in NETWORKS:
        raise LandmarkError(
            f"{model / 'plans.json'}: the network {name!r} is not supported. "
            f"Supported: {', '.join(sorted(NETWORKS))}."
        )
    for key in architecture.get("_kw_requires_import", ()):
        if settings.get(key) not in CLASSES:
            raise LandmarkError(f"{model / 'plans.json'}: {key}={settings.get(key)!r} is not supported.")
        settings[key] = CLASSES[settings[key]]
    for key in PER_STAGE:
        settings[key] = [list(turned(triple)) for triple in settings[key]]
    fixed = {
        "_target_": name,
        "input_channels": channels,
        "num_classes": landmarks,
        "deep_supervision": False,
    }
    odd = [key for key, value in settings.items() if _may_run(value) and value not in CLASSES.values()]
    if odd:
        raise LandmarkError(
            f"{model / 'plans.json'}: {odd[0]}={settings[odd[0]]!r} is not a setting of a network."
        )
    return {**settings, **fixed}


def _may_run(value: Any) -> bool:
    """Whether MONAI's configs would run or look up something in a value."""
    if isinstance(value, Mapping):
        return any(_may_run(part) or str(key).startswith("_") for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return any(_may_run(part) for part in value)
    return isinstance(value, str)


def _check_weights(path: Path, plan: Plan, state: Mapping[str, torch.Tensor]) -> None:
    """Whether the network of the plan takes these weights."""
    parser = ConfigParser({"imports": ["$import torch"], "network_def": plan.network_def})
    try:
        fill_network(parser.get_parsed_content("network_def"), path, state)
    except LandmarkError as error:
        if "seg_layers" not in str(error):
            raise
        hint = "It has a channel for the background: a model for segmentation?"
        raise LandmarkError(f"{error} {hint}") from error


def _write(
    bundle: Path, plan: Plan, state: Mapping[str, torch.Tensor], framing: list[dict[str, Any]], source: str
) -> None:
    with atomic_folder(bundle) as unfinished:
        copy_template(unfinished)
        fill_configs(unfinished, plan, RECIPE, {"bundle_root": ".", "framing": framing})
        written = BundleFolder(unfinished)
        told = {
            "description": f"Finds {len(plan.landmark_names)} landmarks; imported from nnLandmark ({source})."
        }
        written.write_config("metadata", {**written.read_config("metadata"), **told})
        save_atomically(dict(state), written.models.weights)
