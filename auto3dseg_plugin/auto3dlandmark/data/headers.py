# SPDX-License-Identifier: Apache-2.0
"""The header of an image file, read strictly and by ourselves before any library opens the file.

A file may come from anybody. Its header says how large the image is; what it claims is held against the file
and a limit, so that eighty bytes cannot ask for gigabytes, and headers that lead to other files are refused.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib

from ..errors import LandmarkError

__all__ = ["MOST_VOXELS", "Header", "check_header", "read_header"]

HEADER_BYTES = 2**20
MOST_VOXELS = int(os.environ.get("AUTO3DLANDMARK_MOST_VOXELS", 2**30))
MOST_COMPRESSION = 1100  # of deflate; a file cannot hold more than so many times its size
NRRD_MAGIC = re.compile(rb"NRRD000[1-5]")
NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4
    ),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8
    ),
    **dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8),
    **dict.fromkeys(("uint64", "uint64_t", "double"), 8),
    "float": 4,
}
RAW, GZIP = ("raw",), ("gzip", "gz")
DETACHED = ("data file", "datafile")
META_TYPES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 8, "ULONG": 8}
META_TYPES |= {"LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}


@dataclass(frozen=True)
class Header:
    """
    What an image file claims to be.

    Args:
        sizes: voxels along each axis, channels included, in the order of the file.
        voxel_bytes: of one number.
        compressed: whether the file may be smaller than what it holds.
        data_bytes: of the file behind the header; None when they lie in another file.
    """

    sizes: tuple[int, ...]
    voxel_bytes: int
    compressed: bool
    data_bytes: int | None

    @property
    def voxels(self) -> int:
        """How many numbers the image holds."""
        return math.prod(self.sizes)


def check_header(path: str | os.PathLike, most_voxels: int | None = None) -> None:
    """
    Stop at a file whose header is not one of an image that can be opened.

    Args:
        path: NIfTI, NRRD or MetaImage; another kind of file is left to its reader.
        most_voxels: left out, ``MOST_VOXELS``.

    Raises:
        LandmarkError: when the header is broken, claims more than the file can hold or than the limit, or
            leads to another file.
    """
    path = Path(path)
    header = read_header(path)
    if header is None:
        return
    limit = MOST_VOXELS if most_voxels is None else most_voxels
    if not 3 <= len(header.sizes) <= 5 or min(header.sizes) < 1:
        raise LandmarkError(
            f"{path}: the image has shape {header.sizes}, not that of a 3D volume. Export a volume."
        )
    if header.voxels > limit:
        raise LandmarkError(
            f"{path}: its header claims {_by(header)} voxels; {limit} are the most that are opened. Crop it, "
            "or "
            "raise the limit by the variable AUTO3DLANDMARK_MOST_VOXELS."
        )
    if header.data_bytes is not None:
        holds = header.data_bytes * (MOST_COMPRESSION if header.compressed else 1)
        if header.voxels * header.voxel_bytes > holds:
            raise _broken(path, f"claims {_by(header)} voxels, more than the file can hold: it is cut off")


def read_header(path: str | os.PathLike) -> Header | None:
    """
    Raises:
        LandmarkError: when it is broken, or leads to another file where the format has one file.
    """
    name = str(path).lower()
    if name.endswith(".nrrd"):
        return _nrrd(Path(path))
    if name.endswith((".mha", ".mhd")):
        return _meta_image(Path(path))
    return _nifti(Path(path)) if name.endswith((".nii", ".nii.gz")) else None


def _broken(path: Path, what: str) -> LandmarkError:
    return LandmarkError(f"{path}: cannot be read as an image: its header {what}. Copy or export it again.")


def _nrrd(path: Path) -> Header:
    with open(path, "rb") as stream:
        head = stream.read(HEADER_BYTES)
    if not NRRD_MAGIC.match(head):
        raise _broken(path, "is not that of a NRRD file")
    lines, length = _lines(path, head)
    fields: dict[str, str] = {}
    for line in lines[1:]:
        if line.startswith("#") or ":=" in line:
            continue
        key, colon, value = line.partition(": ")
        key = key.strip().lower()
        if line.partition(":")[0].strip().lower() in DETACHED:
            raise LandmarkError(f"{path}: keeps its voxels in another file. Save it as one file.")
        if not colon or not re.fullmatch(r"[a-z][a-z0-9 ]*", key):
            raise _broken(path, f"has the line {line[:60]!r}")
        if key in fields:
            raise _broken(path, f"states {key!r} twice")
        fields[key] = value.strip()
    try:
        sizes = tuple(int(size) for size in fields["sizes"].split())
        dimension, voxel_bytes = int(fields["dimension"]), NRRD_TYPES[fields["type"].lower()]
        encoding = fields["encoding"].lower()
    except (KeyError, ValueError) as error:
        raise _broken(path, f"lacks or misstates {error}") from error
    if dimension != len(sizes) or not 3 <= dimension <= 4:
        raise _broken(path, f"claims {dimension} dimensions with {len(sizes)} sizes, not a 3D volume")
    if encoding not in (*RAW, *GZIP):
        raise _broken(path, f"has the encoding {encoding!r}; raw and gzip are read")
    return Header(sizes, voxel_bytes, encoding in GZIP, path.stat().st_size - length)


def _lines(path: Path, head: bytes) -> tuple[list[str], int]:
    """The lines up to the first empty one, and how many bytes they take."""
    lines: list[str] = []
    at = 0
    while True:
        end = head.find(b"\n", at)
        if end < 0:
            raise _broken(path, "has no end")
        line = head[at:end].removesuffix(b"\r")
        at = end + 1
        if not line:
            return lines, at
        # A lone carriage return ends a line for some readers, and would hide a field from us.
        if any(byte < 32 and byte != 9 for byte in line):
            raise _broken(path, "holds control characters")
        lines.append(line.decode("utf-8", "replace"))


def _meta_image(path: Path) -> Header:
    with open(path, "rb") as stream:
        head = stream.read(HEADER_BYTES)
    fields: dict[str, str] = {}
    at = 0
    while "elementdatafile" not in fields:
        end = head.find(b"\n", at)
        if end < 0:
            raise _broken(path, "has no end")
        line = head[at:end].decode("utf-8", "replace").strip()
        key, equals, value = line.partition("=")
        at = end + 1
        if equals:
            fields[key.strip().lower()] = value.strip()
        elif line:
            raise _broken(path, f"has the line {line[:60]!r}")
    try:
        sizes = tuple(int(size) for size in fields["dimsize"].split())
        voxel_bytes = META_TYPES[fields["elementtype"].upper().removeprefix("MET_").removesuffix("_ARRAY")]
        channels = int(fields.get("elementnumberofchannels", "1"))
    except (KeyError, ValueError) as error:
        raise _broken(path, f"lacks or misstates {error}") from error
    local = fields["elementdatafile"].upper() == "LOCAL"
    compressed = fields.get("compresseddata", "").lower() == "true"
    data_bytes = path.stat().st_size - at if local else None
    return Header((*sizes, channels) if channels > 1 else sizes, voxel_bytes, compressed, data_bytes)


def _nifti(path: Path) -> Header:
    try:
        header = nib.load(path).header  # nibabel's is Python, and reads no voxel
        sizes, voxel_bytes = header.get_data_shape(), int(header["bitpix"]) // 8  # type: ignore[attr-defined, index]
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise LandmarkError(
            f"{path}: cannot be read as an image ({reason}). Copy or export it again."
        ) from error
    compressed = path.name.lower().endswith(".gz")
    return Header(tuple(int(size) for size in sizes), max(1, voxel_bytes), compressed, path.stat().st_size)


def _by(header: Header) -> str:
    return " x ".join(map(str, header.sizes))
