# SPDX-License-Identifier: Apache-2.0
"""Look for what would spoil training before anything is learnt: one list of findings, nothing repaired.

An *error* stops; a *warning* is something to look at. Points and voxels are compared as they stand in the
files; when a flip of x and y would explain an error, the finding says so, and that is all it does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from .datalist import Case, Datalist
from .formats import read_landmarks
from .geometry import is_singular, lps_to_ras, voxel_spacing, world_to_voxel
from .images import read_image
from .landmarks import LandmarkError, LandmarkSet

__all__ = ["ERROR", "WARNING", "Finding", "check_dataset", "raise_on_errors", "report_findings"]

logger = logging.getLogger(__name__)

ERROR, WARNING = "error", "warning"
NEAR_VOXELS = 5.0  # a point this little outside is a warning: crops often cut at the bone's very edge
EMPTY_TEXTURE = 0.05  # local contrast over the image's contrast, below which a place counts as empty
MIN_RANK_SHIFT = (
    0.25  # brightness ranks of one case may differ this much from the others' whatever the spread
)
MAX_SPREADS = 6.0  # and this many robust standard deviations


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: how serious, in which case, and a sentence with what to do."""

    severity: str
    case: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.case}: {self.message}"


@dataclass(frozen=True)
class _Content:
    """What a case's landmarks lie on: brightness rank and contrast of their surroundings, medians over landmarks."""

    rank: float
    texture: float

    @property
    def empty(self) -> bool:
        return self.texture < EMPTY_TEXTURE

    @property
    def background(self) -> bool:
        """Flat, and as dark as anything in the image."""
        return self.empty and self.rank < 0.05


def check_dataset(datalist: Datalist, progress: bool = True) -> list[Finding]:
    """
    Check every case of a dataset: files, names, images, and whether the landmarks lie where they should.

    Returns:
        findings, errors first, in the order of the cases.
    """
    findings: list[Finding] = []
    contents: dict[str, _Content] = {}
    for case in tqdm(
        [*datalist.training, *datalist.testing], desc="check", unit="case", disable=not progress
    ):
        found, content = _check_case(case, datalist.landmark_names)
        findings += found
        if content is not None:
            contents[case.id] = content
    findings += _compare_contents(contents)
    return sorted(findings, key=lambda finding: finding.severity != ERROR)


def report_findings(findings: Iterable[Finding]) -> str:
    """
    All findings as lines of text.
    """
    return "\n".join(str(finding) for finding in findings)


def raise_on_errors(findings: Sequence[Finding]) -> None:
    """
    Raises:
        LandmarkError: naming every case with an error, when there is one.
    """
    errors = [finding for finding in findings if finding.severity == ERROR]
    if errors:
        cases = len({finding.case for finding in errors})
        raise LandmarkError(f"the data has {len(errors)} errors in {cases} cases:\n{report_findings(errors)}")


def _check_case(case: Case, names: Sequence[str]) -> tuple[list[Finding], _Content | None]:
    found: list[Finding] = []
    landmarks: LandmarkSet | None = None
    try:
        if case.label is not None:
            landmarks = read_landmarks(case.label)
            found += _check_names(case, landmarks, names)
    except LandmarkError as error:
        found.append(Finding(ERROR, case.id, str(error)))
    try:
        array, affine = read_image(case.image)
    except LandmarkError as error:
        return [*found, Finding(ERROR, case.id, str(error))], None
    problems = _image_problems(array, affine)
    found += [Finding(ERROR, case.id, f"{case.image}: {problem}") for problem in problems]
    if problems or landmarks is None or not landmarks.present.any():
        return found, None
    placed, content = _check_placement(case, landmarks, array, affine)
    return found + placed, content


def _check_names(case: Case, landmarks: LandmarkSet, names: Sequence[str]) -> list[Finding]:
    lacking = [name for name in names if name not in landmarks.names]
    extra = [name for name in landmarks.names if name not in names]
    if not lacking and not extra:
        return []
    parts = []
    if lacking:
        parts.append(f"has no landmark named {_some(lacking)}")
    if extra:
        parts.append(f"has {_some(extra)}, which the other cases do not")
    advice = "Use the same names in every case; a landmark that is not there is listed without a position."
    return [Finding(ERROR, case.id, f"{case.label}: {' and '.join(parts)}. {advice}")]


