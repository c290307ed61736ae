# SPDX-License-Identifier: Apache-2.0
"""AFIDs: 32 anatomical fiducials in brain T1 MRI, from four sites.

Points are named by the column ``label``, 1 to 32; the column ``id`` says something else in some files.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from ...errors import LandmarkError
from ...formats import read_landmarks
from ...landmarks import LandmarkSet
from .source import RawCase, Source, present_file, published_split

__all__ = ["find_afids"]

NAMES = tuple(str(number) for number in range(1, 33))
FIRST_OF_PAIRS = (
    6,
    8,
    12,
    15,
    17,
    21,
    23,
    25,
    27,
    29,
    31,
)  # each the right one, the next number its left partner
# The sites name their images differently, so the name tells the site.
SITES = {
    "_acq-MP2RAGE_run-01": "SNSX",
    "_acq-MP2RAGE": "AFIDs-HCP",
    "_run-01": "LHSCPD",
    "": "AFIDs-OASIS",
}
IMAGE = re.compile(r"(sub-[A-Za-z0-9]+)((?:_acq-MP2RAGE)?(?:_run-01)?)_T1w\.nii\.gz")
LABEL = re.compile(r"\D*(\d+)\D*")


def find_afids(folder: Path) -> Source:
    """
    All cases below a folder that holds one site's BIDS dataset, or several.
    """
    cases = {}
    for path in sorted(folder.rglob("sub-*/anat/*_T1w.nii.gz")):
        match = IMAGE.fullmatch(path.name)
        if match and "derivatives" not in path.relative_to(folder).parts:
            subject, kind = match.groups()
            in_truth = kind if SITES[kind] == "SNSX" else ""
            cases[f"{SITES[kind]}_{subject}"] = partial(_read, path, subject, in_truth)
    training, testing = published_split("afids")
    return Source(
        NAMES,
        cases,
        training,
        testing,
        "sub-X/anat/sub-X*_T1w.nii.gz with derivatives/afids_groundtruth/sub-X/anat/*_afids.fcsv, of HCP, "
        "OASIS, "
        "LHSCPD (OpenNeuro ds004471) or SNSX (ds004470).",
        pairs=[(str(right + 1), str(right)) for right in FIRST_OF_PAIRS],
    )


def _read(image: Path, subject: str, kind: str) -> RawCase:
    truth = image.parents[2] / "derivatives" / "afids_groundtruth" / subject / "anat"
    path = present_file(truth / f"{subject}{kind}_space-T1w_desc-groundtruth_afids.fcsv")
    found = read_landmarks(path)
    names = []
    for label in found.names:
        match = LABEL.fullmatch(label)
        if match is None or match.group(1) not in NAMES:
            raise LandmarkError(f"{path}: the label {label!r} is not one of 1 to 32.")
        names.append(match.group(1))
    missing = [name for name in NAMES if name not in names]
    if missing:
        raise LandmarkError(f"{path}: lacks the labels {', '.join(missing)}.")
    try:
        return RawCase(present_file(image), LandmarkSet(names, found.points, found.status))
    except LandmarkError as error:
        raise LandmarkError(f"{path}: {error}") from error
