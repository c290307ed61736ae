# SPDX-License-Identifier: Apache-2.0
"""Find the highest places of a network's heatmaps without holding them: windows are reduced as they come.

The memory grows with the features of a network and the rows of a window, never with the landmarks or with the
rows of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from ..networks.head import split_network
from .peak_stream import BLOCK, MOST_BLOCKS, PeakStream
from .window import axis_first

__all__ = ["Looker", "Slabs", "streamed_peaks"]

MOST_VALUES = 2**22  # of logits that are there at once
ROWS = 2 * BLOCK  # that are reduced at once
KEPT_BLOCKS, FEWEST_BLOCKS = 4096, 32  # of all channels and networks: a hundred megabytes; of each at least

Slabs = Callable[
    [torch.Tensor, Callable[[torch.Tensor], torch.Tensor], int], Iterator[tuple[int, torch.Tensor]]
]


@dataclass(frozen=True)
class Looker:
    """
    A network, and how it looks at an image.

    Args:
        image: shape (C, H, W, D); of several that look together all of one grid.
        network: from windows (1, C, h, w, d) to logits (1, N, h, w, d).
        slabs: from image, network and axis to the mean of all windows, some rows at a time, as
            :meth:`auto3dlandmark.inferers.AutocastInferer.slabs` gives them.
    """

    image: torch.Tensor
    network: torch.nn.Module
    slabs: Slabs


def streamed_peaks(
    lookers: Sequence[Looker], activation: str, radius: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    What :func:`auto3dlandmark.transforms.decode.decode_peaks` finds in the mean of some networks' heatmaps.

    Args:
        lookers: whose slabs have the same rows.
        activation, radius: as for :class:`PeakStream`.
    """
    splits = [split_network(one.network) for one in lookers]
    sizes = [int(size) for size in lookers[0].image.shape[1:]]
    order = axis_first(sizes.index(max(sizes)))  # across the longest axis rows are smallest
    together = [
        one.slabs(one.image, one.network if split is None else split.features, order[0])
        for one, split in zip(lookers, splits)
    ]
    shape = tuple(sizes[axis] for axis in order)
    groups: list[tuple[slice, PeakStream]] = []
    held: list[torch.Tensor] = []
    start = done = 0
    for found in zip(*together, strict=True):
        (first,) = {row for row, _ in found}
        slabs = [slab for _, slab in found]
        if not groups:
            count = len(slabs[0]) if splits[0] is None else len(splits[0].weight)
            most = max(1, MOST_VALUES // ((ROWS + 2 * radius) * shape[1] * shape[2] * len(lookers)))
            parts = [slice(low, min(count, low + most)) for low in range(0, count, most)]
            blocks = max(FEWEST_BLOCKS, min(MOST_BLOCKS, KEPT_BLOCKS // (count * len(lookers))))
            groups = [
                (part, PeakStream(part.stop - part.start, shape, activation, radius, len(lookers), blocks))
                for part in parts
            ]
        held = slabs if not held else [torch.cat(pair, dim=1) for pair in zip(held, slabs)]
        have = first + slabs[0].shape[1]
        ready = have if have == shape[0] else (have - radius) // BLOCK * BLOCK
        while done < ready:
            end = min(done + ROWS, ready)
            low, high = max(0, done - radius), min(shape[0], end + radius)
            rows = [one[:, low - start : high - start] for one in held]
            for channels, stream in groups:
                logits = [
                    one[channels] if split is None else split.logits(one, channels)
                    for one, split in zip(rows, splits)
                ]
                stream.add(torch.stack(logits) if len(logits) > 1 else logits[0][None], low, done, end)
            done = end
        kept = max(start, done - radius)
        held, start = [one[:, kept - start :].clone() for one in held], kept
    reduced = [stream.peaks() for _, stream in groups]
    points, heights, masses, variances = (torch.cat(list(one)) for one in zip(*reduced))
    back = [order.index(axis) for axis in range(3)]
    return points[..., back], heights, masses, variances[..., back]
