# SPDX-License-Identifier: Apache-2.0
"""Datasets that are made or converted into our dataset folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import LandmarkError
from .afids import find_afids
from .feta import find_feta
from .lfc import find_lfc
from .mml import find_mml
from .nnlandmark_raw import find_nnlandmark
from .pddca import find_pddca
from .source import Source, write_dataset

__all__ = ["CONVERTERS", "convert"]

CONVERTERS: dict[str, Callable[..., Source]] = {
    "afids": find_afids,
    "mml": find_mml,
    "pddca": find_pddca,
    "feta": find_feta,
    "lfc": find_lfc,
    "nnlandmark": find_nnlandmark,
}


def convert(
    name: str, source: str | os.PathLike, output: str | os.PathLike, progress: bool = True, **options: Any
) -> dict[str, list[str]]:
    """
    Convert a public benchmark, as it is downloaded, into a dataset folder with the published split.

    Args:
        name: one of ``CONVERTERS``.
        source: the downloaded folder.
        output: the dataset folder to make.
        options: of the converter, such as ``complete`` of ``mml``.

    Returns:
        as :func:`auto3dlandmark.data.published.source.write_dataset`.

    Raises:
        LandmarkError: for an unknown name, a source without cases, or an output that is there already.
    """
    if name not in CONVERTERS:
        raise LandmarkError(f"dataset {name!r} is unknown. Choose one of {', '.join(CONVERTERS)}.")
    folder = Path(source)
    if not folder.is_dir():
        raise LandmarkError(f"{folder}: there is no such folder. Give the folder of the downloaded dataset.")
    try:
        return write_dataset(CONVERTERS[name](folder, **options), output, progress)
    except LandmarkError as error:
        raise error if str(folder) in str(error) else LandmarkError(f"{folder}: {error}") from error
