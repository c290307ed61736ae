# SPDX-License-Identifier: Apache-2.0
"""A picture to look at: slices of cases through their landmarks, with the true and the predicted points."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..errors import LandmarkError
from ..files import atomic_path
from ..formats import read_landmarks
from ..geometry import radial_error, voxel_spacing, world_to_voxel
from ..landmarks import LandmarkSet
from .datalist import Case
from .folder import prediction_path
from .images import first_channel, read_image, reorient_to_ras

__all__ = ["TILE", "points_tile", "three_slices", "write_preview"]

TILE = 192  # pixels
COLUMNS = 6
MOVED_MM = 0.5  # a point that moved less lies where it was found
TRUE, PREDICTED, PEAK = (90, 220, 120), (255, 90, 90), (255, 210, 60)


def write_preview(
    path: str | os.PathLike,
    cases: Sequence[Case],
    predictions: str | os.PathLike,
    rows: int = 3,
    worst_first: bool = False,
) -> None:
    """
    Draw cases, one per row, each with axial slices through six of its landmarks that have a true point.

    A circle is the true point, a cross the predicted one with the outline of what holds it with 95 %, and a
    plus what the network had found where the landmarks moved it; all are moved into the slice along its
    normal.

    Args:
        path: a .png file.
        cases: annotated; evenly spaced ones of them are drawn.
        predictions: the folder of their predictions.
        rows: how many cases.
        worst_first: draw the landmarks with the largest errors; else the first ones.
    """
    shown = [
        cases[index] for index in np.linspace(0, len(cases) - 1, min(rows, len(cases))).round().astype(int)
    ]
    sheet = Image.new("RGB", (COLUMNS * TILE, len(shown) * TILE))
    for row, case in enumerate(shown):
        array, affine = reorient_to_ras(*read_image(case.image))
        voxels = first_channel(array)
        truth = read_landmarks(case.label)
        predicted = read_landmarks(prediction_path(predictions, case.image)).select(truth.names)
        low, high = np.percentile(voxels, (1, 99.5))
        drawn = np.flatnonzero(truth.present)
        if worst_first:
            errors = np.nan_to_num(radial_error(predicted.points, truth.points)[drawn], nan=np.inf)
            drawn = drawn[np.argsort(-errors, kind="stable")]
        for column, index in enumerate(drawn[:COLUMNS]):
            point = world_to_voxel(truth.points[index], affine)
            depth = int(np.clip(round(point[2]), 0, voxels.shape[2] - 1))
            plane = np.clip((voxels[:, :, depth] - low) / max(high - low, 1e-9), 0, 1)
            tile = _tile(plane, voxel_spacing(affine)[:2], point[:2], **_marks(predicted, index, affine))
            ImageDraw.Draw(tile).text((4, 4), f"{case.id}: {truth.names[index]}", fill=(255, 255, 255))
            sheet.paste(tile, (column * TILE, row * TILE))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _marks(predicted: LandmarkSet, index: int, affine: np.ndarray) -> dict[str, np.ndarray | None]:
    """What is drawn of a prediction on an axial slice, in voxels: the point, what was found, what holds
    it."""
    if not predicted.present[index]:
        return {"found": None}
    marks: dict[str, np.ndarray | None] = {"found": world_to_voxel(predicted.points[index], affine)[:2]}
    known = predicted.estimates
    if known is not None and np.isfinite(known.peaks[index]).all():
        if radial_error(known.peaks[index], predicted.points[index]) > MOVED_MM:
            marks["peak"] = world_to_voxel(known.peaks[index], affine)[:2]
        radius, covariance = known.radius95_mm[index], known.covariance[index]
        if np.isfinite(radius) and np.isfinite(covariance).all():
            inverse = np.linalg.inv(affine[:3, :3])
            shape = (inverse @ covariance @ inverse.T)[:2, :2] / max(np.trace(covariance) / 3, 1e-12)
            angles = np.linspace(0, 2 * np.pi, 48)
            circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
            marks["outline"] = (
                marks["found"] + radius * circle @ np.linalg.cholesky(shape + 1e-9 * np.eye(2)).T
            )
    return marks


def three_slices(
    case: Case,
    landmark: str | None = None,
    expected: Sequence[float] | np.ndarray | None = None,
    view_mm: float | None = None,
) -> Image.Image:
    """
    Sagittal, coronal and axial slices of a case through one of its landmarks, marked by a circle.

    Args:
        landmark: left out, the slices go through the middle of its landmarks.
        expected: another place to mark, by a cross, moved into the slices along their normals; RAS
            millimetres.
        view_mm: from the landmark to the border of each slice; left out, the whole image.

    Raises:
        LandmarkError: when the image or the landmarks cannot be read.
    """
    if case.label is None:
        raise LandmarkError(f"{case.image}: has no landmarks to draw. Annotate the case first.")
    array, affine = reorient_to_ras(*read_image(case.image))
    voxels = first_channel(array)
    landmarks = read_landmarks(case.label)
    wanted = (
        landmarks.present if landmark is None else np.array([name == landmark for name in landmarks.names])
    )
    points = world_to_voxel(landmarks.points[wanted & landmarks.present], affine)
    point = points.mean(axis=0) if len(points) else (np.array(voxels.shape) - 1) / 2
    low, high = np.percentile(voxels, (1, 99.5))
    sheet = Image.new("RGB", (3 * TILE, TILE))
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        depth = int(np.clip(round(point[axis]), 0, voxels.shape[axis] - 1))
        plane = np.clip((voxels.take(depth, axis=axis) - low) / max(high - low, 1e-9), 0, 1)
        spacing = voxel_spacing(affine)[others]
        inside = np.clip(point[others], 0, np.array(plane.shape) - 1)
        cross = None if expected is None else world_to_voxel(np.array(expected), affine)[others]
        if view_mm is not None:
            first = np.maximum(0, np.floor(inside - view_mm / spacing)).astype(int)
            last = np.ceil(inside + view_mm / spacing).astype(int) + 1
            plane = plane[first[0] : last[0], first[1] : last[1]]
            inside, cross = inside - first, None if cross is None else cross - first
        sheet.paste(_tile(plane, spacing, inside, cross), (axis * TILE, 0))
    return sheet


def _tile(
    plane: np.ndarray,
    spacing: np.ndarray,
    point: np.ndarray,
    found: np.ndarray | None,
    peak: np.ndarray | None = None,
    outline: np.ndarray | None = None,
) -> Image.Image:
    """One slice (i, j), seen with i to the left and j up, as radiologists do; points in voxels of it."""
    tile, place = _grey_tile(plane, spacing)
    draw = ImageDraw.Draw(tile)
    x, y = place(point)
    draw.ellipse((x - 6, y - 6, x + 6, y + 6), outline=TRUE, width=2)
    if outline is not None:
        draw.line([place(voxel) for voxel in outline], fill=PREDICTED, width=1)
    if peak is not None:
        x, y = place(peak)
        draw.line((x - 4, y, x + 4, y), fill=PEAK, width=2)
        draw.line((x, y - 4, x, y + 4), fill=PEAK, width=2)
    if found is not None:
        x, y = place(found)
        draw.line((x - 5, y - 5, x + 5, y + 5), fill=PREDICTED, width=2)
        draw.line((x - 5, y + 5, x + 5, y - 5), fill=PREDICTED, width=2)
    return tile


def points_tile(
    array: np.ndarray, affine: np.ndarray, truth: np.ndarray, found: np.ndarray, title: str = ""
) -> Image.Image:
    """
    One slice through the middle of a case's landmarks, across the axis along which they vary least, with all
    of them moved into it: rings where they are, crosses where they were found, lines in between.

    Args:
        array: shape (H, W, D), or (H, W, D, C).
        affine: voxel to RAS millimetres, shape (4, 4).
        truth, found: RAS millimetres, shape (N, 3); NaN where there is no point.
        title: written onto it.
    """
    array, affine = reorient_to_ras(array, affine)
    voxels = first_channel(array)
    known = truth[np.isfinite(truth).all(axis=1)]
    axis = int(np.argmin(np.ptp(known, axis=0))) if len(known) > 1 else 2
    size = np.array(voxels.shape)
    middle = np.median(world_to_voxel(known, affine), axis=0) if len(known) else (size - 1) / 2
    others = [other for other in range(3) if other != axis]
    low, high = np.percentile(voxels, (1, 99.5))
    depth = int(np.clip(round(middle[axis]), 0, voxels.shape[axis] - 1))
    plane = np.clip((voxels.take(depth, axis=axis) - low) / max(high - low, 1e-9), 0, 1)
    tile, place = _grey_tile(plane, voxel_spacing(affine)[others])
    draw = ImageDraw.Draw(tile)
    for point, other in zip(world_to_voxel(truth, affine), world_to_voxel(found, affine)):
        ring = None if np.isnan(point).any() else place(point[others])
        cross = None if np.isnan(other).any() else place(other[others])
        if ring is not None:
            draw.ellipse((ring[0] - 3, ring[1] - 3, ring[0] + 3, ring[1] + 3), outline=TRUE)
        if cross is not None:
            x, y = cross
            draw.line((x - 2, y - 2, x + 2, y + 2), fill=PREDICTED)
            draw.line((x - 2, y + 2, x + 2, y - 2), fill=PREDICTED)
        if ring is not None and cross is not None:
            draw.line((*ring, *cross), fill=PREDICTED)
    draw.text((4, 4), title, fill=(255, 255, 255))
    return tile


def _grey_tile(
    plane: np.ndarray, spacing: np.ndarray
) -> tuple[Image.Image, Callable[[np.ndarray], tuple[float, float]]]:
    """A slice (i, j) of values in [0, 1], and where on it a voxel of it lies, in pixels."""
    scale = TILE / max(np.array(plane.shape) * spacing)
    width, height = np.maximum(1, np.round(np.array(plane.shape) * spacing * scale)).astype(int)
    grey = Image.fromarray((255 * plane[::-1, ::-1].T).astype(np.uint8)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    tile = Image.new("RGB", (TILE, TILE))
    tile.paste(grey.convert("RGB"), (0, 0))

    def place(voxel: np.ndarray) -> tuple[float, float]:
        x, y = (np.array(plane.shape) - 0.5 - voxel) * spacing * scale
        return float(x), float(y)

    return tile, place
