# SPDX-License-Identifier: Apache-2.0
"""The commands that find landmarks of new images: by trained bundles, or by annotated images alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bids.anatomy import anatomical_images
from ..bids.derivatives import Derivatives
from ..bundles.folder import BundleFolder, common_landmarks
from ..cluster.session import checked_address
from ..data.folder import find_images
from ..errors import LandmarkError
from ..estimates import POSTERIOR_MODES
from ..landmarks import some_names
from .arguments import one_of, positive

if TYPE_CHECKING:
    from ..inference.batch import BatchReport, Files

__all__ = ["predict", "tell", "transfer"]

MOST_UNSURE = 5  # cases and landmarks named after a prediction
MOST_REASONS = 20


def predict(
    *bundles_images_out: str,
    device: str | None = None,
    format: str | None = None,
    bids: bool = False,
    suffix: str = "T1w",
    overwrite: bool = False,
    trust: bool = False,
    posterior: str | None = None,
    tta: bool = False,
    jobs: int = 1,
    cluster: str | bool | None = None,
    list: str | None = None,
    cpus: float = 1,
    gpus: float = 0,
) -> None:
    """
    Find the landmarks of new images: BUNDLE [BUNDLE ...] IMAGES OUT.

    The heatmaps of several bundles are averaged. What the same bundles made of the same image before is kept,
    and so is a prediction that somebody edited. A broken image does not stop the others: it is named at the
    end.

    Args:
        bundles_images_out: folders of trained bundles; a folder of images, or one image; and the folder for
            one file of each image, and predictions.csv with all points.
        device: cpu or cuda:0; left out, a GPU if there is one.
        format: of the files: mrk.json (if left out), fcsv or csv, or several: mrk.json,csv.
        bids: IMAGES is a BIDS dataset, and OUT becomes a BIDS derivative: .mrk.json, and .fcsv, which AFIDs'
            tools read where the landmarks are AFIDs.
        suffix: of the images in a BIDS dataset.
        overwrite: predict again whatever is there, edited predictions too.
        trust: run bundles whose configs hold code from outside the template.
        posterior: whether the landmarks decide together: auto (where held-out cases say that it helps), on
            or off; left out, what the bundle says.
        tta: look at each image turned a little, too, and in a mirror if it was trained with flips: six times
            the work.
        jobs: how many images are predicted at the same time, each by a process with its share of the cores;
            for many images on a machine with many.
        cluster: predict on a Ray cluster: its address, such as head:6379, on one of its machines; alone
            or auto, on one that is started on this machine. All of them see OUT and IMAGES.
        list: with --cluster, a .csv or .parquet file with a column image, of paths or addresses such as
            s3://..., and perhaps one case; IMAGES is left out then.
        cpus: with --cluster, cores of each predictor.
        gpus: with --cluster, GPUs of each predictor; a part of one is allowed.
    """
    address = checked_address(cluster) if cluster else None
    if len(bundles_images_out) < (3 if list is None else 2):
        needed = "three arguments: BUNDLE [BUNDLE ...] IMAGES OUT"
        if list is not None:
            needed = "two arguments with --list: BUNDLE [BUNDLE ...] OUT"
        raise LandmarkError(f"predict takes at least {needed}.")
    one_of("posterior", posterior, POSTERIOR_MODES)
    if address is not None:
        if format is not None or jobs != 1:
            raise LandmarkError(
                "--format and --jobs are not for --cluster: it writes .mrk.json and a Parquet table, by as "
                "many processes as there is room for; --cpus and --gpus say what each takes. Leave them out."
            )
        settings = {"device": device, "trust": trust, "posterior": posterior, "tta": tta}
        _on_cluster(bundles_images_out, address, list, bids, suffix, cpus, gpus, overwrite, settings)
        return
    if list is not None or cpus != 1 or gpus != 0:
        raise LandmarkError("--list, --cpus and --gpus are for --cluster. Leave them out, or add --cluster.")
    *bundles, images, out = bundles_images_out
    found = _images(images, bids, suffix)
    names = common_landmarks([BundleFolder(bundle) for bundle in bundles])
    files = _files(images, out, names, format, bids)
    from ..inference.batch import predict_batch
    from ..inference.parallel import BundleMaker

    maker = BundleMaker(bundles, device, trust, posterior, tta)
    _told(predict_batch(maker, found, out, files, overwrite, jobs, say=tell), len(found), out)


def transfer(
    *templates_images_out: str,
    choose: int | None = None,
    jobs: int = 1,
    format: str | None = None,
    bids: bool = False,
    suffix: str = "T1w",
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
        format: of the files: mrk.json (if left out), fcsv or csv, or several: mrk.json,csv.
        bids: IMAGES is a BIDS dataset, and OUT becomes a BIDS derivative: .mrk.json, and .fcsv, which AFIDs'
            tools read where the landmarks are AFIDs.
        suffix: of the images in a BIDS dataset.
        overwrite: do again whatever is there.
        landmarks: which landmark files of TEMPLATES, where there are several for an image.
    """
    if choose is not None:
        if len(templates_images_out) != 1:
            raise LandmarkError("transfer --choose takes one argument: IMAGES.")
        _choose(_images(templates_images_out[0], bids, suffix), choose)
        return
    if len(templates_images_out) != 3:
        raise LandmarkError("transfer takes three arguments: TEMPLATES IMAGES OUT.")
    templates, images, out = templates_images_out
    found = _images(images, bids, suffix)
    positive("jobs", jobs)
    from ..data.datalist import scan_folder
    from ..inference.batch import predict_batch
    from ..inference.transferring import TransferMaker
    from ..reports.pictures import write_pictures

    listed = scan_folder(templates, landmarks=landmarks)
    annotated = [case for case in (*listed.training, *listed.testing) if case.label is not None]
    if not annotated:
        raise LandmarkError(f"{templates}: has no annotated image. Annotate one, and name its folder.")
    files = _files(images, out, listed.landmark_names, format, bids)
    maker = TransferMaker(annotated, listed.landmark_names, Path(out) / "templates.json")
    maker.compare()
    report = predict_batch(maker, found, out, files, overwrite, jobs, say=tell)
    pairs = [(image, files.paths(Path(out), image)[0]) for image in found]
    advice = "Rings are the points. Correct what is wrong, in Slicer or by 'auto3dlandmark serve', and train."
    page, title = Path(out) / "report.html", f"Landmarks of {len(annotated)} annotated images on others"
    write_pictures(page, title, pairs, advice)
    print(f"pictures: {page}")
    _told(report, len(found), out, "templates disagree, or another pose fits nearly as well")


