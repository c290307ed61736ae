# SPDX-License-Identifier: Apache-2.0
"""The highest places of heatmaps that are never there as a whole: logits come part by part, and only what is
around high places is kept.

It finds what :func:`auto3dlandmark.transforms.decode.decode_peaks` finds in the whole heatmaps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import LandmarkError
from ..transforms.decode import LEAST_PEAK, MOST_PEAKS, centroid, cube_reach

__all__ = ["BLOCK", "MOST_BLOCKS", "PeakStream"]

BLOCK = 8  # voxels a side of what is kept or forgotten as one
MOST_FETCHED = 512  # blocks that are copied at once
MOST_BLOCKS = 384  # of a channel: as many as the cubes of all its peaks can touch, up to a radius of 5


@dataclass
class _Place:
    """A block whose highest voxel may be a peak, with what lies around it."""

    highest: np.ndarray  # of each network, shape (M,)
    corner: tuple[int, ...]  # of the block in the volume
    start: tuple[int, ...]  # of the values in the volume
    values: torch.Tensor  # logits of each network, shape (M, h, w, d)


class PeakStream:
    """
    Reduce the logits of some channels to their highest places.

    Args:
        channels: N.
        shape: of the volume, (H, W, D): its rows, its columns, and how deep it is.
        activation: ``softmax`` or ``sigmoid``, as for :func:`auto3dlandmark.transforms.decode.activate`.
        radius: half width of the cube around a place that its mass and its middle are taken from, in voxels.
        networks: M, whose heatmaps are averaged.
        most_blocks: that are kept of a channel for each network; fewer take less memory, and may miss the
            last peaks of a heatmap that is high in many places.
        of: how many heatmaps will be averaged in all, with those of other streams; left out, ``networks``.
    """

    def __init__(
        self,
        channels: int,
        shape: Sequence[int],
        activation: str,
        radius: int,
        networks: int = 1,
        most_blocks: int = MOST_BLOCKS,
        of: int | None = None,
    ) -> None:
        self.shape = tuple(int(size) for size in shape)
        self.activation, self.radius, self.networks = activation, radius, networks
        self.most_blocks, self.of = most_blocks, of or networks
        self.sums = torch.full((networks, channels), -torch.inf)
        self.highest = torch.full((networks, channels), -torch.inf)
        self.places: list[dict[tuple[int, ...], _Place]] = [{} for _ in range(channels)]

    def add(self, logits: torch.Tensor, first: tuple[int, int], own: tuple[range, range]) -> None:
        """
        Take a part of all rows and columns.

        Args:
            logits: shape (M, N, rows, columns, D): of ``radius`` more than those that are to be taken, at all
                sides, where the volume has them.
            first: their first row and column.
            own: the rows and the columns to take; they start at multiples of ``BLOCK``, and all but the last
                are multiples of it.
        """
        inner = tuple(slice(part.start - at, part.stop - at) for part, at in zip(own, first))
        values = logits[(slice(None), slice(None), *inner)]
        self.sums = torch.logaddexp(self.sums, values.flatten(2).logsumexp(dim=2).cpu())
        maxima = torch.stack([_block_maxima(one) for one in values]).cpu()  # (M, N, blocks along each axis)
        blocks = maxima.float().flatten(2)
        self.highest = torch.maximum(self.highest, blocks.amax(dim=2))
        least, found = self._least().numpy(), list[tuple[int, int]]()
        for channel, kept in enumerate(self.places):
            corners = list(kept)
            known = np.array([kept[corner].highest for corner in corners], np.float32)
            here = np.concatenate([known.reshape(-1, self.networks).T, blocks[:, channel].numpy()], axis=1)
            wanted = _wanted(here, least[:, channel], self.most_blocks)
            self.places[channel] = {corners[at]: kept[corners[at]] for at in wanted if at < len(corners)}
            found += [(channel, at - len(corners)) for at in wanted if at >= len(corners)]
        for begin in range(0, len(found), MOST_FETCHED):
            some = np.array(found[begin : begin + MOST_FETCHED])
            begins = np.stack(np.unravel_index(some[:, 1], maxima.shape[2:]), axis=1) * BLOCK
            begins += np.array([own[0].start, own[1].start, 0])
            highest = blocks[:, some[:, 0], some[:, 1]].numpy().T
            self._fetch(logits, some[:, 0], begins, highest, first)

    def _fetch(
        self,
        logits: torch.Tensor,
        channels: np.ndarray,
        corners: np.ndarray,
        highest: np.ndarray,
        first: tuple[int, int],
    ) -> None:
        """Keep blocks of these channels, with what lies around them: from a GPU, all at once."""
        around = np.arange(-self.radius, BLOCK + self.radius)
        places = []
        for axis, at in enumerate((*first, 0)):
            voxels = corners[:, axis, None] + around - at
            inside = torch.from_numpy(voxels.clip(0, logits.shape[2 + axis] - 1)).to(logits.device)
            places.append(inside.view(len(inside), *(-1 if one == axis else 1 for one in range(3))))
        of = torch.from_numpy(channels).to(logits.device).view(-1, 1, 1, 1)
        values = logits[:, of, places[0], places[1], places[2]].float().cpu()  # (M, blocks, h, w, d)
        for number, (channel, corner) in enumerate(zip(channels.tolist(), corners.tolist())):
            start = tuple(max(0, at - self.radius) for at in corner)
            stop = tuple(min(size, at + BLOCK + self.radius) for at, size in zip(corner, self.shape))
            moved = [self.radius - at for at in corner]
            rows, columns, deep = (slice(low + by, high + by) for low, high, by in zip(start, stop, moved))
            cut = values[:, number, rows, columns, deep].clone()  # or all the others would stay, too
            self.places[channel][tuple(corner)] = _Place(highest[number], tuple(corner), start, cut)

    def _least(self) -> torch.Tensor:
        """
        The logit below which no network says enough for a further peak, shape (M, N): the mean is at least a
        network's share of its own peak.
        """
        share = LEAST_PEAK / self.of
        if self.activation == "sigmoid":
            return torch.logit(self.highest.sigmoid() * share)
        return self.highest + math.log(share)

    def _score(self, values: torch.Tensor, channel: int) -> torch.Tensor:
        """The logarithm of the mean heatmap, shape (h, w, d), of logits (M, h, w, d)."""
        if self.activation == "sigmoid":
            return values.sigmoid().mean(dim=0).log()
        sums = F.softplus(self.sums[:, channel]).view(-1, 1, 1, 1)
        return (values - sums).logsumexp(dim=0) - math.log(self.networks)

    def kept(self, channel: int) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
        """What is kept of a channel's mean heatmap: where parts of it begin, and their values in [0, 1]."""
        for one in self.places[channel].values():
            yield one.start, self._score(one.values, channel).exp()

    def peaks(self, most: int = MOST_PEAKS) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        What :func:`auto3dlandmark.transforms.decode.decode_peaks` gives, once all rows were taken.

        Args:
            most: how many places of a channel.
        """
        count = len(self.places)
        points = torch.full((count, most, 3), torch.nan)
        heights, masses = torch.zeros((count, most)), torch.zeros((count, most))
        variances = torch.zeros((count, most, 3))
        least = self._least().numpy()  # of the highest there are, which the first blocks did not know
        for channel, places in enumerate(self.places):
            high = [one for one in places.values() if (one.highest >= least[:, channel]).any()]
            left = [_Left(one, self._score(one.values, channel)) for one in high]
            for number in range(most):
                owner = max(left, key=lambda one: one.highest)
                place = owner.top()
                height = float(owner.heat[place])
                if (number and height < LEAST_PEAK * heights[channel, 0]) or height <= 0:
                    if number == 0:
                        points[channel, 0] = owner.in_volume(place)
                    break
                voxel = [int(at) for at in owner.in_volume(place)]
                reach = cube_reach(voxel, self.shape, self.radius)
                point, mass, variance = centroid(owner.heat, place, reach)
                if number and mass < LEAST_PEAK:
                    break
                points[channel, number] = owner.in_volume(point)
                heights[channel, number], masses[channel, number] = height, mass
                variances[channel, number] = variance
                for one in left:
                    one.clear(voxel, 2 * self.radius)
        return points, heights, masses, variances


class _Left:
    """What is left of a kept block, as peaks are taken away."""

    def __init__(self, place: _Place, score: torch.Tensor) -> None:
        self.start, self.score, self.heat = place.start, score, score.exp()
        self.low = [at - begin for at, begin in zip(place.corner, place.start)]
        self.core = tuple(slice(low, low + BLOCK) for low in self.low)
        self.highest = float(self.score[self.core].max())  # of the block itself

    def top(self) -> tuple[int, ...]:
        """Its voxel."""
        core = self.score[self.core]
        index = torch.unravel_index(core.argmax(), core.shape)
        return tuple(int(one) + low for one, low in zip(index, self.low))

    def in_volume(self, place: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """A place of the kept values as one of the volume."""
        return torch.as_tensor(place, dtype=torch.float32) + torch.tensor(self.start, dtype=torch.float32)

    def clear(self, place: Sequence[int], reach: int) -> None:
        """Forget a cube."""
        cut = []
        for at, begin, size in zip(place, self.start, self.heat.shape):
            low, high = max(0, at - reach - begin), min(size, at + reach + 1 - begin)
            if low >= high:
                return
            cut.append(slice(low, high))
        self.heat[tuple(cut)] = 0
        self.score[tuple(cut)] = -torch.inf
        self.highest = float(self.score[self.core].max())


def _wanted(highest: np.ndarray, least: np.ndarray, most: int) -> list[int]:
    """
    Which blocks are among the highest of any network, and high enough for it.

    Args:
        highest: of each network and block, shape (M, blocks).
        least: of each network, shape (M,).
    """
    found: set[int] = set()
    for one, floor in zip(highest, least):
        best = np.argpartition(-one, most - 1)[:most] if len(one) > most else np.arange(len(one))
        found.update(best[one[best] >= floor].tolist())
    if not found:  # nothing is above anything
        raise LandmarkError(
            "the network gives no numbers (NaN): its training went astray. Train it again with a lower "
            "learning rate."
        )
    return sorted(found)


def _block_maxima(values: torch.Tensor) -> torch.Tensor:
    """The highest value of each block, shape (N, blocks along each axis); the last blocks may be cut."""
    for axis in (1, 2, 3):
        size = values.shape[axis]
        whole = size // BLOCK * BLOCK
        parts = []
        if whole:
            front = values.narrow(axis, 0, whole)
            parts.append(front.unflatten(axis, (-1, BLOCK)).amax(dim=axis + 1))
        if whole < size:
            parts.append(values.narrow(axis, whole, size - whole).amax(dim=axis, keepdim=True))
        values = torch.cat(parts, dim=axis)
    return values
