# SPDX-License-Identifier: Apache-2.0
"""What several annotated images say of another one: each is registered to it, and their points are fused."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.datalist import Case
from ..data.images import first_channel, read_image, reorient_to_ras
from ..errors import LandmarkError
from ..estimates import LEVELS, Estimates
from ..formats import read_landmarks
from ..geometry import radial_error, voxel_spacing, voxels_outside, world_to_voxel
from ..landmarks import ABSENT, PRESENT, UNKNOWN, LandmarkSet
from ..shapes.alignment import size_mm
from .elastix import register
from .pose_search import Volume, search_pose

__all__ = [
    "Template",
    "Transfer",
    "fused",
    "ratios_of",
    "read_template",
    "read_volume",
    "transferred",
]

# Times how far the free-form step moved its points, to hold a point with 50, 90 and 95 %, where one template
# has no others to compare with: chosen on a few pairs. The last held 97 % on skulls and 94 % on hippocampi,
# six targets each, and 21 % on spines, most of which fail (tests/benchmarks/transfer.py).
ALONE = (1.2, 2.6, 3.3)
USUAL_MARGIN = 0.06  # of correlation, by which the best pose usually beats one that lies elsewhere
USUAL_SPREAD = 0.2  # of the landmarks' size: templates that disagree by more say different things
OUTLYING = 3.0  # times as far from the others' points as the middle template
LEAST_SIZE = 0.1  # of the image's
LEAST_TEMPLATES = 3  # to tell which of them is the odd one
FAILED = "templates lead to different places"
AMBIGUOUS = "another pose fits nearly as well"


@dataclass(frozen=True)
class Template:
    """An annotated image."""

    id: str
    volume: Volume
    landmarks: LandmarkSet


@dataclass(frozen=True)
class Transfer:
    """
    What one template says of an image.

    Args:
        points: RAS millimetres, shape (N, 3); NaN where the template has none.
        gap_mm: how far the free-form step moved each from where the affine one had put it, shape (N,).
        margin: of the pose, as in :class:`auto3dlandmark.registration.pose_search.Pose`.
    """

    points: np.ndarray
    gap_mm: np.ndarray
    margin: float


def read_template(case: Case, names: Sequence[str]) -> Template:
    """
    An annotated case, of which the first channel is registered.

    Raises:
        LandmarkError: when its image or its landmarks cannot be read.
    """
    assert case.label is not None
    return Template(case.id, read_volume(case.image), read_landmarks(case.label).select(names))


def read_volume(image: str | os.PathLike) -> Volume:
    """
    The first channel of an image file.

    Raises:
        LandmarkError: when it cannot be read, or has voxels that are no numbers.
    """
    array, affine = reorient_to_ras(*read_image(image))
    values = first_channel(array)
    if not np.isfinite(values).all():
        raise LandmarkError(f"{image}: has NaN or infinite voxels. Replace them, or export the image again.")
    return Volume.of(values, affine)


def transferred(template: Template, target: Volume, threads: int = 1) -> Transfer:
    """Register an image to a template, and take its points there."""
    present = template.landmarks.present
    pose = search_pose(template.volume, target)
    found = register(template.volume, target, pose.matrix, template.landmarks.points[present], threads)
    points, gap = np.full((len(present), 3), np.nan), np.full(len(present), np.nan)
    points[present], gap[present] = found.free, np.linalg.norm(found.free - found.affine, axis=1)
    return Transfer(points, gap, pose.margin)


def fused(
    templates: Sequence[Template], said: Sequence[Transfer], target: Volume, ratios: np.ndarray | None = None
) -> LandmarkSet:
    """
    One answer out of several.

    A template whose points lie far from the others' is left out; the rest are fused by their medians. A
    landmark that more templates call absent than present, or that comes to lie outside the image, is absent.

    Args:
        said: what each template says.
        ratios: by which the spread is multiplied to hold a point with 50, 90 and 95 %, as templates say of
            each other; left out, what is usual of one template alone.

    Returns:
        with the spread of each point as radii, and ``unusual`` above 1 where the answer is not to be trusted.
    """
    names = templates[0].landmarks.names
    points = np.array([one.points for one in said])  # (K, N, 3)
    points[_outlying(points)] = np.nan
    known = np.isfinite(points).all(axis=2)
    middle = _median(points)
    spread = spread_mm(points, np.array([one.gap_mm for one in said]))
    status = np.where(known.any(axis=0), PRESENT, UNKNOWN)
    votes = np.array([one.landmarks.status for one in templates])
    status[(votes == ABSENT).sum(axis=0) > (votes == PRESENT).sum(axis=0)] = ABSENT
    inside = status == PRESENT
    outside = np.zeros(len(names), dtype=bool)
    outside[inside] = voxels_outside(world_to_voxel(middle[inside], target.affine), target.values.shape) > 0
    status[outside] = ABSENT
    size = float(np.median([_size_mm(one) for one in templates]))
    disagree = float(np.nanmedian(spread[inside])) / (USUAL_SPREAD * size) if inside.any() else np.nan
    unclear = USUAL_MARGIN / max(float(np.median([one.margin for one in said])), 1e-3)
    note = FAILED if disagree > 1 else AMBIGUOUS if unclear > 1 else ""
    notes = tuple(
        "outside the image" if gone else note if there == PRESENT else ""
        for gone, there in zip(outside, status)
    )
    radii = spread[:, None] * (np.array(ALONE) if ratios is None else ratios)
    covariance = (spread**2 / 3)[:, None, None] * np.eye(3)
    present = status == PRESENT
    estimates = Estimates(
        np.where(present, 1.0, np.where(status == ABSENT, 0.0, np.nan)),
        np.where(present[:, None], radii, np.nan),
        np.where(present[:, None, None], covariance, np.nan),
        middle,
        notes,
        float(np.nanmax([disagree, unclear])),
    )
    return LandmarkSet(names, np.where(present[:, None], middle, np.nan), status, estimates=estimates)


def spread_mm(points: np.ndarray, gap_mm: np.ndarray) -> np.ndarray:
    """
    How far off each point may be, shape (N,): by how templates disagree, or by how far the free-form step
    moved it where only one says anything; both smoothed by the case's middle.

    Args:
        points: shape (K, N, 3), NaN where there is none.
        gap_mm: shape (K, N).
    """
    known = np.isfinite(points).all(axis=2)
    off = np.where(known, radial_error(points, np.broadcast_to(_median(points), points.shape)), np.nan)
    several = known.sum(axis=0) > 1
    with np.errstate(invalid="ignore"):
        apart = np.sqrt(np.nansum(off**2, axis=0) / np.maximum(known.sum(axis=0) - 1, 1))
        gap = np.nansum(np.where(known, gap_mm, 0), axis=0) / np.maximum(known.sum(axis=0), 1)
    own = np.where(several, apart, gap)
    own = np.where(known.any(axis=0), own, np.nan)
    return np.asarray(np.sqrt((own**2 + np.nanmedian(own) ** 2) / 2)) if known.any() else own


def ratios_of(templates: Sequence[Template], said: Sequence[Sequence[Transfer | None]]) -> np.ndarray | None:
    """
    By what a spread has to be multiplied to hold the truth, as templates say of each other.

    Args:
        said: what the template of each column says of the image of each row's; None for itself.

    Returns:
        of ``LEVELS``, shape (3,); None with fewer than three templates, which say nothing of agreement.
    """
    if len(templates) < LEAST_TEMPLATES:
        return None
    ratios = []
    for target, row in zip(templates, said):
        others = [(one, found) for one, found in zip(templates, row) if found is not None]
        answer = fused([one for one, _ in others], [found for _, found in others], target.volume, np.ones(3))
        assert answer.estimates is not None
        errors = radial_error(answer.points, target.landmarks.points)
        both = np.isfinite(errors)
        ratios.append(errors[both] / np.maximum(answer.estimates.radii_mm[both, 0], 1e-6))
    together = np.concatenate(ratios)
    return np.percentile(together, LEVELS) if len(together) else None


def _size_mm(template: Template) -> float:
    """Of the landmarks; where they are too few to have one, a share of the image's."""
    volume = template.volume
    extent = float(np.prod(voxel_spacing(volume.affine) * volume.values.shape) ** (1 / 3))
    points = template.landmarks.points[template.landmarks.present]
    return max(size_mm(points) if len(points) else 0.0, LEAST_SIZE * extent)


def _median(points: np.ndarray) -> np.ndarray:
    """Of those that are known, shape (N, 3); NaN where none is."""
    known = np.isfinite(points).any(axis=0)
    return np.where(known, np.nanmedian(np.where(known, points, 0.0), axis=0), np.nan)


def _outlying(points: np.ndarray) -> np.ndarray:
    """Which templates lie far from the others, shape (K,)."""
    if len(points) < LEAST_TEMPLATES:
        return np.zeros(len(points), dtype=bool)
    off = np.array([np.nanmedian(radial_error(one, _median(points))) for one in points])
    return np.asarray(off > OUTLYING * np.nanmedian(off))
