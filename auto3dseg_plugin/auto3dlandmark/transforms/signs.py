# SPDX-License-Identifier: Apache-2.0
"""Numbers by which an image may be told from those a network has learnt from: how its grey values are spread,
and how sharp it is."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["SIGNS", "image_signs"]

SIGNS = "signs"  # of an image's meta data
QUANTILES = (5, 25, 50, 75, 95)
MOST_VOXELS = 200_000


def image_signs(image: torch.Tensor) -> dict[str, float]:
    """
    Signs of a network's input, by name.

    Args:
        image: as normalised for the network, shape (C, H, W, D).

    Returns:
        of all channels together: quantiles in standard deviations from the mean, and the logarithm of the
        mean step between neighbouring voxels in standard deviations.
    """
    voxels = np.asarray(torch.as_tensor(image).as_subclass(torch.Tensor).detach().cpu(), dtype=np.float32)
    step = max(1, voxels.size // MOST_VOXELS)
    values = voxels.ravel()[::step]
    spread = max(float(values.std()), 1e-6)
    quantiles = np.percentile(values, QUANTILES)
    signs = {
        f"quantile_{level}_either_way": float((value - values.mean()) / spread)
        for level, value in zip(QUANTILES, quantiles)
    }
    steps = [np.abs(np.diff(voxels, axis=axis)).mean() for axis in (1, 2, 3) if voxels.shape[axis] > 1]
    signs["sharpness_either_way"] = float(np.log(max(float(np.mean(steps)) / spread, 1e-6))) if steps else 0.0
    return signs
