# SPDX-License-Identifier: Apache-2.0
"""Values of a config that only make sense together: what is learnt, and how it is read off the heatmaps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..errors import LandmarkError

__all__ = ["refuse_disagreement"]

# What makes logits probabilities is decided by the loss they were trained with.
ACTIVATION_OF_LOSS = {
    "SpatialCrossEntropyLoss": "softmax",
    "TopKBCELoss": "sigmoid",
    "MaskedMSELoss": "sigmoid",
    "LinearMSELoss": "sigmoid",  # which leaves the highest voxel where it is
    "HardNegativeLoss": "sigmoid",
}
ACTIVATIONS = ("softmax", "sigmoid")
# How far a target reaches, in voxels: its argument, that argument's default, and what it is multiplied by.
REACH_OF_TARGET = {"ConeTarget": ("radius", 15.03), "GaussianTarget": ("sigma", 1.5)}
GAUSSIAN_CUTOFF = 4.0


def refuse_disagreement(config: Mapping[str, Any], path: str | os.PathLike) -> None:
    """
    Stop at a loss, a target, an activation and a decode radius that do not fit together.

    Losses and targets of others, and values that are expressions, are left to who wrote them.

    Args:
        config: values of train.json, inference.json, or both.
        path: what to call it in the sentence.

    Raises:
        LandmarkError: with the two values and what to change.
    """
    activation, loss = config.get("activation"), _class_name(config.get("loss"))
    if _is_plain(activation) and activation not in ACTIVATIONS:
        raise LandmarkError(
            f"{path}: activation={activation!r} is unknown. Choose one of {', '.join(ACTIVATIONS)}."
        )
    wanted = ACTIVATION_OF_LOSS.get(loss)
    if wanted is not None and _is_plain(activation) and activation != wanted:
        raise LandmarkError(
            f"{path}: the loss {loss} trains heatmaps of activation {wanted!r}, "
            f"but activation={activation!r}. "
            "Change one of the two."
        )
    radius = config.get("decode_radius")
    if radius is None or not _is_plain(radius):
        return
    if isinstance(radius, bool) or not isinstance(radius, int) or radius < 0:
        raise LandmarkError(f"{path}: decode_radius={radius!r} must be a whole number of voxels, 0 or more.")
    reach = _reach(config.get("target"))
    if reach is not None and radius > reach:
        raise LandmarkError(
            f"{path}: decode_radius={radius} voxels reaches beyond the target, which ends after {reach:g}. "
            "Make it smaller, or the target wider."
        )


def _class_name(definition: Any) -> str:
    target = definition.get("_target_", "") if isinstance(definition, Mapping) else ""
    return str(target).rpartition(".")[2]


def _is_plain(value: Any) -> bool:
    """Whether a value stands for itself: MONAI runs or looks up what begins with one of these."""
    return value is not None and not (isinstance(value, str) and value.startswith(("$", "@", "%")))


def _reach(target: Any) -> float | None:
    name = _class_name(target)
    if name not in REACH_OF_TARGET:
        return None
    key, default = REACH_OF_TARGET[name]
    width = target.get(key, default)
    cutoff = target.get("cutoff", GAUSSIAN_CUTOFF) if name == "GaussianTarget" else 1.0
    numbers = [one for one in (width, cutoff) if isinstance(one, (int, float)) and not isinstance(one, bool)]
    return numbers[0] * numbers[1] if len(numbers) == 2 else None
