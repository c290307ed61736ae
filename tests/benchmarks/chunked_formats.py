# SPDX-License-Identifier: Apache-2.0
"""Milliseconds of reading a part of an image on disk, and megabytes, by format: why the store is as it is.

    pip install zarr && python tests/benchmarks/chunked_formats.py

Smooth noise in half precision, one thread, files in the system's cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fire
import numpy as np
from scipy.ndimage import gaussian_filter

from auto3dlandmark.store.chunked_image import ChunkedImage, write_chunked

PARTS = ((64, 224, 160), (128, 128, 128))
Read = Callable[[Sequence[slice]], Any]


def in_store(image: np.ndarray, folder: Path, chunk: int) -> Read:
    """As the store keeps it."""
    path = folder / "image.b2nd"
    write_chunked(path, image[None], np.eye(4))
    return lambda part: ChunkedImage(path).box([one.start for one in part], [one.stop for one in part])


def in_zarr(image: np.ndarray, folder: Path, chunk: int) -> Read:
    """Chunks as they are, which zarr reads faster than packed ones."""
    import zarr

    path = str(folder / "image.zarr")
    kept = zarr.create_array(path, shape=image.shape, dtype="f2", chunks=(chunk,) * 3, compressors=None)
    kept[:] = image
    return lambda part: zarr.open_array(path, mode="r")[tuple(part)]


def mapped(image: np.ndarray, folder: Path, chunk: int) -> Read:
    """One file without chunks, mapped into the memory; only what is in the cache is this fast."""
    path = folder / "image.npy"
    np.save(path, image)
    return lambda part: np.array(np.load(path, mmap_mode="r")[tuple(part)])


def main(size: Sequence[int] = (400, 400, 300), repeats: int = 12, chunk: int = 64) -> None:
    """
    Print the table.

    Args:
        size: voxels of the image.
        repeats: parts that are read, anywhere.
        chunk: voxels a side of zarr's chunks; the store has its own.
    """
    random = np.random.default_rng(0)
    smooth = gaussian_filter(random.normal(size=size).astype(np.float32), 3)
    image = (smooth / smooth.std() + 0.1 * random.normal(size=size)).astype(np.float16)
    for name, make in {"store (blosc2)": in_store, "zarr": in_zarr, "mapped": mapped}.items():
        with TemporaryDirectory() as place:
            try:
                read = make(image, Path(place), chunk)
            except ImportError as error:
                print(f"{name:16} {error}")
                continue
            megabytes = sum(file.stat().st_size for file in Path(place).rglob("*") if file.is_file()) / 1e6
            seconds = []
            for number in range(repeats):
                part = PARTS[number % len(PARTS)]
                low = [int(random.integers(0, whole - length + 1)) for whole, length in zip(size, part)]
                began = time.perf_counter()
                read([slice(first, first + length) for first, length in zip(low, part)])
                seconds.append(time.perf_counter() - began)
            print(f"{name:16}{1e3 * np.mean(seconds):8.1f} ms{megabytes:8.0f} MB", flush=True)


if __name__ == "__main__":
    fire.Fire(main)
