# SPDX-License-Identifier: Apache-2.0
"""Find the highest places of a network's heatmaps without holding them: windows are reduced as they come.

The memory grows with the features of a network and the rows of a window, never with the landmarks or with the
rows of an image; where it would be more than ``MOST_HELD``, an image is looked at in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..networks.head import split_network
from .autocast import AutocastInferer
from .openvino_windows import FEWEST_WINDOWS
from .peak_stream import BLOCK, MOST_BLOCKS, PeakStream
from .window import ROWS, FittedSlidingWindowInferer, axis_first

__all__ = ["KeptHeatmaps", "Looker", "kept_heatmaps", "streamed_peaks"]

MOST_VALUES = 2**22  # of logits that are there at once
MOST_HELD = 2**29  # of what windows gave: two gigabytes
KEPT_BLOCKS, FEWEST_BLOCKS = 4096, 32  # of all channels and networks: a hundred megabytes; of each at least


class Looker:
    """
    A network that does not change any more, and how it looks at images.

    Args:
        network: from windows (1, C, h, w, d) to logits (1, N, h, w, d).
        inferer: with windows that can be reduced.
        landmarks: N.
    """

    def __init__(self, network: torch.nn.Module, inferer: AutocastInferer, landmarks: int) -> None:
        assert inferer.window is not None
        self.inferer, self.window, self.landmarks = inferer, inferer.window, landmarks
        self.split = split_network(network)
        self.network = network if self.split is None else self.split.features
        self._compiled: tuple[object, Callable[[], Callable] | None] = (None, None)

    @property
    def channels(self) -> int:
        """How many values of a voxel are held: logits, or features where those are fewer."""
        return self.landmarks if self.split is None else self.split.weight.shape[1]

    def logits(self, found: torch.Tensor, channels: slice) -> torch.Tensor:
        """Of some landmarks, shape (n, H, W, D), from what the windows gave, shape (C, H, W, D)."""
        return found[channels] if self.split is None else self.split.logits(found, channels)

    def ready(self, image: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """What gives the windows' values, by the fastest way there is for an image of this size."""
        if image.device.type == "cpu":
            size, starts = self.window.layout(image.shape[1:])
            if torch.Size(map(len, starts)).numel() >= FEWEST_WINDOWS:
                key = (size, len(image))
                if self._compiled[0] != key:
                    self._compiled = (key, self.inferer.compiled(self.network, size, len(image)))
                begin = self._compiled[1]
                if begin is not None:
                    return begin()
        return self.inferer.ready(self.network, image.device)


@dataclass(frozen=True)
class _Part:
    """Some columns of an image, and those that windows have to be laid over to find what is there."""

    own: range
    seen: range


