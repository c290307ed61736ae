# SPDX-License-Identifier: Apache-2.0
"""Through which window a network sees an image that is larger, or smaller, than its patches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import SlidingWindowInferer
from scipy import ndimage

__all__ = ["FittedSlidingWindowInferer", "axis_first", "nnunet_weights"]

ROWS = 8  # that are handed on at a time
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
        if self.divisor is None:
            return super().__call__(inputs, network, *args, **kwargs)
        return self._fitted(inputs.shape[2:])(inputs, network, *args, **kwargs)

    def slabs(
        self, image: torch.Tensor, network: Callable[[torch.Tensor], torch.Tensor], axis: int = 0
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """
        What a call gives, row by row, and never as a whole.

        Args:
            image: shape (C, H, W, D).
            network: from windows (1, C, h, w, d) to values (1, N, h, w, d).
            axis: along which rows follow each other; the longest takes the least memory.

        Yields:
            the first row, and the mean of all windows there, float32, shape (N, rows, ...): with ``axis``
            before the other two.
        """
        sizes = tuple(int(size) for size in image.shape[1:])
        inferer = self if self.divisor is None else self._fitted(sizes)
        roi = tuple(int(length) for length in inferer.roi_size)
        image, low = _padded(image, roi, inferer.padding_mode)
        weights = inferer._weights(roi).to(image.device)
        if axis:
            order = axis_first(axis)
            image, weights = image.permute(0, *(1 + one for one in order)), weights.permute(order)
            roi, sizes = tuple(roi[one] for one in order), tuple(sizes[one] for one in order)
            low, network = [low[one] for one in order], _Turned(network, order)
        windows = dense_patch_slices(image.shape[1:], roi, inferer._steps(roi, image.shape[1:]))
        if len(windows) == 1:
            yield from _finished(network(image[None])[0].float(), None, 0, roi[0], low, sizes)
            return
        look = _Blank(network)
        total, share, held = None, torch.zeros(roi[0], *image.shape[2:], device=image.device), 0
        for start, row in itertools.groupby(windows, key=lambda window: window[0].start):
            if total is not None and start > held:
                yield from _finished(total, share, held, start - held, low, sizes)
                _shift(total, share, start - held)
            held = start
            for window in row:
                found = look(image[(slice(None), *window)])
                if total is None:
                    total = torch.zeros(len(found), *share.shape, device=image.device)
                total[(slice(None), slice(None), *window[1:])] += found * weights
                share[(slice(None), *window[1:])] += weights
        assert total is not None
        yield from _finished(total, share, held, image.shape[1] - held, low, sizes)

    def windows_of(self, sizes: Sequence[int]) -> tuple[tuple[int, ...], int]:
        """The size of the windows that are laid over an image of these sizes, and how many there are."""
        sizes = tuple(int(size) for size in sizes)
        inferer = self if self.divisor is None else self._fitted(sizes)
        roi = tuple(int(length) for length in inferer.roi_size)
        padded = [max(pair) for pair in zip(roi, sizes)]
        return roi, len(dense_patch_slices(padded, roi, inferer._steps(roi, padded)))

    def _steps(self, roi: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
        """From a window to the next, as MONAI's."""
        overlap = self.overlap
        assert isinstance(overlap, float)  # the same along each axis
        return tuple(
            length if length == size else max(1, int(length * (1 - overlap)))
            for length, size in zip(roi, sizes)
        )

    def _weights(self, roi: tuple[int, ...]) -> torch.Tensor:
        """Of a window's voxels, shape ``roi``."""
        if self.roi_weight_map is not None and tuple(self.roi_weight_map.shape) == roi:
            return torch.as_tensor(self.roi_weight_map, dtype=torch.float32)
        return compute_importance_map(roi, mode=self.mode, sigma_scale=self.sigma_scale, dtype=torch.float32)

    def _fitted(self, sizes: Sequence[int]) -> FittedSlidingWindowInferer:
        """The same, with a window that fits an image of these sizes."""
        assert self.divisor is not None
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


def _padded(image: torch.Tensor, roi: Sequence[int], mode: str) -> tuple[torch.Tensor, list[int]]:
    """An image that is no smaller than a window, and how many voxels came before it."""
    sides = [divmod(max(0, length - size), 2) for length, size in zip(roi, image.shape[1:])]
    low = [half for half, _ in sides]
    if any(half or odd for half, odd in sides):
        pad = [side for half, odd in sides[::-1] for side in (half, half + odd)]
        image = F.pad(image[None], pad, mode=mode)[0]
    return image, low


def _finished(
    total: torch.Tensor,
    share: torch.Tensor | None,
    held: int,
    count: int,
    low: Sequence[int],
    sizes: Sequence[int],
) -> Iterator[tuple[int, torch.Tensor]]:
    """The first rows of what is held, a few at a time, as far as they lie in the image, not in padding."""
    first, last = max(held, low[0]), min(held + count, low[0] + sizes[0])
    across = [slice(a, a + size) for a, size in zip(low[1:], sizes[1:])]
    for begin in range(first, last, ROWS):
        part = (slice(begin - held, min(begin + ROWS, last) - held), *across)
        rows = total[(slice(None), *part)]
        yield begin - low[0], rows if share is None else rows / share[part]


def _shift(total: torch.Tensor, share: torch.Tensor, count: int) -> None:
    """Forget rows, and make place for as many."""
    kept = share.shape[0] - count
    for one in (*total, share):  # a channel at a time, as the copy overlaps itself
        one[:kept] = one[count:].clone()
        one[kept:] = 0


def _monai_mode(mode: str) -> str:
    return "gaussian" if mode == "nnunet" else mode
