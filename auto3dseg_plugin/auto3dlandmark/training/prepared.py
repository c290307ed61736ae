# SPDX-License-Identifier: Apache-2.0
"""The cases of a training, prepared once: all that is not drawn at random is done before the first step.

Few cases stay in memory. Many go to a folder, in a file each, and of these only what a patch shows is read.
"""

from __future__ import annotations

import copy
import io
import os
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import psutil
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, Dataset, MetaTensor, PersistentDataset
from monai.transforms import Compose, Transform
from monai.transforms.traits import RandomizableTrait
from tqdm import tqdm

from ..data.images import case_id, read_geometry
from ..errors import LandmarkError
from ..files import digest, files_digest, readable_write_errors
from ..store.chunked_image import ChunkedImage, write_chunked
from ..transforms.framing import FIELD
from .workers import cores

__all__ = ["VERSION", "Prepare", "PreparedCases", "StoredCases", "fill_store", "is_random"]

VERSION = 1  # of prepared cases; another one prepares all anew
IMAGE = "image"
THREADS = 2  # that prepare cases for the memory at the same time
BYTES_PER_VOXEL = 40  # of an image while it is prepared: a few copies in 32 bits, some of them resampled
KEPT_META = ("filename_or_obj", FIELD)  # of what is known of an image


class Prepare(Transform):
    """
    The steps of a pipeline that give the same result each time, as one step.

    Args:
        steps: of a dictionary.
        lazy: as of :class:`monai.transforms.Compose`.
    """

    def __init__(self, steps: Sequence[Any], lazy: bool | None = False) -> None:
        self.steps = Compose(list(steps), lazy=lazy)

    def __call__(self, data: Mapping[Hashable, Any]) -> Any:
        return self.steps(data)


class PreparedCases(Dataset):
    """
    A dataset that does a pipeline's steps before the first random one only once for each case.

    MONAI's caches stop at the first :class:`Compose` inside the pipeline, which might hold something random;
    here it is opened and looked at.

    Args:
        data: the cases, as dictionaries of paths.
        transform: the whole pipeline; afterwards the attribute has a :class:`Prepare` step, and then what is
            drawn each time.
        store: a folder for prepared cases; left out, they stay in memory.
        made_by: what else decides how a case looks then, such as the weights of a network that framed it.

    Raises:
        LandmarkError: when a case cannot be prepared, or the folder not be written to.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Compose,
        store: str | os.PathLike | None = None,
        made_by: Any = None,
    ) -> None:
        first = next((place for place, step in enumerate(transform.transforms) if is_random(step)), None)
        same = transform.transforms[:first]
        # Steps note things when they are run, training and validation share them, and files are named after
        # them.
        prepare = Prepare(same if store is None else copy.deepcopy(same), transform.lazy)
        drawn = [] if first is None else transform.transforms[first:]
        whole = Compose([prepare, *drawn], lazy=transform.lazy)
        self.kept: Dataset
        if store is None:
            # What is drawn of a case is made anew, and leaves the case as it is.
            self.kept = CacheDataset(data, whole, num_workers=THREADS, progress=False, copy_cache=False)
        else:
            self.kept = StoredCases(data, whole, store, made_by)
        super().__init__(data, whole)

    @property
    def transform(self) -> Compose:
        """What is done to a case each time, after :class:`Prepare`, which is not done again."""
        return self.kept.transform

    @transform.setter
    def transform(self, transform: Compose) -> None:
        self.kept.transform = transform

    def _transform(self, index: int) -> Any:
        return self.kept._transform(index)


def fill_store(config: str | os.PathLike, settings: Mapping[str, Any]) -> None:
    """
    Prepare the cases of a training that keeps them on disk, so that none of its minutes are spent on it.

    Args:
        config: train.json.
        settings: config ids and values that replace its own.

    Raises:
        LandmarkError: as :class:`StoredCases` does.
    """
    parser = ConfigParser()
    parser.read_config(config)
    parser.update(dict(settings))
    if parser.get_parsed_content("store", default=None) is not None:
        for part in ("train", "validate"):
            parser.get_parsed_content(f"{part}#dataset")


def is_random(step: Any) -> bool:
    """Whether a step of a pipeline, or one inside it, gives another result each time."""
    if type(step) is Compose:
        return any(is_random(inside) for inside in step.transforms)
    return isinstance(step, RandomizableTrait) or not isinstance(step, Transform)


class StoredCases(PersistentDataset):
    """
    Cases whose images lie prepared in a folder, for all trainings that prepare them in the same way.

    The folder is filled when the dataset is made, by several threads; what is there already is taken. A case
    is there whole or not at all, and is found by what it was made from: the files of image and landmarks,
    and the steps. Several processes may fill one folder.

    Args:
        data: dictionaries that hold the path of an image under ``image`` and may hold that of landmarks
            under ``label``.
        transform: a :class:`Prepare` step, and then what is drawn each time. When the first of these takes
            chunked images (``reads_chunks``), it gets the file, else the whole image.
        folder: made when it is not there.
        made_by: as for :class:`PreparedCases`.

    Raises:
        LandmarkError: when a case cannot be prepared, or the disk is too full for all of them.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Compose,
        folder: str | os.PathLike,
        made_by: Any = None,
    ) -> None:
        self.folder = Path(folder).resolve()
        super().__init__(data, transform, None)
        steps = transform.transforms
        self.takes_chunks = len(steps) > 1 and bool(getattr(steps[1], "reads_chunks", False))
        self._how = digest([VERSION, state_of(steps[0]), state_of(made_by)])
        self._files = [self._file(item) for item in data]
        self.fill()

    def _file(self, item: Mapping[str, Any]) -> Path:
        """Where a case lies when it has been prepared."""
        what = {key: value for key, value in item.items() if isinstance(value, (str, int, float))}
        state = files_digest(path for path in (item[IMAGE], item.get("label")) if path)
        name = case_id(item[IMAGE]) or Path(item[IMAGE]).name
        return self.folder / f"{name}.{digest([self._how, what, state])}.b2nd"

    def fill(self) -> None:
        """
        Prepare the cases that are not there yet, after saying how much of the disk they will take.
        """
        if all(file.is_file() for file in self._files):
            return
        with readable_write_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.folder / ".lock"):  # another training may prepare the same cases now
            for left in self.folder.glob(".*.b2nd.*.tmp"):  # of a process that was killed
                left.unlink(missing_ok=True)
            missing = [number for number, file in enumerate(self._files) if not file.is_file()]
            if not missing:
                return
            voxels = [_voxels(self.data[number][IMAGE]) for number in missing]
            bar = tqdm(total=len(missing), desc="prepare", unit="image", file=sys.stderr)
            with bar:
                self._prepare(missing[0])
                bar.update()
                self._announce(missing, voxels, bar)
                for _ in _in_threads(self._prepare, missing[1:], max(voxels)):
                    bar.update()

    def _announce(self, missing: Sequence[int], voxels: Sequence[int], bar: tqdm) -> None:
        """Say what the rest will take, judged by the first; stop when there is no room."""
        each = self._files[missing[0]].stat().st_size / voxels[0]
        wanted, free = each * sum(voxels[1:]) / 1e9, psutil.disk_usage(str(self.folder)).free / 1e9
        if wanted > free:
            raise LandmarkError(
                f"{self.folder}: {len(missing) - 1} prepared images need about {wanted:.2g} GB, and "
                f"{free:.2g} GB are free. Make room, or name another place: --store FOLDER."
            )
        bar.write(
            f"prepare: {len(missing)} images, about {each * sum(voxels) / 1e9:.2g} GB in {self.folder} "
            f"({free:.0f} GB free)",
            file=sys.stderr,
        )

    def _prepare(self, number: int) -> None:
        """Prepare one case, and write it."""
        prepared = dict(self.transform(dict(self.data[number]), end=1))
        image = prepared.pop(IMAGE)
        meta = {key: _plain(image.meta[key]) for key in KEPT_META if key in image.meta}
        stream = io.BytesIO()
        torch.save({"meta": meta, "data": {key: _plain(value) for key, value in prepared.items()}}, stream)
        affine = image.affine.cpu().numpy().astype(np.float64)
        write_chunked(self._files[number], image.cpu().numpy(), affine, stream.getvalue())

    def _transform(self, index: int) -> Any:
        image = ChunkedImage(self._files[index])
        kept = torch.load(io.BytesIO(image.more), weights_only=True)
        item = {**kept["data"], IMAGE: image if self.takes_chunks else _whole(image, kept["meta"])}
        return self.transform(item, start=1)


