# SPDX-License-Identifier: Apache-2.0
"""Find out what patch anyone's network takes, by running it on shapes alone: no memory, no arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.bundle import ConfigParser

from ..errors import LandmarkError

__all__ = ["fit_patch"]

DIVISORS = (1, 2, 4, 8, 16, 32, 64)


def fit_patch(
    network_def: Mapping[str, Any],
    landmark_names: Sequence[str],
    patch_size: Sequence[int],
    channels: int = 1,
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """
    The patch nearest to a wanted one that a network maps to heatmaps of the same size.

    Args:
        network_def: MONAI config of the network; ``@landmark_names`` and ``@patch_size`` may stand in it.
        landmark_names: one for each channel of the output.
        patch_size: the wanted patch, voxels, shape (3,).
        channels: of the images.

    Returns:
        patch: voxels.
        divisor: any multiples of these will do; None: only this patch does.

    Raises:
        LandmarkError: when the config builds no network, or one that gives no heatmap for each landmark.
    """
    if not isinstance(network_def, Mapping) or "_target_" not in network_def:
        raise LandmarkError(
            "the network definition must be a JSON object that names a class as its _target_."
        )
    fixed = None
    reason = ""
    for divisor in DIVISORS:
        steps = [max(1, round(size / divisor)) for size in patch_size]
        # A network that halves once more than the divisor says does not take odd multiples of it.
        odd = tuple(divisor * (count + 1 + count % 2) for count in steps)
        fitted = tuple(divisor * count for count in steps)
        complaint = _complaint(network_def, landmark_names, channels, [fitted, odd])
        if not complaint:
            return fitted, (divisor,) * 3
        if fixed is None and not _complaint(network_def, landmark_names, channels, [fitted]):
            fixed = fitted
        reason = complaint
    if fixed is None:
        raise LandmarkError(
            f"the network {network_def['_target_']!r} cannot be used for {len(landmark_names)} landmarks: "
            f"{reason}. "
            f'It must map (1, {channels}, x, y, z) to (1, N, x, y, z); write N as "$len(@landmark_names)".'
        )
    return fixed, None


def _complaint(
    network_def: Mapping[str, Any],
    landmark_names: Sequence[str],
    channels: int,
    shapes: Sequence[Sequence[int]],
) -> str:
    """What is wrong with the network's output for images of these shapes; empty when nothing is."""
    parser = ConfigParser(
        {
            "imports": ["$import torch"],
            "landmark_names": list(landmark_names),
            "patch_size": list(shapes[0]),
            "network_def": dict(network_def),
        }
    )
    try:
        network = parser.get_parsed_content("network_def").to("meta").train()  # where norms need two voxels
        for shape in shapes:
            with torch.no_grad():
                result = network(torch.empty(1, channels, *shape, device="meta"))
            wanted = (1, len(landmark_names), *shape)
            if not isinstance(result, torch.Tensor) or result.shape != wanted:
                given = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
                return f"it gives {given} where {wanted} is wanted"
    except Exception as error:  # whatever a network raises for a size it does not take
        innermost: BaseException = error
        while innermost.__cause__ is not None:
            innermost = innermost.__cause__
        return (str(innermost).strip() or type(innermost).__name__).splitlines()[0][:200]
    return ""
