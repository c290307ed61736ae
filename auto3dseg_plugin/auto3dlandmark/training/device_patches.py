# SPDX-License-Identifier: Apache-2.0
"""Random patches made where the network learns: processes only draw them and read what they show.

Turning, scaling and changing grey values is the longest part of a patch and a matter of milliseconds on a
GPU. The steps are those that a CPU would do, on tensors that lie elsewhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader, Dataset, ThreadBuffer, list_data_collate
from monai.transforms import Compose, Randomizable, Transform

__all__ = ["Draw", "PatchLoader"]

AHEAD = 2  # batches that are made before they are asked for


class Draw(Randomizable, Transform):
    """
    The first half of a random patch, which needs no voxel of the result.

    Args:
        patch: such as :class:`auto3dlandmark.transforms.RandPatchLandmarksd`.
    """

    def __init__(self, patch: Any) -> None:
        self.patch = patch

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Draw:
        """Seed the patch."""
        self.patch.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> Any:
        return self.patch.draw(data)


class PatchLoader(DataLoader):
    """
    A data loader of random patches.

    Args:
        dataset: its pipeline is one step that gives the same each time, a random patch, and the rest.
        device: where batches go.
        on_device: processes only draw patches, and a thread makes them on the device, some batches ahead;
            not with a random patch of a kind that cannot be parted.
        options: as of :class:`torch.utils.data.DataLoader`.
    """

    def __init__(
        self, dataset: Dataset, device: torch.device | str, on_device: bool = False, **options: Any
    ) -> None:
        self.on = torch.device(device)
        self.patch: Any = None
        self.stream: torch.cuda.Stream | None = None
        steps = list(dataset.transform.transforms)
        if on_device and len(steps) > 1 and hasattr(steps[1], "draw"):
            prepare, self.patch, *rest = steps
            self.rest = Compose(rest, lazy=dataset.transform.lazy)
            self.stream = torch.cuda.Stream(self.on) if self.on.type == "cuda" else None
            dataset.transform = Compose([prepare, Draw(self.patch)])
            options = {**options, "collate_fn": _as_they_are}
        super().__init__(dataset, **options)

    def __iter__(self) -> Any:
        if self.patch is None:
            yield from super().__iter__()
            return
        for batch in ThreadBuffer(self._ahead(super().__iter__()), buffer_size=AHEAD):
            if isinstance(batch, Exception):
                raise batch
            yield batch

    def _ahead(self, drawn: Iterator[Any]) -> Iterator[Any]:
        """Batches, in the thread; what goes wrong is the last of them, as the thread would swallow it."""
        try:
            yield from map(self.made, drawn)
        except Exception as error:
            yield error

    def made(self, drawn: Sequence[Mapping[str, Any]]) -> Any:
        """A batch of drawn patches, ready on the device."""
        if self.stream is None:
            return list_data_collate([self._one(item) for item in drawn])
        with torch.cuda.stream(self.stream):
            batch = list_data_collate([self._one(item) for item in drawn])
        self.stream.synchronize()
        for value in batch.values():
            if isinstance(value, torch.Tensor) and value.is_cuda:
                value.record_stream(torch.cuda.default_stream(self.on))  # it is used on another than made
        return batch

    def _one(self, item: Mapping[str, Any]) -> Any:
        moved = {
            key: value.to(self.on, non_blocking=True) if key in self.patch.keys else value
            for key, value in item.items()
        }
        return self.rest(self.patch.finish(moved))


def _as_they_are(items: Sequence[Any]) -> Sequence[Any]:
    """Parts of images differ in size, and are not stacked."""
    return items
