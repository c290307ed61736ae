# SPDX-License-Identifier: Apache-2.0
"""
An image as it is sent to browsers and to Slicer: one file, with one geometry that all of them read alike.

A NIfTI file holds its geometry twice; readers that choose the other one would show it elsewhere, and points
would be placed there.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ..checks.isolated import answer_elsewhere, print_answer
from ..data.images import case_id, is_nifti, read_image
from ..files import atomic_path, digest

__all__ = ["gzipped", "image_mark", "is_compressed", "sent_file", "sent_name"]

SUFFIX = ".nii.gz"
IN_PARTS = ".mhd"  # a header beside its voxels
KINDS = ("u1", "i2", "i4", "u2", "i1", "u4", "f4", "f8")  # of numbers, that NIfTI has and browsers show
MOST_KEPT = 8
BLOCK = 2**20
LEVEL = 1  # of the compression: a network is the slower one only where it is slow


def image_mark(path: Path) -> str:
    """A name for an image's content as it is now; of a folder, for that of its files."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        return digest([(file.name, image_mark(file)) for file in files])
    found = path.stat()
    return f"{found.st_size:x}-{found.st_mtime_ns:x}"


def sent_name(path: Path, nifti: bool = False) -> str:
    """
    What the file is called that is sent for an image.

    Args:
        nifti: as for :func:`sent_file`.
    """
    return path.name if _as_it_is(path, nifti) else f"{case_id(path) or path.name}{SUFFIX}"


def sent_file(path: Path, kept: Path, nifti: bool = False) -> Path:
    """
    The file to send for an image: itself where that will do, or a NIfTI file that is made of it once.

    Args:
        path: a file, or the folder of a DICOM series or of channels, which become the fourth axis.
        kept: a folder, for files that were made; the last few stay there.
        nifti: whoever asks reads NIfTI alone, and may choose the other one of two geometries.

    Raises:
        LandmarkError: when the image cannot be read.
    """
    if _as_it_is(path, nifti):
        return path
    place = kept / f"{digest([str(path), image_mark(path)])}{SUFFIX}"
    if not place.is_file():
        answer_elsewhere(__name__, path, str(place))
        made = sorted(kept.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime)
        for old in made[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
    return place


def is_compressed(path: Path) -> bool:
    """Whether a file is not worth compressing on the way: all but .nii."""
    return path.suffix.lower() != ".nii"


def gzipped(path: Path) -> Iterator[bytes]:
    """A file's content, compressed as it is read."""
    packer = zlib.compressobj(LEVEL, wbits=31)
    with open(path, "rb") as stream:
        while block := stream.read(BLOCK):
            yield packer.compress(block)
    yield packer.flush()


def _as_it_is(path: Path, nifti: bool) -> bool:
    if path.is_dir() or path.name.lower().endswith(IN_PARTS):
        return False
    return not nifti or (is_nifti(path) and _is_plain(path))


def _is_plain(path: Path) -> bool:
    """Whether all readers agree about a NIfTI file; one that cannot be read is told when it is made plain."""
    try:
        image: Any = nib.load(path)
        sform, qform = int(image.header["sform_code"]), int(image.header["qform_code"])
        kind = image.header.get_data_dtype().str[1:]
    except Exception:
        return False
    return sform > 0 and sform >= qform and kind in KINDS and 3 <= len(image.shape) <= 4


def write_plain(path: Path, place: Path) -> None:
    """Write an image as a NIfTI file whose only geometry is ours."""
    array, affine = read_image(path)
    if array.dtype.str[1:] not in KINDS:
        array = array.astype(np.uint8 if array.dtype == bool else np.float32)
    image = nib.Nifti1Image(array, None)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(None, code=0)
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(place) as temporary, gzip.open(temporary, "wb", compresslevel=LEVEL) as stream:
        image.to_file_map(image.make_file_map({"image": stream}))


def main(path: str, place: str) -> None:
    """The process of :func:`sent_file`."""
    print_answer(lambda: write_plain(Path(path), Path(place)))


if __name__ == "__main__":
    main(*sys.argv[1:])