def _some(names: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _image_problems(array: np.ndarray, affine: np.ndarray) -> list[str]:
    if array.ndim != 3 or min(array.shape) < 2:
        return [
            f"the image has shape {tuple(array.shape)}, not that of one 3D volume. Export a single volume."
        ]
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        return [f"the voxels are of type {array.dtype}, not one number each. Export a greyscale volume."]
    problems = []
    if is_singular(affine):
        problems.append(
            f"the affine {np.round(affine, 4).tolist()} is singular. Export the image with its geometry."
        )
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        problems.append(f"{count} voxels are NaN or infinite. Replace them, or export the image again.")
    elif array.min() == array.max():
        problems.append(f"every voxel is {array.flat[0]}. Export the image again.")
    return problems


def _check_placement(
    case: Case, landmarks: LandmarkSet, array: np.ndarray, affine: np.ndarray
) -> tuple[list[Finding], _Content | None]:
    """Whether points are inside the image, and what they lie on."""
    points = landmarks.points[landmarks.present]
    names = [name for name, present in zip(landmarks.names, landmarks.present) if present]
    outside = _voxels_outside(world_to_voxel(points, affine), array.shape)
    found, content = [], None
    far = outside > NEAR_VOXELS
    if far.any():
        worst = int(np.argmax(outside))
        distance = _mm_outside(points[worst], affine, array.shape)
        counts = f"{int(far.sum())} of {len(points)} landmarks lie outside the image, "
        where = (
            f"{names[worst]!r} by {distance:.1f} mm. " if distance > 0.05 else f"{names[worst]!r} furthest. "
        )
        found.append(
            Finding(ERROR, case.id, f"{case.label}: {counts}{where}{_frame_hint(points, array, affine)}")
        )
    else:
        content = _content(world_to_voxel(points, affine), array)
    for name, voxels in zip(names, outside):
        if 0 < voxels <= NEAR_VOXELS:
            text = f"{name!r} lies {voxels:.1f} voxels outside {case.image.name}. Check its position."
            found.append(Finding(WARNING, case.id, f"{case.label}: {text}"))
    return found, content


def _frame_hint(points: np.ndarray, array: np.ndarray, affine: np.ndarray) -> str:
    """What may have happened, judged by where the points would lie with x and y negated."""
    flipped = world_to_voxel(lps_to_ras(points), affine)
    if (_voxels_outside(flipped, array.shape) > NEAR_VOXELS).any():
        return "They belong to another image or frame: save them again, placed on this very image."
    content = _content(flipped, array)
    if content is None or content.empty:
        return (
            "With x and y negated they would be inside, but in empty background, so it is not LPS marked as RAS: "
            "they belong to another frame (a template, or the image before it was moved). Place them on this image."
        )
    return (
        "With x and y negated they are inside and on image content: "
        "the file is probably LPS marked as RAS, or the reverse."
    )


def _voxels_outside(voxel_points: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """How far each point is outside the grid of voxels, in voxels; 0 inside. Half a voxel of edge counts as inside."""
    high = np.array(shape) - 0.5
    return np.maximum(np.maximum(-0.5 - voxel_points, voxel_points - high), 0).max(axis=-1)


def _mm_outside(point: np.ndarray, affine: np.ndarray, shape: Sequence[int]) -> float:
    voxel = world_to_voxel(point, affine)
    nearest = np.clip(voxel, -0.5, np.array(shape) - 0.5)
    return float(np.linalg.norm((voxel - nearest) * voxel_spacing(affine)))


def _content(voxel_points: np.ndarray, array: np.ndarray, reach: int = 2) -> _Content | None:
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
    return _Content(float(np.median(ranks)), float(np.median(textures))) if ranks else None


def _compare_contents(contents: dict[str, _Content]) -> list[Finding]:
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
        if content.background or content.empty and (all_textured or len(contents) < 3):
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
