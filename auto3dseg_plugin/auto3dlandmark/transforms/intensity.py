# SPDX-License-Identifier: Apache-2.0
"""What nnU-Net's augmentation of intensities has beyond MONAI's: a chance per channel, thick slices left
alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable, RandomizableTransform

__all__ = ["RandLowResolution", "RandNoised", "RandPerChanneld"]


class RandPerChanneld(RandomizableTransform, MapTransform):
    """
    Give each channel of an image its own draw of a random transform.

    Args:
        keys: images, shape (C, H, W, D).
        transform: takes one channel, shape (1, H, W, D), and always does something.
        prob: chance that an image is changed at all.
        channel_prob: chance of each of its channels then.

    Source: ``p_per_channel`` and ``synchronize_channels=False`` of batchgeneratorsv2, which nnU-Net augments
    with.
    """

    def __init__(
        self,
        keys: KeysCollection,
        transform: Callable[[torch.Tensor], torch.Tensor],
        prob: float,
        channel_prob: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.transform, self.channel_prob = transform, channel_prob

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandPerChanneld:
        """Seed this transform, and the one it draws from."""
        super().set_random_state(seed, state)
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(seed=self.R.randint(2**31))
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        self.randomize(None)
        if self._do_transform:
            for key in self.key_iterator(result):
                image = result[key].clone()
                for channel in range(len(image)):
                    if self.R.uniform() < self.channel_prob:
                        image[channel] = self.transform(image[channel : channel + 1])[0]
                result[key] = image
        return result


class RandLowResolution(Randomizable):
    """
    Make an image as coarse as a random, lower resolution would, on its own grid; nothing moves.

    Args:
        zoom_range: the share of its voxels that an axis keeps, drawn between these.
        thick_axis: an axis that keeps all; None for none.

    Source: nnU-Net's simulation of low resolution: down to the nearest voxels' values, up linearly. MONAI's
        ``RandSimulateLowResolution`` takes the lower neighbour on the way down unless told otherwise, which
        moves the image, and coarsens all axes.
    """

    def __init__(self, zoom_range: Sequence[float] = (0.5, 1.0), thick_axis: int | None = None) -> None:
        self.zoom_range, self.thick_axis = zoom_range, thick_axis

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """
        Args:
            image: shape (C, H, W, D).
        """
        zoom = self.R.uniform(self.zoom_range[0], self.zoom_range[1])
        shape = image.shape[1:]
        coarse = [
            size if axis == self.thick_axis else max(1, round(size * zoom)) for axis, size in enumerate(shape)
        ]
        low = F.interpolate(image[None], coarse, mode="nearest-exact")
        return F.interpolate(low, shape, mode="trilinear")[0]


class RandNoised(RandomizableTransform, MapTransform):
    """
    Add Gaussian noise, drawn on the device where the image is.

    MONAI's ``RandGaussianNoised`` does the same with random numbers of the CPU, in 64 bits: of a patch of
    64 x 224 x 160 voxels that is half of all augmentation.

    Args:
        keys: images, shape (C, H, W, D).
        prob: chance that an image is changed at all.
        std: the noise's standard deviation is drawn between 0 and this.
    """

    def __init__(
        self, keys: KeysCollection, prob: float = 0.1, std: float = 0.1, allow_missing_keys: bool = False
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.std = std

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        self.randomize(None)
        if self._do_transform:
            for key in self.key_iterator(result):
                image = result[key]
                random = torch.Generator(image.device).manual_seed(int(self.R.randint(2**31)))
                noise = torch.empty(image.shape, dtype=image.dtype, device=image.device)
                result[key] = image + noise.normal_(0, self.R.uniform(0, self.std), generator=random)
        return result
