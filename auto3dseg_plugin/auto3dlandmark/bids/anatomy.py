# SPDX-License-Identifier: Apache-2.0
"""The anatomical images of a BIDS dataset.

Source: the Brain Imaging Data Structure, 1.10: ``sub-LABEL/[ses-LABEL/]anat/ENTITIES_SUFFIX.nii.gz``.
"""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

from ..data.images import case_id
from ..errors import LandmarkError

__all__ = ["anatomical_images", "suffix_of"]

PLACES = ("sub-*/anat", "sub-*/ses-*/anat")
NIFTI = (".nii.gz", ".nii")
SUFFIX = re.compile(r"[A-Za-z0-9]+")


def anatomical_images(dataset: str | os.PathLike, suffix: str = "T1w") -> list[Path]:
    """
    Images of one kind, sorted; those below ``derivatives`` and ``sourcedata`` are none of the dataset's own.

    Args:
        dataset: its root, where the folders ``sub-LABEL`` lie.
        suffix: the last word of the files' names.

    Raises:
        LandmarkError: when there are none, or an image is there twice.
    """
    root = Path(dataset)
    if not SUFFIX.fullmatch(suffix):
        raise LandmarkError(f"suffix={suffix!r} must be the last word of the files' names, as in T1w.")
    files = [path for place in PLACES for path in root.glob(f"{place}/sub-*") if path.name.endswith(NIFTI)]
    found = sorted(path for path in files if suffix_of(path) == suffix)
    if not found:
        there = sorted({suffix_of(path) for path in files})
        hint = (
            f"Its images end in {', '.join(there)}: choose one by --suffix."
            if there
            else "Is it a BIDS dataset?"
        )
        raise LandmarkError(f"{root}: holds no sub-*/[ses-*/]anat/*_{suffix}.nii.gz. {hint}")
    for one, other in itertools.pairwise(found):
        if case_id(one) == case_id(other):
            raise LandmarkError(f"{one}: is there again, as {other}. Keep one of them.")
    return found


def suffix_of(image: Path) -> str:
    """
    The last word of an image's name: ``T1w`` of ``sub-01_run-1_T1w.nii.gz``.
    """
    return (case_id(image) or image.name).rpartition("_")[2]
