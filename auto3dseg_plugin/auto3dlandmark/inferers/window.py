# SPDX-License-Identifier: Apache-2.0
"""Through which window a network sees an image that is larger, or smaller, than its patches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import SlidingWindowInferer
from scipy import ndimage

__all__ = ["ROWS", "FittedSlidingWindowInferer", "axis_first", "nnunet_weights"]

ROWS = 8  # that are handed on at a time, but for the last of an image
SAME_GREY = 1e-6  # by which grey values of a blank window may differ


def nnunet_weights(size: Sequence[int]) -> torch.Tensor:
    """
    nnU-Net's weights of a window's voxels, shape ``size``: a Gaussian of an eighth of the size, cut at four
    sigma.

    MONAI's is nowhere below a thousandth of its peak, so borders count more where windows overlap.
    """
    weights = np.zeros(tuple(size))
    weights[tuple(length // 2 for length in size)] = 1
    weights = ndimage.gaussian_filter(weights, [length / 8 for length in size], mode="constant")
    weights = np.maximum(weights, weights[weights > 0].min()) / weights.max()
    return torch.as_tensor(weights, dtype=torch.float32)


class FittedSlidingWindowInferer(SlidingWindowInferer):
    """
    MONAI's sliding window, no larger than the image needs.

    A small image in a large window would be mostly padding, and instance normalisation reacts to that.

    Args:
        roi_size: the largest window, in voxels, shape (3,).
        divisor: what the network needs sizes to be multiples of, shape (3,); None keeps ``roi_size`` as it
            is.
        mode: how windows that overlap are weighted: as MONAI's, or ``nnunet`` for nnU-Net's Gaussian, which
            nearly ignores a window's border.
        options: as for :class:`monai.inferers.SlidingWindowInferer`.
    """

    roi_size: Sequence[int]  # MONAI's may be one number

    def __init__(
        self,
        roi_size: Sequence[int],
        divisor: Sequence[int] | None = None,
        mode: str = "gaussian",
        **options: Any,
    ) -> None:
        self.divisor, self.mode_name, self.options = divisor, mode, options
        super().__init__(roi_size, mode=_monai_mode(mode), **options)
        if mode == "nnunet":
            self.roi_weight_map = nnunet_weights(roi_size)

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """
        Args:
            inputs: images, shape (B, C, H, W, D).
            network: gives logits of shape (B, N, h, w, d).
        """
        fitted = self._fitted(inputs.shape[2:])
        return super(FittedSlidingWindowInferer, fitted).__call__(inputs, network, *args, **kwargs)

    def slabs(
        self,
        image: torch.Tensor,
        network: Callable[[torch.Tensor], torch.Tensor],
        axis: int = 0,
        margin: int = 0,
    ) -> Iterator[tuple[range, torch.Tensor]]:
        """
        What a call gives, a few rows at a time, and never as a whole.

        Args:
            image: shape (C, H, W, D).
            network: from windows (1, C, h, w, d) to values (1, N, h, w, d).
            axis: along which rows follow each other; the longest takes the least memory.
            margin: how many rows more are given on both sides, where the image has them.

        Yields:
            the next rows, and the mean of all windows there and in the margin, float32, shape (N, rows, ...):
            with ``axis`` before the other two. It is good until the next is asked for.
        """
        sizes = tuple(int(size) for size in image.shape[1:])
        roi, starts = self.layout(sizes)
        image, low = _padded(image, roi, self.padding_mode)
        weights = self._fitted(sizes)._weights(roi).to(image.device)
        if axis:
            order = axis_first(axis)
            image, weights = image.permute(0, *(1 + one for one in order)), weights.permute(order)
            roi, sizes, low = (tuple(one[at] for at in order) for one in (roi, sizes, low))
            starts, network = tuple(starts[at] for at in order), _Turned(network, order)
        look = _Blank(network)
        across = tuple(slice(begin, begin + size) for begin, size in zip(low[1:], sizes[1:]))
        rows = _Rows(range(low[0], low[0] + sizes[0]), across, margin)
        if math.prod(map(len, starts)) == 1:
            yield from rows.all(network(image[None])[0].float())
            return
        for first in starts[0]:
            yield from rows.finished(first)
            for corner in itertools.product([first], *starts[1:]):
                window = tuple(slice(begin, begin + length) for begin, length in zip(corner, roi))
                rows.add(look(image[(slice(None), *window)]), weights, window, image.shape[1:])
        yield from rows.finished(image.shape[1])

    def layout(self, sizes: Sequence[int]) -> tuple[tuple[int, ...], tuple[list[int], ...]]:
        """
        How windows are laid over an image of these sizes, which is padded where it is smaller than a window.

        Returns:
            size: of each window, voxels.
            starts: along each axis, of the padded image; windows stand at all combinations.
        """
        sizes = tuple(int(size) for size in sizes)
        roi = tuple(int(length) for length in self._fitted(sizes).roi_size)
        assert isinstance(self.overlap, float)  # the same along each axis
        starts = []
        for length, size in zip(roi, sizes):
            size = max(size, length)
            step = length if length == size else max(1, int(length * (1 - self.overlap)))
            starts.append([window.start for (window,) in dense_patch_slices((size,), (length,), (step,))])
        return roi, tuple(starts)

    def _weights(self, roi: tuple[int, ...]) -> torch.Tensor:
        """Of a window's voxels, shape ``roi``."""
        if self.roi_weight_map is not None and tuple(self.roi_weight_map.shape) == roi:
            return torch.as_tensor(self.roi_weight_map, dtype=torch.float32)
        return compute_importance_map(roi, mode=self.mode, sigma_scale=self.sigma_scale, dtype=torch.float32)

    def _fitted(self, sizes: Sequence[int]) -> FittedSlidingWindowInferer:
        """The same, with a window that fits an image of these sizes."""
        if self.divisor is None:
            return self
        needed = [-(-size // step) * step for size, step in zip(sizes, self.divisor)]
        fitted = [min(largest, size) for largest, size in zip(self.roi_size, needed)]
        return FittedSlidingWindowInferer(fitted, mode=self.mode_name, **self.options)


def axis_first(axis: int) -> tuple[int, int, int]:
    """The three axes with one of them before the others."""
    first, second = (one for one in range(3) if one != axis)
    return axis, first, second


class _Turned:
    """
    A network that is shown windows as it knows them, and gives what it finds with the axes of the windows.

    Args:
        network: as of :meth:`FittedSlidingWindowInferer.slabs`.
        order: its axes, in the order in which those of the windows come.
    """

    def __init__(self, network: Callable[[torch.Tensor], torch.Tensor], order: Sequence[int]) -> None:
        self.network = network
        self.there = (0, 1, *(2 + one for one in order))
        self.back = (0, 1, *(2 + order.index(one) for one in range(3)))

    def __call__(self, window: torch.Tensor) -> torch.Tensor:
        return self.network(window.permute(self.back)).permute(self.there)


class _Blank:
    """
    Look through windows one after the other; where nothing is to be seen, such as in the air, look once.

    Args:
        network: as of :meth:`FittedSlidingWindowInferer.slabs`; it gives the same for the same window.
    """

    def __init__(self, network: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.network = network
        self.grey: torch.Tensor | None = None  # of each channel, shape (C,)
        self.found: torch.Tensor | None = None

    def __call__(self, window: torch.Tensor) -> torch.Tensor:
        """
        Args:
            window: shape (C, h, w, d).

        Returns:
            float32, shape (N, h, w, d).
        """
        low, high = window.flatten(1).aminmax(dim=1)
        if bool((high - low > SAME_GREY * (1 + high.abs())).any()):
            return self.network(window[None])[0].float()
        if self.found is None or self.grey is None or not torch.equal(self.grey, low):
            self.grey, self.found = low, self.network(window[None])[0].float()
        return self.found


def _padded(image: torch.Tensor, roi: Sequence[int], mode: str) -> tuple[torch.Tensor, tuple[int, ...]]:
    """An image that is no smaller than a window, and how many voxels came before it."""
    sides = [divmod(max(0, length - size), 2) for length, size in zip(roi, image.shape[1:])]
    low = tuple(half for half, _ in sides)
    if any(half or odd for half, odd in sides):
        pad = [side for half, odd in sides[::-1] for side in (half, half + odd)]
        image = F.pad(image[None], pad, mode=mode)[0]
    return image, low


class _Rows:
    """
    The mean of windows that come row by row: of rows that get no more windows and have not been handed on,
    with their margin, and of those that wait for more windows.

    Args:
        own: the image's rows in the padded image.
        across: the image in each of those rows.
        margin: as for :meth:`FittedSlidingWindowInferer.slabs`.
    """

    def __init__(self, own: range, across: tuple[slice, ...], margin: int) -> None:
        self.own, self.across, self.margin = own, across, margin
        self.held = own.start  # the first row that is still there
        self.next = self.done = (
            0  # the image's row to be handed on next; the padded image's rows that are means
        )
        self.values = self.share = torch.zeros(0)

    def add(
        self, found: torch.Tensor, weights: torch.Tensor, window: Sequence[slice], sizes: Sequence[int]
    ) -> None:
        """Another window of an image of these sizes."""
        if not len(self.values):
            self.held = 0
            room = weights.shape[0] + 2 * self.margin + ROWS
            self.values = torch.zeros(len(found), room, *sizes[1:], device=found.device)
            self.share = torch.zeros(room, *sizes[1:], device=found.device)
        place = (slice(window[0].start - self.held, window[0].stop - self.held), *window[1:])
        self.values[(slice(None), *place)].addcmul_(found, weights)
        self.share[place].add_(weights)

    def finished(self, until: int) -> Iterator[tuple[range, torch.Tensor]]:
        """Hand on what is ready when rows of the padded image before this one get no more windows."""
        if until > self.done:
            part = slice(self.done - self.held, until - self.held)
            self.values[:, part].div_(self.share[part])
            self.done = until
            yield from self._ready()
            self._forget()

    def all(self, values: torch.Tensor) -> Iterator[tuple[range, torch.Tensor]]:
        """Hand on all rows of a padded image."""
        self.values, self.held, self.done = values, 0, values.shape[1]
        yield from self._ready()

    def _ready(self) -> Iterator[tuple[range, torch.Tensor]]:
        size = len(self.own)
        have = min(self.done - self.own.start, size)
        while self.next < size:
            rows = range(self.next, min(self.next + ROWS, size))
            low, high = max(0, rows.start - self.margin), min(size, rows.stop + self.margin)
            if high > have:
                return
            self.next = rows.stop
            part = slice(low + self.own.start - self.held, high + self.own.start - self.held)
            yield rows, self.values[(slice(None), part, *self.across)]

    def _forget(self) -> None:
        """Make place where rows were that nobody asks for any more."""
        count = max(0, self.next - self.margin) + self.own.start - self.held
        room = len(self.share)
        for one in (*self.values, self.share) if count > 0 else ():
            for begin in range(0, room - count, count):  # as many at a time as do not overlap
                end = min(begin + count, room - count)
                one[begin:end] = one[begin + count : end + count]
            one[room - count :] = 0
        self.held += max(0, count)


def _monai_mode(mode: str) -> str:
    return "gaussian" if mode == "nnunet" else mode
