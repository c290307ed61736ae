# SPDX-License-Identifier: Apache-2.0
"""Compare the shape of each case's landmarks with the other cases': swapped, mirrored, misplaced points,
wrong units.

Nothing here reads files or knows images; poses do not matter, as cases are turned onto each other first.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry import NORMAL_MEDIAN, fit_rotation
from ..shapes.alignment import aligned, mean_shape, misfit_mm

__all__ = ["UnusualCase", "compare_arrangements"]

FEWEST_CASES, FEWEST_LANDMARKS = 8, 4
WRONG_SIZE = 1.35  # at least so many times larger or smaller than the others,
SIZE_SPREADS = 8.0  # and by so many robust standard deviations of the sizes' logarithms
WRONG_UNIT = 5.0  # times: no voxel size in a header is so far off
RIDGE = 0.3  # of a case's typical squared deviation from the mean shape
SHRINK_CASES = 12.0  # with so few cases, deviations are taken to be alike in all directions
CORE = 0.8  # share of the cases that say what is usual
OUTLIER = 7.5  # deviations; good data reach 6.5 (hippocampus, 193 cases; mouse skulls, 24)
SWAPPED = 0.5  # another order explains the points when it leaves so small a share of the misfit
MIRRORED = 0.9  # the mirror image does, too, when nearly all other cases fit clearly worse that way


@dataclass(frozen=True)
class UnusualCase:
    """
    One case that does not look like the others.

    Args:
        case: its id.
        landmarks: the names concerned; all of them when empty.
        deviation: how unusual it is, to rank findings by.
        text: what is wrong, with the value and what is usual.
        suggestion: what would put it right.
        expected: where the landmark would lie, millimetres in the frame of the case's points.
        severe: no anatomy explains it.
    """

    case: str
    landmarks: tuple[str, ...]
    deviation: float
    text: str
    suggestion: str
    expected: tuple[float, ...] | None = None
    severe: bool = False


def compare_arrangements(points: Mapping[str, np.ndarray], names: Sequence[str]) -> list[UnusualCase]:
    """
    Findings on cases of unusual shape, the most unusual first.

    Args:
        points: millimetres by case, shape (N, 3), NaN where there is no point; two cases need no common
            frame.
        names: of the N landmarks.

    Returns:
        nothing for fewer than eight cases or four landmarks, which do not say what is usual.

    Source: leave-one-out ridge regression of each landmark on the others after rigid alignment; robust
    Mahalanobis
        distances of what is left.
    """
    enough = {case: p for case, p in points.items() if np.isfinite(p).all(axis=1).sum() >= FEWEST_LANDMARKS}
    if len(enough) < FEWEST_CASES or len(names) < FEWEST_LANDMARKS:
        return []
    cases, array = list(enough), np.array(list(enough.values()), dtype=np.float64)
    found: list[UnusualCase] = []
    sizes = _sizes(array)
    off = np.abs(np.log(np.maximum(sizes, 1e-12)))
    usual = off <= max(np.log(WRONG_SIZE), SIZE_SPREADS * 1.4826 * float(np.median(off)))
    for index in np.flatnonzero(~usual):
        text = f"the distances between its landmarks are {sizes[index]:.3g} times those of the other cases"
        unit = bool(off[index] > np.log(WRONG_UNIT))
        advice = "the units of the file" if unit else "the voxel size in the image's header"
        suggestion = f"if the images are alike in size, divide its positions by {sizes[index]:.3g}"
        rank, sentence = 1e3 * (1 + off[index]), f"{text}. Check {advice}."
        found.append(UnusualCase(cases[index], (), rank, sentence, suggestion, severe=unit))
    cases, array = [cases[index] for index in np.flatnonzero(usual)], array[usual]
    if len(cases) < FEWEST_CASES:
        return found
    mean = mean_shape(array)
    misfit = np.array([misfit_mm(shape, mean) for shape in array])
    found += _rearranged(cases, array, mean, misfit, names)
    told = {finding.case for finding in found}
    left = [index for index, case in enumerate(cases) if case not in told]
    found += _outliers([cases[index] for index in left], array[left], mean, names)
    return sorted(found, key=lambda finding: -finding.deviation)


def _sizes(array: np.ndarray) -> np.ndarray:
    """Each case's size over the usual one: the median over pairs of landmarks of distance over usual
    distance."""
    distances = np.linalg.norm(array[:, :, None] - array[:, None], axis=-1)
    first, second = np.triu_indices(array.shape[1], 1)
    pairs = distances[:, first, second]
    return np.asarray(np.nanmedian(pairs / np.maximum(np.nanmedian(pairs, axis=0), 1e-9), axis=1))


def _rearranged(
    cases: Sequence[str], array: np.ndarray, mean: np.ndarray, misfit: np.ndarray, names: Sequence[str]
) -> list[UnusualCase]:
    """Cases whose points fit the mean shape when they are mirrored, or when two of them swap their names."""
    found = []
    usual = float(np.median(misfit))
    mirrored = np.array([misfit_mm(shape * [-1, 1, 1], mean) for shape in array])
    one_handed = np.quantile(mirrored / misfit, 0.05) > 1 / MIRRORED
    for case, shape, before, mirror in zip(cases, array, misfit, mirrored):
        deviation = 100 * before / usual
        numbers = f"{before:.1f} mm from the other cases' shape, usual are {usual:.1f} mm"
        pair, after = _best_swap(shape, mean) if before > 2 * usual else ((0, 0), np.inf)
        if after < SWAPPED * before and after < mirror:
            swapped = names[pair[0]], names[pair[1]]
            better = f"{numbers}; exchanged {after:.1f} mm"
            text = f"{swapped[0]!r} and {swapped[1]!r} are probably swapped ({better})"
            suggestion = f"exchange the names {swapped[0]!r} and {swapped[1]!r}"
            found.append(UnusualCase(case, swapped, deviation, f"{text}. Check which is which.", suggestion))
        elif one_handed and mirror < MIRRORED * before:
            better = f"{numbers}; mirrored {mirror:.1f} mm"
            text = f"its landmarks form the mirror image of the other cases' ({better})"
            advice = "Left and right are probably swapped: check the names, and the frame of the file."
            suggestion = "exchange the names of left and right landmarks, or negate one axis of all points"
            found.append(UnusualCase(case, (), deviation, f"{text}. {advice}", suggestion))
    return found


def _best_swap(shape: np.ndarray, mean: np.ndarray) -> tuple[tuple[int, int], float]:
    """The two landmarks whose exchange brings a case nearest to the mean shape, and how near."""
    swaps = {}
    for first, second in itertools.combinations(range(len(mean)), 2):
        swapped = shape.copy()
        swapped[[first, second]] = shape[[second, first]]
        swaps[first, second] = misfit_mm(swapped, mean)
    return min(swaps.items(), key=lambda item: item[1])


def _outliers(
    cases: Sequence[str], array: np.ndarray, mean: np.ndarray, names: Sequence[str]
) -> list[UnusualCase]:
    """Landmarks far from where the case's other landmarks put them; of each case the worst."""
    if len(cases) < FEWEST_CASES:
        return []
    residuals = np.stack([_left_out(array, mean, landmark) for landmark in range(len(names))], axis=1)
    deviations = np.stack([_mahalanobis(residuals[:, landmark]) for landmark in range(len(names))], axis=1)
    lengths = np.linalg.norm(residuals, axis=2)
    found = []
    for row, case in enumerate(cases):
        if not np.isfinite(deviations[row]).any():
            continue
        worst = int(np.nanargmax(deviations[row]))
        if deviations[row, worst] > OUTLIER:
            usual = float(np.nanquantile(lengths[:, worst], 0.95))
            text = f"{names[worst]!r} lies {lengths[row, worst]:.1f} mm from where the other landmarks put it"
            advice = f"in 95 % of the cases it is within {usual:.1f} mm. Look at it in Slicer."
            expected = tuple(map(float, _expected(array[row], mean, worst, residuals[row, worst])))
            place = ", ".join(f"{value:.1f}" for value in expected)
            suggestion = f"move {names[worst]!r} to ({place}) mm RAS, if the image shows it there"
            deviation = float(deviations[row, worst])
            found.append(
                UnusualCase(case, (names[worst],), deviation, f"{text}; {advice}", suggestion, expected)
            )
    return found