def _on_cluster(
    bundles_images_out: Sequence[str],
    address: str,
    listed: str | None,
    bids: bool,
    suffix: str,
    cpus: float,
    gpus: float,
    overwrite: bool,
    settings: Mapping[str, Any],
) -> None:
    """As :func:`predict`, on a cluster."""
    from ..cluster.listing import listed_images, listed_in

    positive("cpus", cpus)
    if gpus:
        positive("gpus", gpus)
    if listed is None:
        *bundles, images, out = bundles_images_out
        asked = listed_images(_images(images, bids, suffix))
    else:
        *bundles, out = bundles_images_out
        asked = listed_in(listed)
    common_landmarks([BundleFolder(bundle) for bundle in bundles])
    from ..cluster.predicting import TABLE, Share, predict_on_cluster
    from ..inference.parallel import BundleMaker

    maker = BundleMaker([str(Path(bundle).resolve()) for bundle in bundles], **settings)
    report = predict_on_cluster(maker, asked, out, address, Share(cpus, gpus), overwrite)
    print(f"{report.made} images predicted to {out}, table: {Path(out) / TABLE}")
    _tell_kept(report.kept, report.edited)
    _refuse_failures(report.failed, len(asked), out)


def _choose(found: Sequence[Path], count: int) -> None:
    if not 1 <= count <= len(found):
        raise LandmarkError(
            f"choose={count} must be a whole number from 1 to {len(found)}, the images there."
        )
    from ..registration.choosing import representative

    for number, stands_for in representative(found, count):
        print(f"annotate {found[number]}: {stands_for} of {len(found)} images are most like it")


def _images(images: str, bids: bool, suffix: str) -> list[Path]:
    """
    Those to look at, of a folder or of a BIDS dataset.

    Raises:
        LandmarkError: when there are none.
    """
    return anatomical_images(images, suffix) if bids else find_images(images)


def _files(images: str, out: str, names: Sequence[str], format: str | None, bids: bool) -> Files:
    """
    The files to write; a derivative is described at once.

    Args:
        names: of the landmarks.
        format: what was typed: mrk.json,csv.

    Raises:
        LandmarkError: for an unknown format, or where another dataset is.
    """
    from ..formats import SUFFIXES
    from ..inference.batch import CaseFiles

    if bids:
        if format is not None:
            raise LandmarkError("--format is not for --bids, which writes mrk.json and fcsv. Leave it out.")
        derivatives = Derivatives(images, names)
        derivatives.begin(out)
        return derivatives
    suffixes = [f".{kind.strip().lstrip('.')}" for kind in (format or "mrk.json").split(",")]
    for suffix in suffixes:
        one_of("format", suffix.lstrip("."), [known.lstrip(".") for known in SUFFIXES])
    return CaseFiles(suffixes)


def _told(
    report: BatchReport, count: int, out: str, odd: str = "it does not look like the training images"
) -> None:
    """
    Say what became of some images.

    Args:
        odd: what it means that one is unusual.

    Raises:
        LandmarkError: when some have no prediction.
    """
    print(f"{len(report.made)} images predicted to {out}")
    _tell_kept(len(report.kept), report.edited)
    for case, how in sorted(report.unusual.items(), key=lambda one: -one[1])[:MOST_UNSURE]:
        print(f"look at {case}: {odd} ({how:.1f}; usual is below 1)")
    unsure = sorted(report.unsure.items(), key=lambda one: one[1][0][1])[:MOST_UNSURE]
    for case, low in unsure:
        print(f"look at {case}: " + ", ".join(f"{name} {score:.2f}" for name, score in low[:MOST_UNSURE]))
    _refuse_failures(report.failed, count, out)


def _tell_kept(kept: int, edited: Sequence[str]) -> None:
    if kept:
        print(f"{kept} unchanged, kept")
    if edited:
        print(
            f"kept, because edited since or made by something else: {some_names(edited)}; --overwrite "
            "replaces"
        )


def _refuse_failures(failed: Mapping[str, str], count: int, out: str) -> None:
    """
    Raises:
        LandmarkError: when some images have no prediction.
    """
    if failed:
        reasons = "\n".join(some for _, some in zip(range(MOST_REASONS), failed.values()))
        more = f"\nand {len(failed) - MOST_REASONS} more" if len(failed) > MOST_REASONS else ""
        raise LandmarkError(
            f"{len(failed)} of {count} images have no prediction, see {Path(out) / 'failed.csv'}:\n"
            f"{reasons}{more}"
        )


def tell(line: str) -> None:
    """A line above the progress bar."""
    from tqdm import tqdm

    tqdm.write(line)
