# SPDX-License-Identifier: Apache-2.0
"""One number for how little a case looks like those a network has learnt from, out of several signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["DOUBT", "Oddness", "fit_oddness", "image_signs"]

DOUBT = "doubt"  # the sign that needs no held-out cases: 1 is as much as is usual
NORMAL_MAD = 1.4826  # standard deviations of a normal distribution in its median absolute deviation
DEVIATIONS, DEVIATIONS_OF_ONE = 4.0, 12.0  # that are still usual, and how many more a single case leaves open
FAILED = 3.0  # times the median error: a case that says nothing about what is usual
QUANTILES = (5, 25, 50, 75, 95)
LEAST_SPREAD = 1e-3  # of a sign that is the same in all held-out cases, which are never all there are
MOST_VOXELS = 200_000


@dataclass(frozen=True)
class Oddness:
    """
    What is usual of each sign.

    Args:
        usual: by sign, the middle of held-out cases, and how far from it is still usual. Signs whose name
            ends in ``_either_way`` may be odd by being small, too.
    """

    usual: Mapping[str, tuple[float, float]]

    def value(self, signs: Mapping[str, float]) -> float:
        """
        How odd a case is by its oddest sign: 0 as most held-out cases, 1 as the oddest that is usual; NaN
        without any sign. Doubt counts as it is.
        """
        odd = [self._odd(signs[name], name) for name in self.usual if np.isfinite(signs.get(name, np.nan))]
        if DOUBT in signs:
            odd.append(signs[DOUBT])
        return max(odd, default=float("nan"))

    def _odd(self, value: float, name: str) -> float:
        middle, width = self.usual[name]
        off = value - middle
        return max(0.0, abs(off) if name.endswith("_either_way") else off) / width

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {name: [round(middle, 5), round(width, 5)] for name, (middle, width) in self.usual.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Oddness:
        """
        Raises:
            TypeError, ValueError, AttributeError: when it is not what :meth:`to_json` gives.
        """
        usual = {name: (float(middle), float(width)) for name, (middle, width) in content.items()}
        return cls({name: (middle, max(width, LEAST_SPREAD)) for name, (middle, width) in usual.items()})


def fit_oddness(signs: Sequence[Mapping[str, float]], errors_mm: Sequence[float]) -> Oddness:
    """
    Learn from held-out cases what is usual.

    Args:
        signs: of each case, by name.
        errors_mm: mean error of each case; NaN where it is unknown. Cases that failed are left out.

    Source: median and median absolute deviation; the fewer cases, the more deviations are usual.
    """
    errors = np.asarray(errors_mm, dtype=float)
    good = (
        ~(errors > FAILED * np.nanmedian(errors)) if np.isfinite(errors).any() else np.ones(len(errors), bool)
    )
    usual = {}
    for name in dict.fromkeys(name for one in signs for name in one if name != DOUBT):
        values = np.array([one.get(name, np.nan) for one, use in zip(signs, good) if use], dtype=float)
        values = values[np.isfinite(values)]
        if len(values) < 2:
            continue
        middle = float(np.median(values))
        off = np.abs(values - middle)
        spread = max(NORMAL_MAD * float(np.median(off)), float(np.sqrt((off**2).mean())), LEAST_SPREAD)
        usual[name] = (middle, (DEVIATIONS + DEVIATIONS_OF_ONE / len(values)) * spread)
    return Oddness(usual)


def image_signs(image: np.ndarray) -> dict[str, float]:
    """
    Signs of a network's input, by name.

    Args:
        image: as normalised for the network, shape (C, H, W, D).

    Returns:
        of all channels together: quantiles in standard deviations from the mean, and the logarithm of the
        mean step between neighbouring voxels in standard deviations.
    """
    voxels = np.asarray(image, dtype=np.float32)
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
