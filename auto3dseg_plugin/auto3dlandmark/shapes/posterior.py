# SPDX-License-Identifier: Apache-2.0
"""Where the landmarks of a case are, given what was found of each and how shapes are: all decide together.

A landmark's peak that does not fit the others has little weight, and its place comes from theirs. Nothing
found is thrown away: the peaks stay beside the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry import fit_rotation, rigid
from .hypotheses import Hypothesis, hypotheses_for
from .model import ShapeModel
from .peaks import Peaks

__all__ = ["ShapeFit", "ShapePosterior", "shape_posterior"]

ROUNDS = 10
TRIPLES = 60  # poses that are tried, each from three landmarks
REFINED = 2  # of each hypothesis so many of the best poses go through all rounds
FREEDOM = 3.0  # degrees of freedom of Student's t: a far peak counts little, and never nothing
TAIL = 1.7  # widths at which a peak counts half
LEAST_WEIGHT = 1e-3
UNFOUND = 0.02  # the mass below which a landmark says next to nothing about the others
STRAY = 0.05  # the chance that a peak is anywhere
DENSITY = 2.0 / (np.sqrt(np.pi) / 2 * (FREEDOM * np.pi) ** 1.5)  # of a t with 3 degrees in 3D, at its middle
POSE_TURN, POSE_SHIFT_MM = 1.0, 1e3  # what is known of a pose before it is seen: next to nothing


@dataclass(frozen=True)
class ShapeFit:
    """
    One way to lay a shape on what was found.

    Args:
        points: RAS millimetres, shape (N, 3).
        pose: from the model's frame to the image's millimetres, shape (4, 4).
        misfit: how badly peaks and shape go together: minus the log evidence of a landmark, in nats.
        seen_misfit: the same of what can be seen: a landmark that would lie outside the image and was not
            found says nothing, and what was found and belongs to no landmark counts as one that is nowhere.
    """

    points: np.ndarray
    pose: np.ndarray
    misfit: float
    seen_misfit: float


@dataclass(frozen=True)
class ShapePosterior(ShapeFit):
    """
    The landmarks of one case.

    Args:
        covariance: of each point, mm², shape (N, 3, 3).
        near_mass: the mass of those peaks of each landmark that lie where it is, shape (N,).
        distance: of each landmark's first peak from its point, in widths of its noise, shape (N,).
        hypothesis: what the network did, in words.
        others: what further poses came to.
    """

    covariance: np.ndarray
    near_mass: np.ndarray
    distance: np.ndarray
    hypothesis: str
    others: tuple[ShapeFit, ...] = ()

    @property
    def deviation_mm(self) -> np.ndarray:
        """Standard deviation of each point along an axis, shape (N,)."""
        return np.asarray(np.sqrt(np.trace(self.covariance, axis1=1, axis2=2) / 3))


@dataclass
class _Fits:
    """Several poses and shapes for the same case, side by side: S of them."""

    rotation: np.ndarray  # (S, 3, 3), from the model's frame to the image's
    shift: np.ndarray  # (S, 3)
    shape: np.ndarray  # (S, N, 3) in the model's frame
    evidence: np.ndarray | None = None  # (S,)
    of_each: np.ndarray | None = None  # (S, N)
    weights: np.ndarray | None = None  # (S, N)

    @property
    def points(self) -> np.ndarray:
        return np.asarray(self.shape @ np.swapaxes(self.rotation, -1, -2) + self.shift[:, None])


def shape_posterior(
    model: ShapeModel,
    peaks: Peaks,
    noise_mm: np.ndarray,
    hypotheses: Sequence[Hypothesis] | None = None,
    refined: int = REFINED,
) -> ShapePosterior:
    """
    The likeliest points of a case.

    Args:
        noise_mm: standard deviation of a right peak along each axis, shape (N,).
        hypotheses: what the network may have done; left out, what the names suggest.
        refined: how many of the best first poses of each are followed to their end.

    Source: expectation-maximisation of a Gaussian shape in a rigid pose under Student-t noise, from several
        poses through three landmarks each (as RANSAC) and several hypotheses; the likeliest wins.
    """
    tried = hypotheses_for(model.names) if hypotheses is None else hypotheses
    best: tuple[float, Hypothesis, _Fits, int, np.ndarray, np.ndarray] | None = None
    for hypothesis in tried:
        positions, masses = _evidence(peaks, hypothesis)
        fits = _refine(
            model, positions, masses, noise_mm, _starts(model, positions, masses, noise_mm, refined)
        )
        assert fits.evidence is not None
        row = int(np.argmax(fits.evidence))
        likelihood = float(fits.evidence[row]) + float(np.log(hypothesis.chance))
        if best is None or likelihood > best[0]:
            best = likelihood, hypothesis, fits, row, positions, masses
    assert best is not None
    _, hypothesis, fits, row, positions, masses = best
    assert fits.weights is not None
    ways = [_fit(model, peaks, noise_mm, fits, index, hypothesis) for index in range(len(fits.shift))]
    chosen = ways.pop(row)
    distances = np.linalg.norm(positions - chosen.points[:, None], axis=2)
    reach = 3.0 * np.sqrt(noise_mm**2 + model.spread_mm**2)[:, None]
    found = np.isfinite(distances)
    return ShapePosterior(
        **vars(chosen),
        covariance=_covariance(model, fits.rotation[row], fits.shape[row], noise_mm, fits.weights[row]),
        near_mass=np.where(found & (distances <= reach), masses, 0.0).sum(axis=1).clip(0, 1),
        distance=np.where(found[:, 0], distances[:, 0] / noise_mm, np.inf),
        hypothesis=hypothesis.name,
        others=tuple(ways),
    )


def _fit(
    model: ShapeModel, peaks: Peaks, noise_mm: np.ndarray, fits: _Fits, row: int, hypothesis: Hypothesis
) -> ShapeFit:
    """One of several fits by itself."""
    assert fits.evidence is not None and fits.of_each is not None
    points, of_each = fits.points[row], fits.of_each[row]
    evidence = float(fits.evidence[row]) + float(np.log(hypothesis.chance))
    mass = peaks.masses[:, 0]
    found = np.where(hypothesis.source < 0, 0.0, mass[hypothesis.source])
    counted = np.where(peaks.inside_mm(points) > 0, 1.0, found)
    strays = float(mass[np.setdiff1d(np.arange(len(mass)), hypothesis.source)].sum())
    seen = evidence - float(((1 - counted) * of_each).sum()) + strays * _stray(model, noise_mm)
    count = float(counted.sum() + strays)
    return ShapeFit(
        points,
        rigid(fits.rotation[row], fits.shift[row]),
        -evidence / max(1, len(points)),
        -seen / count if count else float("inf"),
    )


def _stray(model: ShapeModel, noise_mm: np.ndarray) -> float:
    """The log density, per mm³, of a peak that may be anywhere."""
    return float(np.log(STRAY / (4 / 3 * np.pi * (3 * max(model.size_mm, noise_mm.max())) ** 3)))


def _evidence(peaks: Peaks, hypothesis: Hypothesis) -> tuple[np.ndarray, np.ndarray]:
    """Positions and masses of the peaks that belong to each landmark; far away and without mass where none
    do."""
    lost = hypothesis.source < 0
    positions, masses = peaks.positions[hypothesis.source].copy(), peaks.masses[hypothesis.source].copy()
    masses[lost] = 0.0
    masses[~np.isfinite(positions).all(axis=2)] = 0.0
    positions[lost] = np.nan
    return positions, masses


def _starts(
    model: ShapeModel, positions: np.ndarray, masses: np.ndarray, noise_mm: np.ndarray, refined: int
) -> _Fits:
    """The poses that bring most landmarks of the mean shape near a peak: from all first peaks, and from
    triples."""
    known = np.flatnonzero(masses[:, 0] > 0)
    if not len(known):
        return _Fits(np.eye(3)[None], np.zeros((1, 3)), model.mean[None])
    weight = np.maximum(masses[known, 0], LEAST_WEIGHT)
    rotations, shifts = _pose(model.mean[known][None], positions[known, 0][None], weight[None])
    if len(known) > 3:
        random = np.random.default_rng(0)
        share = np.sqrt(weight)
        keys = random.random((TRIPLES, len(known))) ** (1 / share)  # weighted draws without replacement
        triples = known[np.argpartition(-keys, 3, axis=1)[:, :3]]
        turned, moved = _pose(model.mean[triples], positions[triples, 0], np.ones((TRIPLES, 3)))
        rotations, shifts = np.concatenate([rotations, turned]), np.concatenate([shifts, moved])
    places = model.mean @ np.swapaxes(rotations, -1, -2) + shifts[:, None]
    width = np.sqrt(noise_mm**2 + model.variance() / 3)[:, None]
    near = _kernel(positions, places, width)
    scores = np.log((masses * near).sum(axis=2) + STRAY).sum(axis=1)
    best = np.argsort(-scores, kind="stable")[:refined]
    return _Fits(rotations[best], shifts[best], np.repeat(model.mean[None], len(best), axis=0))


def _pose(shape: np.ndarray, points: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (S, 3, 3) and shifts (S, 3) from the model's frame to the image's."""
    rotation = fit_rotation(shape, points, weights)
    share = (weights / weights.sum(axis=-1, keepdims=True))[..., None]
    middle = (share * shape).sum(axis=-2)
    return rotation, (share * points).sum(axis=-2) - (middle[:, None] @ np.swapaxes(rotation, -1, -2))[:, 0]


