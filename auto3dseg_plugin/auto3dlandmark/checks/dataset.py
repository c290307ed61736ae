# SPDX-License-Identifier: Apache-2.0
"""Look for what would spoil training before anything is learnt: one list of findings, nothing repaired.

Points and voxels are compared as they stand in the files; when a flip of x and y would explain an error, the
finding says so, and that is all it does.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from tqdm import tqdm

from ..data.datalist import Case, Datalist
from ..data.images import channel_files, channel_name, first_channel, read_image
from ..errors import LandmarkError
from ..formats import read_landmarks
from ..geometry import is_singular, lps_to_ras, voxel_spacing, voxels_outside, world_to_voxel
from ..landmarks import LandmarkSet, some_names
from .arrangement import compare_arrangements
from .findings import ERROR, SEVERITIES, SUSPECT, WARNING, Finding
from .surroundings import Surroundings, compare_surroundings, surroundings_at

__all__ = ["NEAR_VOXELS", "check_dataset", "image_problems"]

logger = logging.getLogger(__name__)

FEW_IMAGES, NEARLY_ALL = 8, 0.9  # directions are compared when this share of so many images agrees
NEAR_VOXELS = 5.0  # a point this little outside is a warning: crops often cut at the bone's very edge


def check_dataset(datalist: Datalist, progress: bool = True) -> list[Finding]:
    """
    Check every case of a dataset: files, names, images, and whether the landmarks lie where they should.

    Returns:
        findings, errors first, then what is suspect; those of one severity in the order of the cases, unusual
        shapes by how unusual they are.
    """
    findings: list[Finding] = []
    contents: dict[str, Surroundings] = {}
    shapes: dict[str, np.ndarray] = {}
    copies: dict[str, list[Case]] = {}
    orientations: dict[str, list[str]] = {}
    channels: dict[Case, tuple[str, ...]] = {}
    for case in tqdm(
        [*datalist.training, *datalist.testing], desc="check", unit="case", disable=not progress
    ):
        looked = _check_case(case, datalist.landmark_names)
        findings += looked.findings
        if looked.content is not None:
            contents[case.id] = looked.content
        if looked.points is not None:
            shapes[case.id] = looked.points
        orientations.setdefault(looked.orientation, []).append(case.id)
        if looked.channels:
            channels[case] = looked.channels
        if looked.digest:
            copies.setdefault(looked.digest, []).append(case)
    findings += [
        Finding(
            ERROR if unusual.severe else SUSPECT,
            unusual.case,
            unusual.text,
            unusual.landmarks,
            unusual.suggestion,
            unusual.expected,
        )
        for unusual in compare_arrangements(shapes, datalist.landmark_names)
    ]
    findings += compare_surroundings(contents) + _other_channels(channels)
    findings += _find_copies(copies.values(), datalist) + _mixed_orientations(orientations)
    trained = {case.group for case in datalist.training} - {None}
    findings += [
        Finding(
            SUSPECT,
            case.id,
            f"is of the group {case.group!r}, which is trained on too. Test on other groups.",
        )
        for case in datalist.testing
        if case.group in trained
    ]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def _mixed_orientations(orientations: dict[str, list[str]]) -> list[Finding]:
    """The few images stored in other directions than nearly all: no fault, but where a frame was mixed up it
    shows."""
    stored = {codes: cases for codes, cases in orientations.items() if codes}
    total = sum(map(len, stored.values()))
    usual = max(stored, key=lambda codes: len(stored[codes]), default="")
    if total < FEW_IMAGES or len(stored[usual]) < NEARLY_ALL * total:
        return []
    advice = "Training turns them all alike; see in Slicer that the landmarks of these lie right"
    return [
        Finding(
            WARNING,
            cases[0],
            f"is stored as {codes}, nearly all others as {usual}. {advice}: {some_names(cases)}.",
        )
        for codes, cases in stored.items()
        if codes != usual
    ]


def _find_copies(groups: Iterable[Sequence[Case]], datalist: Datalist) -> list[Finding]:
    """Images that are there twice; twice across training and test cases spoils the test."""
    tested = {case.id for case in datalist.testing}
    findings = []
    for group in groups:
        if len(group) > 1:
            others = some_names([case.id for case in group[1:]])
            leak = len({case.id in tested for case in group}) > 1
            advice = (
                "One is trained on and one tests the result: remove one." if leak else "Remove all but one."
            )
            findings.append(
                Finding(
                    SUSPECT,
                    group[0].id,
                    f"{group[0].image}: is the same image as {others}. {advice}",
                    suggestion=f"remove {', '.join(str(case.image) for case in group[1:])} and its landmarks",
                )
            )
    return findings


@dataclass
class _Looked:
    """What looking at one case gave."""

    findings: list[Finding]
    content: Surroundings | None = None
    points: np.ndarray | None = None
    digest: str = ""
    orientation: str = ""
    channels: tuple[str, ...] = ()


def _check_case(case: Case, names: Sequence[str]) -> _Looked:
    looked = _Looked([])
    landmarks: LandmarkSet | None = None
    try:
        if case.label is not None:
            landmarks = read_landmarks(case.label)
            looked.findings += _check_names(case, landmarks, names)
            if set(names) <= set(landmarks.names):
                looked.points = landmarks.select(names).points
    except LandmarkError as error:
        looked.findings.append(Finding(ERROR, case.id, str(error)))
    try:
        array, affine = read_image(case.image)
    except LandmarkError as error:
        looked.findings.append(Finding(ERROR, case.id, str(error)))
        return looked
    problems = image_problems(array, affine)
    looked.findings += [Finding(ERROR, case.id, f"{case.image}: {problem}") for problem in problems]
    if not problems:
        looked.orientation = "".join(nib.aff2axcodes(affine))
        looked.channels = _channels(case, array)
        looked.digest = hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()
    if not problems and landmarks is not None and landmarks.present.any():
        placed, looked.content = _check_placement(case, landmarks, first_channel(array), affine)
        looked.findings += placed
    return looked


def _channels(case: Case, array: np.ndarray) -> tuple[str, ...]:
    """What the channels are called, where each has a file of its own; else their numbers."""
    if array.ndim == 3:
        return ("",)
    files = channel_files(case.image)
    return tuple(map(channel_name, files)) if len(files) > 1 else tuple(map(str, range(array.shape[3])))


def _other_channels(channels: dict[Case, tuple[str, ...]]) -> list[Finding]:
    """Cases that have other channels than most."""
    counts = Counter(channels.values())
    usual = max(counts, key=lambda names: counts[names], default=())
    advice = "Training needs the same channels, named alike, of every case."
    return [
        Finding(
            ERROR,
            case.id,
            f"{case.image}: has {_channels_text(names)}, most images have {_channels_text(usual)}. {advice}",
        )
        for case, names in channels.items()
        if names != usual
    ]


def _channels_text(names: Sequence[str]) -> str:
    return "one channel" if len(names) == 1 else f"{len(names)} channels ({', '.join(names)})"


def _check_names(case: Case, landmarks: LandmarkSet, names: Sequence[str]) -> list[Finding]:
    lacking = [name for name in names if name not in landmarks.names]
    extra = [name for name in landmarks.names if name not in names]
    if not lacking and not extra:
        return []
    parts = []
    if lacking:
        parts.append(f"has no landmark named {some_names(lacking)}")
    if extra:
        parts.append(f"has {some_names(extra)}, which the other cases do not")
    advice = "Use the same names in every case; a landmark that is not there is listed without a position."
    return [Finding(ERROR, case.id, f"{case.label}: {' and '.join(parts)}. {advice}")]


def image_problems(array: np.ndarray, affine: np.ndarray) -> list[str]:
    """
    What makes an image useless, in sentences; nothing for a good one.

    Args:
        array: as :func:`auto3dlandmark.data.images.read_image` gives it.
        affine: voxel to RAS millimetres, shape (4, 4).
    """
    if array.ndim not in (3, 4) or min(array.shape[:3]) < 2:
        return [f"the image has shape {tuple(array.shape)}, not that of a 3D volume. Export a volume."]
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        return [f"the voxels are of type {array.dtype}, not one number each. Export a greyscale volume."]
    problems = []
    if not np.isfinite(affine).all() or is_singular(affine):
        problems.append(
            f"the affine {np.round(affine, 4).tolist()} is singular. Export the image with its geometry."
        )
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        problems.append(f"{count} voxels are NaN or infinite. Replace them, or export the image again.")
    for number, channel in enumerate(np.moveaxis(array, 3, 0) if array.ndim == 4 else [array]):
        if channel.min() == channel.max():
            which = f" of channel {number}" if array.ndim == 4 else ""
            problems.append(f"every voxel{which} is {channel.flat[0]}. Export the image again.")
    return problems


def _check_placement(
    case: Case, landmarks: LandmarkSet, array: np.ndarray, affine: np.ndarray
) -> tuple[list[Finding], Surroundings | None]:
    """Whether points are inside the image, and what they lie on."""
    points = landmarks.points[landmarks.present]
    names = [name for name, present in zip(landmarks.names, landmarks.present) if present]
    outside = voxels_outside(world_to_voxel(points, affine), array.shape)
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
        content = surroundings_at(world_to_voxel(points, affine), array)
    for name, voxels in zip(names, outside):
        if 0 < voxels <= NEAR_VOXELS:
            text = f"{name!r} lies {voxels:.1f} voxels outside {case.image.name}. Check its position."
            found.append(Finding(WARNING, case.id, f"{case.label}: {text}"))
    return found, content


def _frame_hint(points: np.ndarray, array: np.ndarray, affine: np.ndarray) -> str:
    """What may have happened, judged by where the points would lie with x and y negated."""
    flipped = world_to_voxel(lps_to_ras(points), affine)
    if (voxels_outside(flipped, array.shape) > NEAR_VOXELS).any():
        return "They belong to another image or frame: save them again, placed on this very image."
    content = surroundings_at(flipped, array)
    if content is None or content.empty:
        return (
            "With x and y negated they would be inside, but in empty background, so it is not LPS marked as "
            "RAS: "
            "they belong to another frame (a template, or the image before it was moved). Place them on this "
            "image."
        )
    return (
        "With x and y negated they are inside and on image content: "
        "the file is probably LPS marked as RAS, or the reverse."
    )


def _mm_outside(point: np.ndarray, affine: np.ndarray, shape: Sequence[int]) -> float:
    voxel = world_to_voxel(point, affine)
    nearest = np.clip(voxel, -0.5, np.array(shape) - 0.5)
    return float(np.linalg.norm((voxel - nearest) * voxel_spacing(affine)))
