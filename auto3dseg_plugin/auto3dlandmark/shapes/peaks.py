# SPDX-License-Identifier: Apache-2.0
"""What a network found of each landmark: a few places, each with how much speaks for it. Points, not
volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import LandmarkError

__all__ = ["Peaks", "merged"]


@dataclass(frozen=True)
class Peaks:
    """
    The places at which landmarks were found in an image, the likeliest of each first.

    Args:
        positions: RAS millimetres, shape (N, P, 3); NaN where a landmark has fewer than P.
        masses: the chance that the landmark is there, in [0, 1], shape (N, P); 0 where there is no place.
        spreads: width of each peak, root mean square distance from its middle in millimetres, shape (N, P).
        affine: voxel to RAS millimetres of the image that was searched, shape (4, 4).
        shape: its voxels along each axis.
        signs: numbers that may tell how the image differs from others, by name.
        elsewhere_mm: how far from its likeliest place each landmark lies for those who looked and disagree,
            shape (N,); None where no more of them do than is usual.
    """

    positions: np.ndarray
    masses: np.ndarray
    spreads: np.ndarray
    affine: np.ndarray
    shape: tuple[int, ...]
    signs: Mapping[str, float] = field(default_factory=dict)
    elsewhere_mm: np.ndarray | None = None

    @property
    def first(self) -> np.ndarray:
        """The likeliest place of each landmark, RAS millimetres, shape (N, 3)."""
        return np.asarray(self.positions[:, 0])

    def inside_mm(self, points: np.ndarray) -> np.ndarray:
        """
        How far points lie inside the image: millimetres to its nearest face, negative outside.

        Args:
            points: RAS millimetres, shape (N, 3).
        """
        inverse = np.linalg.inv(self.affine)
        voxels = points @ inverse[:3, :3].T + inverse[:3, 3]
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        room = np.minimum(voxels + 0.5, np.array(self.shape) - 0.5 - voxels) * spacing
        return np.asarray(room.min(axis=-1))

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Plain numbers: millimetres to a tenth of a micrometre."""
        found = {}
        for name, places, masses, spreads in zip(names, self.positions, self.masses, self.spreads):
            found[name] = [
                {
                    "position_mm": np.round(place, 4).tolist(),
                    "mass": round(float(m), 6),
                    "spread_mm": round(float(s), 4),
                }
                for place, m, s in zip(places, masses, spreads)
                if np.isfinite(place).all()
            ]
        image = {"affine": np.asarray(self.affine).tolist(), "shape": [int(size) for size in self.shape]}
        signs = {name: round(float(value), 6) for name, value in self.signs.items()}
        content = {"image": image, "signs": signs, "landmarks": found}
        if self.elsewhere_mm is not None:
            content["elsewhere_mm"] = {
                name: round(float(value), 4) for name, value in zip(names, self.elsewhere_mm)
            }
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any], names: Sequence[str], where: str) -> Peaks:
        """
        Args:
            names: the landmarks to take, in this order; one that is not there has no place.

        Raises:
            LandmarkError: when it is not what :meth:`to_json` gives.
        """
        try:
            landmarks = [content["landmarks"].get(name, []) for name in names]
            most = max([1, *map(len, landmarks)])
            positions = np.full((len(names), most, 3), np.nan)
            masses, spreads = np.zeros((len(names), most)), np.zeros((len(names), most))
            for row, places in enumerate(landmarks):
                for column, place in enumerate(places):
                    positions[row, column] = place["position_mm"]
                    masses[row, column], spreads[row, column] = place["mass"], place["spread_mm"]
            image = content["image"]
            affine, shape = np.array(image["affine"], dtype=float), tuple(image["shape"])
            told = content.get("elsewhere_mm")
            elsewhere = None if told is None else np.array([told[name] for name in names], dtype=float)
            return cls(positions, masses, spreads, affine, shape, content.get("signs", {}), elsewhere)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LandmarkError(f"{where}: holds no peaks ({error}). Predict the case again.") from error


def merged(found: Sequence[Peaks]) -> Peaks:
    """
    What several networks found in the same image, each with an equal say.
    """
    if len(found) == 1:
        return found[0]
    positions = np.concatenate([one.positions for one in found], axis=1)
    masses = np.concatenate([one.masses for one in found], axis=1) / len(found)
    spreads = np.concatenate([one.spreads for one in found], axis=1)
    order = np.argsort(-masses, axis=1, kind="stable")
    return Peaks(
        np.take_along_axis(positions, order[..., None], axis=1),
        np.take_along_axis(masses, order, axis=1),
        np.take_along_axis(spreads, order, axis=1),
        found[0].affine,
        found[0].shape,
    )