def _whole(image: ChunkedImage, meta: Mapping[str, Any]) -> MetaTensor:
    """All of an image on disk, with what else is known of it."""
    voxels = torch.from_numpy(image.box((0, 0, 0), image.shape[1:]))
    return MetaTensor(voxels, affine=torch.as_tensor(image.affine), meta=dict(meta))


def _plain(value: Any) -> Any:
    """A value as one that can be read again without trusting the file."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, torch.Tensor):
        return value.as_subclass(torch.Tensor).clone()
    if isinstance(value, (tuple, list)):
        return type(value)(_plain(one) for one in value)
    return value


def _voxels(image: str | os.PathLike) -> int:
    """How many voxels an image has, by its header."""
    return int(np.prod(read_geometry(image)[0]))


def _in_threads(prepare: Callable[[int], None], numbers: Sequence[int], voxels: int) -> Iterator[None]:
    """Prepare cases at the same time, as many as there are cores and memory for."""
    memory = psutil.virtual_memory().available // (voxels * BYTES_PER_VOXEL)
    threads = max(1, min(cores(), int(memory)))
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(prepare, number) for number in numbers]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def state_of(thing: Any) -> Any:
    """
    What decides how a step works, as JSON: its class and all it holds, but for the state of random numbers.

    Things that hold much that does not count, such as networks, say themselves what does (``identity``).
    """
    if thing is None or isinstance(thing, (bool, int, float, str, Path)):
        return str(thing) if isinstance(thing, Path) else thing
    if isinstance(thing, Mapping):
        return {str(key): state_of(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [state_of(one) for one in thing]
    if isinstance(thing, (set, frozenset)):
        return sorted(str(one) for one in thing)
    if isinstance(thing, torch.Tensor):
        return state_of(thing.detach().cpu().numpy())
    if isinstance(thing, np.ndarray):
        return [str(thing.dtype), list(thing.shape), thing.tolist()]
    if isinstance(thing, (np.generic, np.dtype, torch.dtype, torch.device, Enum)):
        return str(thing)
    if hasattr(thing, "identity"):
        return [type(thing).__qualname__, thing.identity()]
    if callable(thing) and hasattr(thing, "__qualname__"):
        return f"{thing.__module__}.{thing.__qualname__}"
    if isinstance(thing, np.random.RandomState):
        return None
    inside = {**getattr(thing, "__dict__", {})}
    return [f"{type(thing).__module__}.{type(thing).__qualname__}", state_of(inside)]
