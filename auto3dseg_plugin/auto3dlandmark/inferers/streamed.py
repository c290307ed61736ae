# SPDX-License-Identifier: Apache-2.0
"""Find the highest places of a network's heatmaps without holding them: windows are reduced as they come.

The memory grows with the features of a network and the rows of a window, never with the landmarks or with the
rows of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from ..networks.head import split_network
from .peak_stream import BLOCK, PeakStream

__all__ = ["Slabs", "streamed_peaks"]

MOST_VALUES = 2**24  # of logits that are there at once
ROWS = 4 * BLOCK  # that are reduced at once

Slabs = Callable[[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]], Iterator[tuple[int, torch.Tensor]]]


def streamed_peaks(
    image: torch.Tensor, network: torch.nn.Module, slabs: Slabs, activation: str, radius: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    What :func:`auto3dlandmark.transforms.decode.decode_peaks` finds in the heatmaps of an image.

    Args:
        image: shape (C, H, W, D).
        network: from windows (1, C, h, w, d) to logits (1, N, h, w, d).
        slabs: from image and network to the mean of all windows, some rows at a time, as
            :meth:`auto3dlandmark.inferers.AutocastInferer.slabs` gives them.
        activation, radius: as for :class:`PeakStream`.
    """
    split = split_network(network)
    look: Callable[[torch.Tensor], torch.Tensor] = network if split is None else split.features
    shape = tuple(int(size) for size in image.shape[1:])
    groups: list[tuple[slice, PeakStream]] = []
    held, start, done = torch.zeros(0), 0, 0
    for first, slab in slabs(image, look):
        if not groups:
            count = len(slab) if split is None else len(split.weight)
            most = max(1, MOST_VALUES // ((ROWS + 2 * radius) * shape[1] * shape[2]))
            parts = [slice(low, min(count, low + most)) for low in range(0, count, most)]
            groups = [(part, PeakStream(part.stop - part.start, shape, activation, radius)) for part in parts]
        held = slab if first == 0 else torch.cat([held, slab], dim=1)
        have = first + slab.shape[1]
        ready = have if have == shape[0] else (have - radius) // BLOCK * BLOCK
        while done < ready:
            end = min(done + ROWS, ready)
            low, high = max(0, done - radius), min(shape[0], end + radius)
            rows = held[:, low - start : high - start]
            for channels, stream in groups:
                logits = rows[channels] if split is None else split.logits(rows, channels)
                stream.add(logits, low, done, end)
            done = end
        kept = max(start, done - radius)
        held, start = held[:, kept - start :].clone(), kept
    found = [stream.peaks() for _, stream in groups]
    points, heights, masses, variances = (torch.cat(list(one)) for one in zip(*found))
    return points, heights, masses, variances
