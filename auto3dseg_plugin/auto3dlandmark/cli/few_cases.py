# SPDX-License-Identifier: Apache-2.0
"""The commands for those who have annotated next to nothing yet."""

from __future__ import annotations

from pathlib import Path

from ..data.folder import find_images
from ..errors import LandmarkError
from .arguments import positive
from .main_job import suffixes_of, tell, told

__all__ = ["transfer"]


def transfer(
    *templates_images_out: str,
    choose: int | None = None,
    jobs: int = 1,
    format: str = "mrk.json",
    overwrite: bool = False,
    landmarks: str | None = None,
) -> None:
    """
    Lay landmarks onto other images by registration: TEMPLATES IMAGES OUT.

    Every point comes with a radius; a case whose templates disagree, or of which another pose fits nearly as
    well, is named. With three templates or more their median is taken, and radii are learnt from laying the
    templates onto each other. What was made before is kept; a broken image does not stop the others.
    'transfer IMAGES --choose 3' names the images to annotate first.

    Args:
        templates_images_out: a folder of images with landmarks; a folder of images, or one image; and the
            folder that gets one file of each image, predictions.csv, report.html with a picture of each, and
            failed.csv where something failed.
        choose: name so many images that the others are most like, and do nothing else.
        jobs: how many images are registered at the same time.
        format: of the files: mrk.json, fcsv or csv, or several: mrk.json,csv.
        overwrite: do again whatever is there.
        landmarks: which landmark files of TEMPLATES, where there are several for an image.
    """
    if choose is not None:
        if len(templates_images_out) != 1:
            raise LandmarkError("transfer --choose takes one argument: IMAGES.")
        _choose(templates_images_out[0], choose)
        return
    if len(templates_images_out) != 3:
        raise LandmarkError("transfer takes three arguments: TEMPLATES IMAGES OUT.")
    templates, images, out = templates_images_out
    found, suffixes = find_images(images), suffixes_of(format)
    positive("jobs", jobs)
    from ..data.datalist import scan_folder
    from ..data.folder import prediction_path
    from ..inference.batch import predict_batch
    from ..inference.transferring import TransferMaker
    from ..reports.pictures import write_pictures

    listed = scan_folder(templates, landmarks=landmarks)
    annotated = [case for case in (*listed.training, *listed.testing) if case.label is not None]
    if not annotated:
        raise LandmarkError(f"{templates}: has no annotated image. Annotate one, and name its folder.")
    maker = TransferMaker(annotated, listed.landmark_names, Path(out) / "templates.json")
    maker.compare()
    report = predict_batch(maker, found, out, suffixes, overwrite, jobs, say=tell)
    pairs = [(Path(image), prediction_path(out, image, suffixes[0])) for image in found]
    advice = "Rings are the points. Correct what is wrong, in Slicer or by 'auto3dlandmark serve', and train."
    page, title = Path(out) / "report.html", f"Landmarks of {len(annotated)} annotated images on others"
    write_pictures(page, title, pairs, advice)
    print(f"pictures: {page}")
    told(report, len(found), out, "templates disagree, or another pose fits nearly as well")


def _choose(images: str, count: int) -> None:
    found = find_images(images)
    if not 1 <= count <= len(found):
        raise LandmarkError(
            f"choose={count} must be a whole number from 1 to {len(found)}, the images there."
        )
    from ..registration.choosing import representative

    for number, stands_for in representative(found, count):
        print(f"annotate {found[number]}: {stands_for} of {len(found)} images are most like it")
