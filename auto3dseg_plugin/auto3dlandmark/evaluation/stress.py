# SPDX-License-Identifier: Apache-2.0
"""Predict cases that a bundle has not seen from images that look otherwise.

Each disturbed image is written to a file and predicted as any new image is: what is measured is the product,
its preprocessing included.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from tqdm import tqdm

from ..bundles.folder import BundleFolder
from ..data.datalist import Case
from ..data.images import read_image
from ..data.slices import TILE, points_tile
from ..errors import LandmarkError, readable_error
from ..files import atomic_path
from ..formats import read_landmarks
from ..geometry import radial_error, voxels_outside, world_to_voxel
from ..inference.plausibility import size_warnings
from ..inference.predictor import LandmarkPredictor
from ..landmarks import ABSENT, LandmarkSet
from .disturbances import DISTURBANCES, disturb
from .stress_figures import UNDISTURBED, Look, StressTest

__all__ = ["look_at", "stress_bundle"]


def stress_bundle(
    bundle: BundleFolder,
    cases: Sequence[Case],
    picture: str | os.PathLike,
    fold: int | None = None,
    trust: bool = False,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> StressTest:
    """
    Predict cases undisturbed, and disturbed in every way at every severity.

    Args:
        cases: annotated, and not trained on.
        picture: a .png file for the disturbed images of the first case and its points; a row for each
            disturbance, a column for each severity.
        fold: in which they are held out; a bundle that holds a network for each fold looks with that one.
        trust: as for :class:`LandmarkPredictor`.
        say: told which disturbed images cannot be predicted, and why.

    Raises:
        LandmarkError: when the bundle cannot be used, or a case cannot be predicted undisturbed.
    """
    predictor = LandmarkPredictor([bundle.path], trust=trust)
    plan = bundle.known_plan()
    alone = fold if len(predictor.members[0].networks) > 1 else None

    def predict(array: np.ndarray, affine: np.ndarray, case: str) -> LandmarkSet:
        with tempfile.TemporaryDirectory() as folder:
            image = Path(folder) / f"{case}.nii"  # read once: packing it would take longer
            nib.save(nib.Nifti1Image(array, affine), image)
            if plan is not None:
                size_warnings(image, plan)  # refuses what the memory does not hold
            if alone is None:
                return predictor.predict(image)
            return predictor.conclude(predictor.peaks(image, alone))

    kinds = [(one, number) for one in DISTURBANCES for number in range(1, len(one.severities) + 1)]
    looks: list[Look] = []
    tiles: list[Image.Image] = []
    with tqdm(total=len(cases) * (1 + len(kinds)), desc="stress", unit="image", disable=not progress) as bar:
        for case in cases:
            array, affine = read_image(case.image)
            truth = _truth(case, predictor.names)
            plain = predict(np.asarray(array, np.float32), affine, case.id)
            looks.append(look_at(case.id, UNDISTURBED, 0, array.shape[:3], affine, truth, plain))
            bar.update()
            for one, number in kinds:
                amount = one.severities[number - 1]
                changed, moved = disturb(one, amount, array, affine, case.id, truth.points)
                found, failed = None, None
                try:
                    found = predict(changed, moved, case.id)
                except Exception as error:  # whatever a network says of an image it cannot take
                    failed = str(readable_error(error, "cannot be predicted"))
                    say(f"{case.id}, {one.name} {number}: {failed}")
                looks.append(
                    look_at(case.id, one.name, number, changed.shape[:3], moved, truth, found, failed)
                )
                if case is cases[0]:
                    points = np.full_like(truth.points, np.nan) if found is None else found.points
                    title = f"{one.name} {amount:g}"
                    tiles.append(points_tile(changed, moved, truth.points, points, title))
                bar.update()
    _write_picture(picture, tiles)
    return StressTest(str(bundle.path), tuple(case.id for case in cases), tuple(looks))


def look_at(
    case: str,
    disturbance: str,
    severity: int,
    shape: Sequence[int],
    affine: np.ndarray,
    truth: LandmarkSet,
    found: LandmarkSet | None,
    failed: str | None = None,
) -> Look:
    """
    Compare what was found in an image with the truth, as far as it lies in the image.

    Args:
        shape, affine: of the image.
        truth, found: the same landmarks; None: there is no prediction.
        failed: why not.
    """
    nothing = np.full(len(truth), np.nan)
    inside = truth.present & ~_outside(truth.points, shape, affine)
    outside = truth.present & ~inside
    if found is None:
        return Look(case, disturbance, severity, nothing, nothing, outside=int(outside.sum()), failed=failed)
    known = found.estimates
    claimed = found.present & ~_outside(found.points, shape, affine)
    return Look(
        case,
        disturbance,
        severity,
        np.where(inside, radial_error(found.points, truth.points), np.nan),
        nothing if known is None else known.radius95_mm,
        int((inside & ~found.present).sum()),
        int(((truth.status == ABSENT) & found.present).sum()),
        int(outside.sum()),
        int((outside & claimed).sum()),
        np.nan if known is None else known.unusual,
    )


def _outside(points: np.ndarray, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """Which points lie outside an image; one that is NaN does not."""
    return voxels_outside(world_to_voxel(points, affine), shape) > 0


def _truth(case: Case, names: Sequence[str]) -> LandmarkSet:
    if case.label is None:
        raise LandmarkError(f"{case.image}: has no landmarks to compare with. Annotate the case first.")
    landmarks = read_landmarks(case.label)
    if not set(landmarks.names) & set(names):
        raise LandmarkError(
            f"{case.label}: has none of the bundle's landmarks ({', '.join(names[:5])}, ...). Give a dataset "
            "that has."
        )
    return landmarks.select(names)


def _write_picture(path: str | os.PathLike, tiles: Sequence[Image.Image]) -> None:
    columns = len(DISTURBANCES[0].severities)
    sheet = Image.new("RGB", (columns * TILE, len(DISTURBANCES) * TILE))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * TILE, number // columns * TILE))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