def streamed_peaks(
    lookers: Sequence[Looker], images: Sequence[torch.Tensor], activation: str, radius: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    What :func:`auto3dlandmark.transforms.decode.decode_peaks` finds in the mean of some networks' heatmaps.

    Args:
        lookers: whose windows are the same.
        images: what each of them sees, all of one size, each of shape (C, H, W, D).
        activation, radius: as for :class:`PeakStream`.
    """
    order, streams = _reduced(lookers, images, activation, radius)
    reduced = [stream.peaks() for _, stream in streams]
    points, heights, masses, variances = (torch.cat(list(one)) for one in zip(*reduced))
    back = _back(order)
    return points[..., back], heights, masses, variances[..., back]


class KeptHeatmaps:
    """
    What was kept of the mean of some networks' heatmaps: all that is high, and what lies around it.

    Args:
        order: the axes of an image, in the order in which ``streams`` have them.
        streams: with the channels that each of them has seen.
    """

    def __init__(self, order: tuple[int, int, int], streams: Sequence[tuple[slice, PeakStream]]) -> None:
        self.order, self.streams = order, streams

    def part(self, channel: int) -> tuple[tuple[int, ...], torch.Tensor]:
        """
        The part of a heatmap outside of which nothing was kept.

        Returns:
            its first voxel, and its values in [0, 1], shape (h, w, d).
        """
        of, stream = next(one for one in self.streams if one[0].start <= channel < one[0].stop)
        kept = list(stream.kept(channel - of.start))
        low = np.min([start for start, _ in kept], axis=0)
        high = np.max([np.add(start, values.shape) for start, values in kept], axis=0)
        part = torch.zeros(tuple((high - low).tolist()))
        for start, values in kept:
            part[tuple(slice(at, at + size) for at, size in zip(start - low, values.shape))] = values
        back = _back(self.order)
        return tuple(low[back].tolist()), part.permute(back)


def kept_heatmaps(
    lookers: Sequence[Looker], images: Sequence[torch.Tensor], activation: str, radius: int, views: int
) -> KeptHeatmaps:
    """
    As :func:`streamed_peaks`, to be averaged with others.

    Args:
        views: how many such heatmaps will be averaged.
    """
    return KeptHeatmaps(*_reduced(lookers, images, activation, radius, views))


def _reduced(
    lookers: Sequence[Looker],
    images: Sequence[torch.Tensor],
    activation: str,
    radius: int,
    views: int = 1,
) -> tuple[tuple[int, int, int], list[tuple[slice, PeakStream]]]:
    """The order of the axes in which images were looked at, and what was found of which channels."""
    sizes = [int(size) for size in images[0].shape[1:]]
    order = axis_first(sizes.index(max(sizes)))  # across the longest axis rows are smallest
    shape = tuple(sizes[axis] for axis in order)
    networks = [one.ready(image) for one, image in zip(lookers, images)]
    held = sum(one.channels for one in lookers)
    parts = list(_parts(lookers[0].window, sizes, order, radius, held))
    widest = max(len(part.seen) for part in parts)
    count = lookers[0].landmarks
    most = max(1, MOST_VALUES // ((ROWS + 2 * radius) * widest * shape[2] * len(lookers)))
    of = len(lookers) * views
    blocks = max(FEWEST_BLOCKS, min(MOST_BLOCKS, KEPT_BLOCKS // (count * of)))
    streams = [
        (
            slice(low, min(count, low + most)),
            PeakStream(min(most, count - low), shape, activation, radius, len(lookers), blocks, of),
        )
        for low in range(0, count, most)
    ]
    for part in parts:
        looks = [
            one.window.slabs(
                image.narrow(1 + order[1], part.seen.start, len(part.seen)), network, order[0], radius
            )
            for one, image, network in zip(lookers, images, networks)
        ]
        first = max(part.seen.start, part.own.start - radius)
        columns = slice(first - part.seen.start, part.own.stop + radius - part.seen.start)
        for slabs in zip(*looks, strict=True):
            rows = slabs[0][0]
            values = [slab[:, :, columns] for _, slab in slabs]
            for channels, stream in streams:
                logits = [one.logits(value, channels) for one, value in zip(lookers, values)]
                corner = (max(0, rows.start - radius), first)
                together = logits[0][None] if len(logits) == 1 else torch.stack(logits)
                stream.add(together, corner, (rows, part.own))
    return order, streams


def _back(order: Sequence[int]) -> list[int]:
    """Where the axes of an image are in an order of them."""
    return [order.index(axis) for axis in range(3)]


def _parts(
    window: FittedSlidingWindowInferer, sizes: Sequence[int], order: Sequence[int], radius: int, held: int
) -> Iterator[_Part]:
    """
    The columns of an image, all together if what is held of them is not too much.

    Where parts meet, windows are looked through twice.
    """
    lengths, starts = window.layout(sizes)
    rows, columns, depth = order
    room = held * (lengths[rows] + 2 * radius + ROWS) * max(sizes[depth], lengths[depth])
    size, length, begins = sizes[columns], lengths[columns], starts[columns]
    begin = 0
    while begin < size:
        first = next(at for at in begins if at + length > begin - radius)
        part = None
        for at, following in zip(begins, [*begins[1:], None]):
            stop = size if following is None else (following - radius) // BLOCK * BLOCK
            seen = range(first, min(at + length, size))
            if part is not None and len(seen) * room > MOST_HELD:
                break
            if stop > begin:
                part = _Part(range(begin, stop), seen)
        assert part is not None
        yield part
        begin = part.own.stop
