# SPDX-License-Identifier: Apache-2.0
"""Show training images as other scanners might: anatomy stays where it is, its grey values do not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform, Randomizable, RandomizableTransform

from ..geometry import world_to_voxel

__all__ = ["RandConvolution", "RandFieldOfViewd", "RandTapered"]

LEAK = 0.2  # slope of what the random networks let through below zero


class RandConvolution(Randomizable):
    """
    Give an image another contrast: that of a small convolutional network with random weights, mixed with the
    image itself. Its mean and spread stay, so that only shape is left to learn from.

    Args:
        layers: convolutions one after the other, with a leaky ReLU between them.
        width: channels between them.
        kernel_sizes: each layer's is drawn from these; odd.
        strength: the share of the network's output in the result is drawn between these.

    Source: Xu et al., "Robust and generalizable visual representation learning via random convolutions", ICLR
        2021; global intensity non-linear augmentation of Ouyang et al., "Causality-inspired single-source
        domain generalization for medical image segmentation", IEEE TMI 2022.
    """

    def __init__(
        self,
        layers: int = 4,
        width: int = 2,
        kernel_sizes: Sequence[int] = (1, 3),
        strength: Sequence[float] = (0.0, 1.0),
    ) -> None:
        self.layers, self.width = layers, width
        self.kernel_sizes = tuple(kernel_sizes)
        self.weakest, self.strongest = strength

    def __call__(self, channel: torch.Tensor) -> torch.Tensor:
        """
        Args:
            channel: shape (1, H, W, D).
        """
        plain = torch.as_tensor(channel, dtype=torch.float32).as_subclass(torch.Tensor)
        mean, deviation = float(plain.mean()), max(float(plain.std()), 1e-6)
        image = (plain - mean) / deviation
        seen, widths = image[None], [1, *[self.width] * (self.layers - 1), 1]
        for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            size = int(self.R.choice(self.kernel_sizes))
            weights = torch.from_numpy(self.R.normal(size=(outputs, inputs, size, size, size)))
            bias = torch.from_numpy(self.R.normal(size=outputs))
            seen = F.conv3d(F.pad(seen, [size // 2] * 6, mode="replicate"), weights.to(seen), bias.to(seen))
            if number < self.layers - 1:
                seen = F.leaky_relu(seen, LEAK)
            seen = seen / seen.std().clamp(min=1e-6)
        share = self.R.uniform(self.weakest, self.strongest)
        mixed = share * (seen[0] - seen.mean()) + (1 - share) * image
        mixed = (mixed - mixed.mean()) / mixed.std().clamp(min=1e-6)
        result: torch.Tensor = mixed * deviation + mean
        return result


class RandTapered(RandomizableTransform):
    """
    Apply transforms to many items first, and to few when a training nears its end: what is hard to learn from
    comes first, and the last steps see most images as they are.

    Args:
        transforms: of dictionaries.
        prob: chance that an item is changed.
        late_prob: the same from ``late`` on.
        late: progress of the training, 0 to 1.
        progress: share of the training that is done, a tensor of one number in shared memory; as for
            :class:`auto3dlandmark.training.schedule.TrainingSchedule`.
    """

    def __init__(
        self,
        transforms: Sequence[Callable],
        prob: float,
        late_prob: float,
        late: float,
        progress: torch.Tensor,
    ) -> None:
        super().__init__(prob)
        self.early_prob, self.late_prob, self.late = prob, late_prob, late
        self.transforms, self.progress = Compose(transforms), progress

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandTapered:
        """Seed this transform, and those it applies."""
        super().set_random_state(seed, state)
        self.transforms.set_random_state(seed=self.R.randint(2**31))
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        self.prob = self.late_prob if float(self.progress) >= self.late else self.early_prob
        self.randomize(None)
        if not self._do_transform:
            return data
        result: Mapping[Hashable, Any] = self.transforms(data)
        return result


class RandFieldOfViewd(RandomizableTransform, MapTransform):
    """
    Show less of an image, and air around it, as a scan with another field of view would after it was
    normalised.

    What lies outside a random box takes one value, the darkest of the image or that of its border. No present
    landmark is cut off.

    Args:
        keys: images as MetaTensor, shape (C, H, W, D).
        prob: chance that an image is changed at all.
        most: the largest share of an axis that is cut off at each of its two sides.
        margin: voxels that stay around landmarks.
        standardize: bring the result to mean 0 and standard deviation 1, as images are that are normalised by
            their own.
        landmarks_key: RAS millimetres, shape (N, 3), NaN where there is no point.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.3,
        most: float = 0.35,
        margin: float = 4.0,
        standardize: bool = True,
        landmarks_key: str = "landmarks",
        allow_missing_keys: bool = False,
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.most, self.margin, self.standardize = most, margin, standardize
        self.landmarks_key = landmarks_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        self.randomize(None)
        if self._do_transform:
            first = result[self.first_key(result)]
            box = self._box(first, result.get(self.landmarks_key))
            dark = self.R.uniform() < 0.5
            for key in self.key_iterator(result):
                image = result[key].clone()
                plain = image.as_subclass(torch.Tensor)  # a view of the same voxels
                outside = torch.ones(plain.shape[1:], dtype=torch.bool, device=plain.device)
                outside[box] = False
                for channel in plain:
                    edge = channel[box][:1].median()
                    channel[outside] = channel.min() if dark else edge
                    if self.standardize:
                        channel.sub_(channel.mean()).div_(channel.std().clamp(min=1e-6))
                result[key] = image
        return result

    def _box(self, image: MetaTensor, landmarks: torch.Tensor | None) -> tuple[slice, ...]:
        size = np.array(image.shape[1:], dtype=float)
        low = self.R.uniform(0, self.most, size=3) * size
        high = size - self.R.uniform(0, self.most, size=3) * size
        if landmarks is not None:
            points = world_to_voxel(np.asarray(landmarks), np.asarray(image.affine.cpu(), dtype=np.float64))
            points = points[np.isfinite(points).all(axis=1)]
            points = points[((points >= 0) & (points <= size - 1)).all(axis=1)]
            if len(points):
                low = np.minimum(low, np.maximum(points.min(axis=0) - self.margin, 0))
                high = np.maximum(high, np.minimum(points.max(axis=0) + self.margin + 1, size))
        return tuple(slice(int(first), int(np.ceil(last))) for first, last in zip(low, high))
