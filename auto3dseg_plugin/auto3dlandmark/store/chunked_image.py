# SPDX-License-Identifier: Apache-2.0
"""One prepared image in one file, cut into chunks: reading a box reads the chunks that it touches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import LandmarkError
from ..files import atomic_path

__all__ = ["ChunkedImage", "write_chunked"]

CHUNK, BLOCK = 64, 32  # voxels a side of what is read and of what is unpacked at once
HALF_MOST = 6e4  # larger values do not fit into 16 bits
ONE_THREAD = {"nthreads": 1}  # images are read by several processes, each of which has one core


class ChunkedImage:
    """
    An image written by :func:`write_chunked`.

    Args:
        path: its file, ``.b2nd``.

    Attributes:
        shape: (C, H, W, D).
        affine: voxel to RAS millimetres, float64, shape (4, 4).
        more: what was kept beside it.

    Raises:
        LandmarkError: when the file cannot be read.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        import blosc2  # half a second, which only large data sets cost

        self.path = Path(path)
        try:
            self._array = blosc2.open(str(self.path), mode="r", dparams=ONE_THREAD)
            self.affine = np.array(self._array.schunk.vlmeta["affine"], dtype=np.float64)
            self.more: bytes = self._array.schunk.vlmeta["more"]
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise self._unreadable(error) from error
        self.shape: tuple[int, ...] = tuple(int(size) for size in self._array.shape)

    def box(self, low: Sequence[int] | np.ndarray, high: Sequence[int] | np.ndarray) -> np.ndarray:
        """
        The voxels of a box, float32, shape (C, *(high - low)).

        Args:
            low, high: its first voxel, and the one after its last, shape (3,).
        """
        part = (slice(None), *(slice(int(first), int(last)) for first, last in zip(low, high)))
        try:
            return np.asarray(self._array[part], dtype=np.float32)
        except (OSError, RuntimeError, ValueError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> LandmarkError:
        return LandmarkError(
            f"{self.path}: a prepared image cannot be read ({error}). Remove this file, and run the same "
            "command again: it is prepared anew."
        )


def write_chunked(path: str | os.PathLike, image: np.ndarray, affine: np.ndarray, more: bytes = b"") -> None:
    """
    Write an image in chunks, whole or not at all; in half precision where its values allow that.

    Args:
        path: ends in ``.b2nd``.
        image: shape (C, H, W, D).
        affine: voxel to RAS millimetres, shape (4, 4).
        more: kept beside it.

    Raises:
        LandmarkError: when the place cannot be written to, or the disk is full.
    """
    import blosc2

    largest = float(max(image.max(), -image.min())) if image.size else 0.0
    values = np.ascontiguousarray(image, dtype=np.float16 if largest <= HALF_MOST else np.float32)
    chunks, blocks = ((1, *(min(side, size) for size in image.shape[1:])) for side in (CHUNK, BLOCK))
    # LZ4 at its lightest, see tests/benchmarks/chunked_formats.py.
    packed = {"codec": blosc2.Codec.LZ4, "clevel": 1, "filters": [blosc2.Filter.BITSHUFFLE], **ONE_THREAD}
    kept = blosc2.asarray(values, chunks=chunks, blocks=blocks, cparams=packed, dparams=ONE_THREAD)
    kept.schunk.vlmeta["affine"] = np.asarray(affine, dtype=np.float64).tolist()
    kept.schunk.vlmeta["more"] = more
    with atomic_path(path) as temporary:
        temporary.write_bytes(kept.to_cframe())