def _kernel(positions: np.ndarray, places: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Student-t closeness of peaks (N, P, 3) to places (S, N, 3), 1 when they agree, shape (S, N, P)."""
    squares = ((np.nan_to_num(positions) - places[:, :, None]) ** 2).sum(axis=-1) / width**2
    return np.asarray((1 + squares / FREEDOM) ** -((FREEDOM + 3) / 2))


def _refine(
    model: ShapeModel, positions: np.ndarray, masses: np.ndarray, noise_mm: np.ndarray, fits: _Fits
) -> _Fits:
    """Pose, shape and weights in turn, from wide to narrow."""
    modes = model.modes.reshape(len(model.names) * 3, -1)
    rest = model.spread_mm**2
    places = np.nan_to_num(positions)
    wide = np.sqrt(model.variance() / 3)
    trust = masses.max(axis=1) / (masses.max(axis=1) + UNFOUND)
    coefficients = np.zeros((len(fits.shift), modes.shape[1]))
    left = np.zeros_like(fits.shape)
    for round_ in range(ROUNDS):
        narrowing = max(0.0, 1 - round_ / (0.6 * ROUNDS))
        width = TAIL * np.sqrt(noise_mm**2 + (narrowing * wide) ** 2)[:, None]
        near = _kernel(positions, fits.points, width)
        share = masses * near + 1e-12
        share /= share.sum(axis=2, keepdims=True)
        squares = ((places - fits.points[:, :, None]) ** 2).sum(axis=-1) / width**2
        parts = share * np.maximum((FREEDOM + 1) / (FREEDOM + squares), LEAST_WEIGHT)
        weights = parts.sum(axis=2) * trust + 1e-9
        target = (parts[..., None] * places).sum(axis=2) / parts.sum(axis=2)[..., None]
        fits.rotation, fits.shift = _pose(fits.shape, target, weights / noise_mm**2)
        offsets = (target - fits.shift[:, None]) @ fits.rotation - model.mean
        noise = np.repeat(noise_mm**2 / weights, 3, axis=1)  # (S, 3N)
        precision = 1 / (rest + noise)
        flat = offsets.reshape(len(offsets), -1)
        gram = np.eye(modes.shape[1]) + np.einsum("sn,nk,nl->skl", precision, modes, modes, optimize=True)
        coefficients = np.linalg.solve(gram, ((precision * flat) @ modes)[..., None])[..., 0]
        left = rest * precision * (flat - coefficients @ modes.T)
        fits.shape = model.mean + (coefficients @ modes.T + left).reshape(fits.shape.shape)
    width = TAIL * noise_mm[:, None]
    density = (masses * _kernel(positions, fits.points, width)).sum(axis=2) * DENSITY / width[:, 0] ** 3
    fits.of_each = np.log(density + np.exp(_stray(model, noise_mm)))
    fits.evidence = fits.of_each.sum(axis=1) - 0.5 * (coefficients**2).sum(axis=1)
    fits.evidence = fits.evidence - 0.5 * (left**2).sum(axis=(1, 2) if left.ndim == 3 else 1) / rest
    fits.weights = weights
    return fits


def _covariance(
    model: ShapeModel, rotation: np.ndarray, shape: np.ndarray, noise_mm: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """What evidence, shape and pose leave open of each point, in the image's frame: mm², shape (N, 3, 3)."""
    count = len(shape)
    modes = model.modes.reshape(count * 3, -1)
    prior = modes @ modes.T + model.spread_mm**2 * np.eye(3 * count)
    arm = shape - shape.mean(axis=0)
    turn = np.zeros((count, 3, 3))  # what a small turn about each axis does to each point
    turn[:, 0, 1], turn[:, 0, 2] = arm[:, 2], -arm[:, 1]
    turn[:, 1, 0], turn[:, 1, 2] = -arm[:, 2], arm[:, 0]
    turn[:, 2, 0], turn[:, 2, 1] = arm[:, 1], -arm[:, 0]
    move = np.tile(np.eye(3), (count, 1)) * POSE_SHIFT_MM
    free = np.hstack([turn.reshape(3 * count, 3) * POSE_TURN, move])
    prior += free @ free.T
    gain = np.linalg.solve(prior + np.diag(np.repeat(noise_mm**2 / weights, 3)), prior)
    left = prior - prior @ gain
    blocks = np.stack([left[3 * row : 3 * row + 3, 3 * row : 3 * row + 3] for row in range(count)])
    blocks = (blocks + np.swapaxes(blocks, 1, 2)) / 2
    return np.asarray(rotation @ blocks @ rotation.T)
