# SPDX-License-Identifier: Apache-2.0
"""A generated dataset with exactly known landmarks: an odd object in a textured volume, in any pose.

Every case shows the same object, deformed, turned by up to 20 degrees and scanned on an oblique grid of
uneven voxels, among look-alike blobs. In one case a part, and so its landmark, is absent.
"""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from ..files import atomic_folder
from ..formats import write_landmarks
from ..geometry import voxel_to_world
from ..landmarks import ABSENT, PRESENT, LandmarkSet

__all__ = ["DEMO_NAMES", "make_demo_dataset"]

# Where the parts sit in the object, in millimetres from its middle. No two share a neighbourhood.
ANCHORS = {
    "rod_tip": (0.0, 24.0, 9.0),
    "ring_centre": (-13.0, -8.0, 6.0),
    "bead_left": (-15.0, 11.0, -5.0),
    "bead_right": (15.0, 8.0, -3.0),
    "v_corner": (6.0, -17.0, -7.0),
}
DEMO_NAMES = tuple(ANCHORS)
MAY_BE_ABSENT = "bead_right"
SHAPE = (54, 54, 34)
EDGE_MM = 0.8  # how soft the borders of the parts are


def make_demo_dataset(folder: str | os.PathLike, cases: int = 25, seed: int = 0) -> Path:
    """
    Write ``images/demo_NN.nii.gz`` and ``landmarks/demo_NN.mrk.json``; a folder that is there is kept.

    Args:
        folder: the dataset folder.
        cases: how many; the second one lacks a landmark.
        seed: the same seed gives the same dataset.

    Returns:
        the folder.

    Raises:
        LandmarkError: when the folder cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        return folder
    with atomic_folder(folder) as unfinished:
        for part in ("images", "landmarks"):
            (unfinished / part).mkdir()
        for number in range(cases):
            volume, affine, landmarks = make_demo_case(
                np.random.default_rng([seed, number]), absent=number == 1
            )
            image = nib.Nifti1Image(volume, affine)
            image.header.set_xyzt_units("mm")
            nib.save(image, unfinished / "images" / f"demo_{number:02d}.nii.gz")
            write_landmarks(unfinished / "landmarks" / f"demo_{number:02d}.mrk.json", landmarks)
    return folder


def make_demo_case(
    random: np.random.Generator, absent: bool = False
) -> tuple[np.ndarray, np.ndarray, LandmarkSet]:
    """
    One case.

    Args:
        random: source of all that varies.
        absent: leave out the part named by ``MAY_BE_ABSENT``.

    Returns:
        volume: int16, shape SHAPE.
        affine: voxel to RAS millimetres, oblique and with voxels that are not cubes, shape (4, 4).
        landmarks: exact positions, RAS millimetres.
    """
    affine = _scan_affine(random)
    centre = voxel_to_world((np.array(SHAPE) - 1) / 2, affine) + random.uniform(-4, 4, size=3)
    pose = _turn(random.uniform(-20, 20, size=3)) * random.uniform(0.92, 1.08)
    anchors = {name: np.array(place) + random.normal(0, 1.2, size=3) for name, place in ANCHORS.items()}
    grid = np.stack(np.meshgrid(*[np.arange(size) for size in SHAPE], indexing="ij"), axis=-1)
    object_points = (voxel_to_world(grid, affine) - centre) @ np.linalg.inv(pose).T
    volume = _texture(random) + _object(object_points, anchors, absent, random)
    volume = volume * random.uniform(60, 140) + random.uniform(100, 300)
    points = np.array([pose @ anchors[name] + centre for name in DEMO_NAMES])
    status = np.full(len(DEMO_NAMES), PRESENT)
    if absent:
        row = DEMO_NAMES.index(MAY_BE_ABSENT)
        points[row], status[row] = np.nan, ABSENT
    return np.round(volume).astype(np.int16), affine, LandmarkSet(DEMO_NAMES, points, status)


def _scan_affine(random: np.random.Generator) -> np.ndarray:
    """An oblique grid with thick slices and, now and then, reversed axes."""
    spacing = np.append(np.full(2, random.uniform(1.25, 1.45)), random.uniform(1.9, 2.1))
    axes = _turn(random.uniform(-12, 12, size=3)) @ np.diag(random.choice([-1.0, 1.0], size=3))
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = random.uniform(-80, 80, size=3)
    return affine


def _turn(angles_deg: np.ndarray) -> np.ndarray:
    """Rotations about x, then y, then z."""
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians(angles_deg)):
        first, second = [other for other in range(3) if other != axis]
        step = np.eye(3)
        step[first, first] = step[second, second] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        rotation = step @ rotation
    return rotation


def _texture(random: np.random.Generator) -> np.ndarray:
    """Noise at three scales, about 0.4 in height."""
    total = np.zeros(SHAPE)
    for sigma, height in ((0.0, 0.15), (1.5, 0.25), (5.0, 0.3)):
        noise = ndimage.gaussian_filter(random.normal(size=SHAPE), sigma)
        total += height * noise / noise.std()
    return total


def _object(
    points: np.ndarray, anchors: dict[str, np.ndarray], absent: bool, random: np.random.Generator
) -> np.ndarray:
    """Brightness of the object and of look-alike blobs around it, at points in its own millimetres."""
    volume = 1.0 * _filled(np.linalg.norm(points / np.array([21.0, 26.0, 15.0]), axis=-1) * 18 - 18)
    volume += 1.6 * _filled(_to_segment(points, np.array([0.0, 6.0, 2.0]), anchors["rod_tip"]) - 2.2)
    ring = points - anchors["ring_centre"]
    volume += 1.6 * _filled(np.hypot(np.hypot(ring[..., 0], ring[..., 1]) - 5.0, ring[..., 2]) - 1.8)
    volume += 1.8 * _filled(np.linalg.norm(points - anchors["bead_left"], axis=-1) - 3.5)
    if not absent:
        volume += 1.8 * _filled(np.linalg.norm(points - anchors["bead_right"], axis=-1) - 3.0)
    for arm in ((9.0, 6.0, 3.0), (-8.0, 5.0, -2.0)):
        volume += 1.4 * _filled(
            _to_segment(points, anchors["v_corner"], anchors["v_corner"] + np.array(arm)) - 1.7
        )
    for _ in range(6):
        direction = random.normal(size=3)
        place = direction / np.linalg.norm(direction) * random.uniform(32, 40)
        volume += random.uniform(1.2, 1.8) * _filled(
            np.linalg.norm(points - place, axis=-1) - random.uniform(2.5, 4.0)
        )
    return volume


def _filled(signed_distance_mm: np.ndarray) -> np.ndarray:
    """1 inside, 0 outside, with a soft border."""
    return 1 / (1 + np.exp(np.clip(signed_distance_mm / EDGE_MM, -30, 30)))


def _to_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance of points to a line segment."""
    along = end - start
    share = np.clip((points - start) @ along / (along @ along), 0, 1)
    return np.asarray(np.linalg.norm(points - start - share[..., None] * along, axis=-1))