def _expected(shape: np.ndarray, mean: np.ndarray, landmark: int, offset: np.ndarray) -> np.ndarray:
    """Where a landmark would lie without its offset, which is in the frame of the mean shape."""
    shared = (np.arange(len(mean)) != landmark) & np.isfinite(shape).all(axis=1)
    return np.asarray(shape[landmark] - offset @ fit_rotation(shape[shared], mean[shared]))


def _left_out(array: np.ndarray, mean: np.ndarray, landmark: int) -> np.ndarray:
    """Each case's offset of a landmark from its prediction by the case's other landmarks and the other
    cases."""
    use = np.arange(len(mean)) != landmark
    turned = np.array([aligned(shape, mean, use) for shape in array])
    middle = np.nanmedian(turned, axis=0)
    deviation = turned - np.where(np.isfinite(middle), middle, mean)
    has = np.isfinite(deviation[:, landmark]).all(axis=1)
    offset = np.full((len(array), 3), np.nan)
    if has.sum() < FEWEST_CASES:
        return offset
    others = np.nan_to_num(deviation[has][:, use]).reshape(has.sum(), -1)
    kernel = others @ others.T
    damping = max(RIDGE * float(np.median(np.diag(kernel))), 1e-12)
    hat = kernel @ np.linalg.inv(kernel + damping * np.eye(len(kernel)))
    wanted = deviation[has, landmark]
    offset[has] = (wanted - hat @ wanted) / (1 - np.diag(hat))[:, None]
    return offset


def _mahalanobis(offsets: np.ndarray) -> np.ndarray:
    """Robust distance of each offset from the middle of the core; NaN where there is no offset."""
    has = np.isfinite(offsets).all(axis=1)
    distances = np.full(len(offsets), np.nan)
    if has.sum() < FEWEST_CASES:
        return distances
    centred = offsets[has] - np.median(offsets[has], axis=0)
    found = np.linalg.norm(centred, axis=1)
    shrink = min(1.0, SHRINK_CASES / len(centred))
    for _ in range(3):
        core = centred[found <= np.quantile(found, CORE)]
        covariance = core.T @ core / len(core)
        even = np.trace(covariance) / 3
        covariance = (1 - shrink) * covariance + (shrink * even + 1e-12) * np.eye(3)
        found = np.sqrt(np.einsum("ci,ij,cj->c", centred, np.linalg.inv(covariance), centred))
    distances[has] = found / max(float(np.median(found)), 1e-12) * NORMAL_MEDIAN
    return distances
