# SPDX-License-Identifier: Apache-2.0
"""Landmarks as a BIDS derivative: a dataset of its own, whose files are named after the images they are of.

Of ``sub-01/ses-1/anat/sub-01_ses-1_run-1_T1w.nii.gz`` it holds, in ``sub-01/ses-1/anat/``,
``sub-01_ses-1_run-1_space-T1w_desc-auto3dlandmark_afids.mrk.json`` with all that is known, and the same as
``.fcsv`` for AFIDs' tools. Landmarks that are not the AFIDs get the last word ``landmarks`` instead.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..data.images import case_id
from ..errors import LandmarkError
from ..files import read_json, write_json, write_text
from ..formats import write_landmarks
from ..formats.brain_fiducials import are_afids, write_afids
from ..landmarks import LandmarkSet
from .anatomy import suffix_of

__all__ = ["Derivatives"]

BIDS_VERSION = "1.10.0"
DESCRIPTION, IGNORE = "dataset_description.json", ".bidsignore"
MADE_BY = "auto3dlandmark"
BESIDE = ("predictions.*", "failed.csv", "report.html", "templates.json", "*_landmarks.*", "*_afids.*")


class Derivatives:
    """
    The files of a derivative, as :func:`auto3dlandmark.inference.batch.predict_batch` asks for them.

    Args:
        dataset: the root of the BIDS dataset that the images are of.
        names: of the landmarks.
    """

    def __init__(self, dataset: str | os.PathLike, names: Sequence[str]) -> None:
        self.dataset = Path(dataset)
        self.afids = are_afids(names)

    def begin(self, folder: str | os.PathLike) -> None:
        """
        Describe the derivative.

        Raises:
            LandmarkError: when the folder is a dataset that somebody else made, such as the images' own.
        """
        path = Path(folder) / DESCRIPTION
        if path.is_file():
            made_by = read_json(path).get("GeneratedBy") or [{}]
            if made_by[0].get("Name") != MADE_BY:
                raise LandmarkError(
                    f"{path}: describes another dataset. Give the landmarks a folder of their own, such as "
                    f"{self.dataset / 'derivatives' / MADE_BY}."
                )
        write_json(
            path,
            {
                "Name": "Landmarks",
                "BIDSVersion": BIDS_VERSION,
                "DatasetType": "derivative",
                "GeneratedBy": [{"Name": MADE_BY, "Version": __version__}],
            },
        )
        write_text(path.with_name(IGNORE), "".join(f"{pattern}\n" for pattern in BESIDE))

    def paths(self, folder: Path, image: Path) -> tuple[Path, ...]:
        """Where the landmarks of an image go; the first file holds all that is known."""
        place = folder / image.parent.relative_to(self.dataset)
        suffix = suffix_of(image)
        entities = [part for part in (case_id(image) or "").split("_")[:-1] if not part.startswith("desc-")]
        if not any(part.startswith("space-") for part in entities):
            entities.append(f"space-{suffix}")
        stem = "_".join([*entities, f"desc-{MADE_BY}", "afids" if self.afids else "landmarks"])
        return place / f"{stem}.mrk.json", place / f"{stem}.fcsv"

    def write(self, path: Path, landmarks: LandmarkSet) -> None:
        """Write one of those files."""
        if self.afids and path.suffix == ".fcsv":
            write_afids(path, landmarks)
        else:
            write_landmarks(path, landmarks)
