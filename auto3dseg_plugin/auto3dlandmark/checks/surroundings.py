# SPDX-License-Identifier: Apache-2.0
"""What landmarks lie on: image content like the other cases' landmarks, something else, or nothing at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .findings import ERROR, WARNING, Finding

__all__ = ["Surroundings", "compare_surroundings", "surroundings_at"]

EMPTY_TEXTURE = 0.05  # local contrast over the image's contrast, below which a place counts as empty
MIN_RANK_SHIFT = (
    0.25  # brightness ranks of one case may differ this much from the others' whatever the spread
)
MAX_SPREADS = 6.0  # and this many robust standard deviations


@dataclass(frozen=True)
class Surroundings:
    """What a case's landmarks lie on: brightness rank and contrast of their surroundings, medians over
    landmarks."""

    rank: float
    texture: float

    @property
    def empty(self) -> bool:
        return self.texture < EMPTY_TEXTURE

    @property
    def background(self) -> bool:
        """Flat, and as dark as anything in the image."""
        return self.empty and self.rank < 0.05


def surroundings_at(voxel_points: np.ndarray, array: np.ndarray, reach: int = 2) -> Surroundings | None:
    """
    What lies around the points, in numbers that no scaling of the intensities changes.

    Args:
        voxel_points: voxel indices, shape (n, 3).
        array: the image, shape (H, W, D).
        reach: half width of the looked-at cubes, in voxels.
    """
    sample = np.sort(np.asarray(array.ravel()[:: max(1, array.size // 200_000)], dtype=np.float32))
    contrast = float(sample.std())
    ranks, textures = [], []
    for centre in np.clip(np.round(voxel_points).astype(int), 0, np.array(array.shape) - 1):
        cube = array[tuple(slice(max(c - reach, 0), c + reach + 1) for c in centre)].astype(np.float32)
        ranks.append(np.searchsorted(sample, cube.mean()) / len(sample))
        textures.append(float(cube.std()) / contrast if contrast > 0 else 0.0)
    return Surroundings(float(np.median(ranks)), float(np.median(textures))) if ranks else None


def compare_surroundings(contents: dict[str, Surroundings]) -> list[Finding]:
    """Cases whose landmarks lie on something else than the other cases' landmarks."""
    findings = []
    filled = [content for content in contents.values() if not content.background]
    ranks = np.array([content.rank for content in filled])
    middle = float(np.median(ranks)) if len(ranks) else 0.0
    spread = 1.4826 * float(np.median(np.abs(ranks - middle))) if len(ranks) else 0.0
    all_textured = np.median([content.texture for content in filled]) > 2 * EMPTY_TEXTURE if filled else False
    advice = (
        "They are probably in the frame of another image: place them on this image, or leave the case out."
    )
    for case, content in contents.items():
        shift = abs(content.rank - middle)
        if content.background or (content.empty and (all_textured or len(contents) < 3)):
            findings.append(Finding(ERROR, case, f"the landmarks lie on empty background. {advice}"))
        elif content.empty:
            findings.append(
                Finding(
                    WARNING, case, "the landmarks lie where the image is flat. Look at the case in Slicer."
                )
            )
        elif shift > max(MIN_RANK_SHIFT, MAX_SPREADS * spread):
            where = f"at brightness rank {content.rank:.2f}, those of the other cases at {middle:.2f}"
            findings.append(
                Finding(
                    ERROR,
                    case,
                    f"the landmarks lie on other content than in the other cases: {where}. {advice}",
                )
            )
    return findings
