# SPDX-License-Identifier: Apache-2.0
"""The commands for those who have annotated next to nothing yet."""

from __future__ import annotations

from pathlib import Path

from ..data.folder import find_images
from ..errors import LandmarkError
from .arguments import positive
from .main_job import tell, told

__all__ = ["transfer"]


def transfer(
    templates: str,
    images: str,
    out: str,
    jobs: int = 1,
    format: str = "mrk.json",
    overwrite: bool = False,
    landmarks: str | None = None,
) -> None:
    """
    Lay the landmarks of one or several annotated images onto others, by registration, without training.

    Every point comes with a radius; a case whose templates disagree, or of which another pose fits nearly as
    well, is named. With three templates or more their median is taken, and radii are learnt from laying the
    templates onto each other. What was made before is kept; a broken image does not stop the others.

    Args:
        templates: a folder of images with landmarks.
        images: a folder of images, or one image.
        out: gets one file of each image, predictions.csv, and failed.csv where something failed.
        jobs: how many images are registered at the same time.
        format: of the files: mrk.json, fcsv or csv, or several: mrk.json,csv.
        overwrite: do again whatever is there.
        landmarks: which landmark files of TEMPLATES, where there are several for an image.
    """
    positive("jobs", jobs)
    found = find_images(images)
    from ..data.datalist import scan_folder
    from ..inference.batch import predict_batch
    from ..inference.transferring import TransferMaker

    listed = scan_folder(templates, landmarks=landmarks)
    annotated = [case for case in (*listed.training, *listed.testing) if case.label is not None]
    if not annotated:
        raise LandmarkError(f"{templates}: has no annotated image. Annotate one, and name its folder.")
    maker = TransferMaker(annotated, listed.landmark_names, Path(out) / "templates.json")
    maker.compare()
    suffixes = [f".{kind.strip().lstrip('.')}" for kind in format.split(",")]
    told(predict_batch(maker, found, out, suffixes, overwrite, jobs, say=tell), len(found), out)
