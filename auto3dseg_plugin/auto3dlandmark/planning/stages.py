# SPDX-License-Identifier: Apache-2.0
"""One network or two: whether a first one should find the pose, so that a second one sees nothing but the
landmarks' surroundings, upright and in detail.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import LandmarkError
from ..frames.shape_frame import ShapeFrame, box_around, flatness, frame_around
from ..geometry import voxel_spacing, voxel_to_world
from ..shapes.hypotheses import level_move
from ..shapes.model import ShapeModel
from .fingerprint import Fingerprint
from .plan import Plan
from .planner import ARBITRARY_POSES_DEG, make_plan, resolution_note

__all__ = ["frame_of", "plan_stages"]

FEWEST_LANDMARKS, LEAST_FLATNESS = 4, 0.05  # to say how something is turned
SMALL_PART = 0.25  # of the image, that the landmarks take
FINER = 1.25  # times finer voxels in the landmarks' frame than in the whole image
COARSE_NETWORK, COARSE_GB = "folded", 4.0  # half the voxels of one stage: a pose needs no details
COARSE_DEG, COARSE_TURNED = 30.0, 0.7  # turns that a first stage learns from: how an image lies says nothing
POSE_DEG, TURNED = 8.0, 0.7  # what a second stage is trained to forgive: turns, and how often
POSE_SHIFT = 0.025  # and shifts, of the frame's longest side
ALIKE_DEG = 30.0  # 95 % of pairs of cases are turned by less where a frame's axes are those of images
MOST_UNEVEN = 3.0  # times longer than short a voxel becomes where images change little along an axis
NOISE_VOXELS = 0.7  # of the coarse stage: standard deviation of a right peak along an axis


def plan_stages(
    fingerprint: Fingerprint,
    network: str = "plain",
    gpu_memory_gb: float | None = None,
    network_def: Mapping[str, Any] | None = None,
    fit_memory: bool = False,
    stages: int | None = None,
) -> Plan:
    """
    Plan one network for the whole image, or two: the plan of the second then holds that of the first.

    Args:
        fingerprint: of the training cases.
        network, gpu_memory_gb, network_def, fit_memory: as for :func:`make_plan`; of two stages, of the
            second.
        stages: 1 or 2; left out, what the data asks for.

    Raises:
        LandmarkError: as for :func:`make_plan`, or when two stages are asked for and the landmarks do not say
            how they are turned.
    """
    options: dict[str, Any] = {"network_def": network_def, "fit_memory": fit_memory}
    one = make_plan(fingerprint, network, gpu_memory_gb, **options)
    if stages == 1 or fingerprint.shape is None:
        return one
    model = ShapeModel.from_json(fingerprint.shape, "fingerprint.json")
    unable = _unable(model)
    if unable is not None:
        if stages == 2:
            raise LandmarkError(f"stages=2 cannot be planned: {unable}. Leave it out.")
        return _noted(one, f"One stage: {unable}, so no pose could be handed on.")
    fine = _fine_plan(fingerprint, model, one, network, gpu_memory_gb, options)
    reason = "as asked" if stages == 2 else _reason(fingerprint, model, one, fine)
    if reason is None:
        return _noted(
            one,
            "One stage is enough: images lie alike, and a second stage would see no finer.",
        )
    coarse = make_plan(fingerprint, COARSE_NETWORK, COARSE_GB, sees=1.0)
    coarse = dataclasses.replace(
        coarse,
        rotation_deg=max(coarse.rotation_deg, COARSE_DEG),
        rotation_prob=max(coarse.rotation_prob, COARSE_TURNED),
    )
    note = (
        f"Two stages, {reason}: the first finds the pose in the whole image with voxels of "
        f"{_by(coarse.spacing)} mm, the second the landmarks in their own frame with voxels of "
        f"{_by(fine.spacing)} mm."
    )
    return dataclasses.replace(_noted(fine, note), coarse=_without_resolution_note(coarse))


def frame_of(plan: Plan, model: ShapeModel) -> ShapeFrame:
    """
    Where the second stage of a plan looks.

    Args:
        plan: of two stages.
        model: of the training landmarks.
    """
    assert plan.frame is not None and plan.coarse is not None
    noise_mm = NOISE_VOXELS * float(np.prod(plan.coarse.spacing) ** (1 / 3))
    return frame_around(model, plan.spacing, plan.frame["shape"], noise_mm)


def room_around(frame: Mapping[str, Any], spacing: Sequence[float] | np.ndarray) -> list[int]:
    """
    Voxels at each side of a frame that training images show beyond it, along each axis.

    Args:
        frame: of a plan.
        spacing: of its voxels, millimetres, shape (3,).
    """
    half_mm = np.array(frame["shape"]) * spacing / 2
    turn = Rotation.from_rotvec(frame.get("level_turn_deg", (0.0, 0.0, 0.0)), degrees=True).as_matrix()
    level = np.abs(frame.get("level", (0.0, 0.0, 0.0))) + (np.abs(turn) @ half_mm - half_mm) / spacing
    room = np.broadcast_to(frame["room"], 3) + np.ceil(np.round(np.maximum(level, 0), 6))
    return [int(voxels) for voxels in room]


def _level(move: np.ndarray, frame: ShapeFrame) -> dict[str, list[float]]:
    """A rigid move of a shape as one of its frame: of its centre in voxels, and about its own axes."""
    grid = frame.affine
    centre = voxel_to_world((np.array(frame.shape) - 1) / 2, grid)
    shift = np.linalg.solve(grid[:3, :3], voxel_to_world(centre, move) - centre)
    axes = grid[:3, :3] / voxel_spacing(grid)
    turn = Rotation.from_matrix(axes.T @ move[:3, :3] @ axes).as_rotvec(degrees=True)
    return {"level": np.round(shift, 2).tolist(), "level_turn_deg": np.round(turn, 2).tolist()}


def _unable(model: ShapeModel) -> str | None:
    """Why the landmarks do not say how they are turned."""
    if len(model.names) < FEWEST_LANDMARKS:
        return f"there are fewer than {FEWEST_LANDMARKS} landmarks"
    if flatness(model) < LEAST_FLATNESS:
        return "all landmarks lie on one line"
    return None


def _fine_plan(
    fingerprint: Fingerprint,
    model: ShapeModel,
    one: Plan,
    network: str,
    gpu_memory_gb: float | None,
    options: Mapping[str, Any],
) -> Plan:
    """The plan of a network that sees images in the frame of the shape, planned as if they were all."""
    axes, _, size_mm = box_around(model)
    voxel = np.full(3, np.prod(one.original_spacing) ** (1 / 3))
    fine = make_plan(_framed(fingerprint, size_mm, voxel), network, gpu_memory_gb, sees=1.0, **options)
    coarser = float(np.prod(fine.spacing) / np.prod(voxel))
    if coarser > 1 and _lie_alike(fingerprint):
        # Rather than to make all axes coarser by the same.
        framed = _framed(fingerprint, size_mm, voxel * _uneven(fingerprint, axes, coarser))
        fine = make_plan(framed, network, gpu_memory_gb, sees=1.0, **options)
    needed = np.ceil(size_mm / np.array(fine.spacing))
    covered = bool((np.array(fine.patch_size) >= 0.9 * needed).all())
    shape = fine.patch_size if covered else tuple(int(length) for length in needed)
    spacing = np.array(fine.spacing)
    room = np.ceil(np.round(POSE_SHIFT * (spacing * shape).max() / spacing, 6)).astype(int)
    frame: dict[str, Any] = {"shape": list(shape), "room": room.tolist()}
    move = level_move(model.names, model.mean)
    if covered and move is not None:  # else patches lie anywhere in the frame
        frame |= _level(move, frame_around(model, fine.spacing, shape, 0.0))
    kept = np.array(shape) + 2 * np.array(room_around(frame, spacing))
    return dataclasses.replace(
        _without_resolution_note(fine),
        cached_gb=round(len(fingerprint.cases) * float(kept.prod()) * 4 * len(fine.modalities) / 1e9, 3),
        original_spacing=one.original_spacing,
        antialias=False,  # framing smooths
        roi_size=fine.patch_size,
        divisor=None,
        median_shape=tuple(float(length) for length in shape),
        rotation_deg=POSE_DEG,
        rotation_prob=TURNED,
        thick_axis=None,
        frame=frame,
    )


def _framed(fingerprint: Fingerprint, size_mm: np.ndarray, voxel: np.ndarray) -> Fingerprint:
    """That of the training cases if their images were the frame."""
    shape = tuple(int(length) for length in np.ceil(size_mm / voxel))
    cases = len(fingerprint.cases)
    return dataclasses.replace(
        fingerprint,
        shapes=(shape,) * cases,
        shapes_after_crop=(shape,) * cases,
        spacings=(tuple(voxel.tolist()),) * cases,
        median_relative_size_after_crop=1.0,
    )


def _lie_alike(fingerprint: Fingerprint) -> bool:
    """Whether the axes of a frame are about those of every image."""
    angles = fingerprint.pose_angles_deg
    return angles is not None and angles["p95"] <= ALIKE_DEG


def _uneven(fingerprint: Fingerprint, axes: np.ndarray, coarser: float) -> np.ndarray:
    """
    How many times longer to make a voxel along each axis of a frame, in all at most ``coarser``: where images
    change little, little is lost.
    """
    gradient = np.sqrt(np.square(fingerprint.gradient) @ np.square(axes))
    ratio = np.minimum(gradient.max() / np.maximum(gradient, 1e-6), MOST_UNEVEN)
    total = float(np.prod(ratio))
    return np.asarray(ratio ** min(1.0, math.log(coarser) / math.log(total)) if total > 1 else ratio)


def _reason(fingerprint: Fingerprint, model: ShapeModel, one: Plan, fine: Plan) -> str | None:
    """Why two stages; None when one is enough."""
    angles = fingerprint.pose_angles_deg
    if angles is not None and angles["p95"] > ARBITRARY_POSES_DEG:
        return "because poses vary"
    image_mm3 = float(np.prod(one.median_shape) * np.prod(one.spacing))
    part = float(np.prod(box_around(model)[2])) / image_mm3
    sees_all = np.prod(one.patch_size) >= 0.75 * np.prod(one.median_shape)
    finer = float(np.prod(np.array(one.spacing) / np.array(fine.spacing)) ** (1 / 3))
    if finer >= FINER or (part < SMALL_PART and not sees_all):
        return f"because the landmarks take {100 * part:.0f} % of the image"
    return None


def _noted(plan: Plan, note: str) -> Plan:
    return dataclasses.replace(plan, notes=(note, *plan.notes))


def _without_resolution_note(plan: Plan) -> Plan:
    """What is said of resolution is said of both stages together."""
    said = resolution_note(plan.original_spacing, plan.spacing)
    return dataclasses.replace(plan, notes=tuple(note for note in plan.notes if note != said))


def _by(spacing: tuple[float, ...]) -> str:
    values = [f"{value:.3g}" for value in spacing]
    return values[0] if len(set(values)) == 1 else " x ".join(values)
