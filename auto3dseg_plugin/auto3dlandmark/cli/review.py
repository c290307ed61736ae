# SPDX-License-Identifier: Apache-2.0
"""The commands that let people review and correct, and tell how much they had to."""

from __future__ import annotations

import os
from pathlib import Path

from ..cluster.session import checked_address
from ..errors import LandmarkError
from .arguments import positive

__all__ = ["effort", "serve", "view"]


def serve(
    studies: str,
    *more: str,
    bundle: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    minutes: float = 15.0,
    hosts: str = "",
    token: str | None = None,
    trust: bool = False,
    landmarks: str | None = None,
    templates: bool = False,
    modality: str = "MRI",
    open: bool = False,
    cluster: str | bool | None = None,
    gpus_per_training: float = 0,
) -> None:
    """
    Start the MONAI Label server, for review and retraining in 3D Slicer.

    Ctrl-C stops it. Without a bundle, --templates begins by registration of the cases that are annotated
    already, one at least, and trains a network as reviewed cases come.

    Args:
        studies: a folder of images; reviewed landmarks go where it keeps its landmarks, or to labels/final.
        more: further bundles after --bundle; their heatmaps are averaged.
        bundle: a trained bundle.
        host: the address to listen at; others than this machine's own need a token.
        port: to listen at.
        minutes: of a retraining.
        hosts: further names this machine is reached by, separated by commas.
        token: that whoever asks has to know; better set AUTO3DLANDMARK_TOKEN, which nobody else sees.
        trust: serve bundles whose configs hold code from outside the template.
        landmarks: which landmark files, where there are several for an image: a folder or a pattern such as
            "*-1.mrk.json".
        templates: begin without a bundle, from the cases of STUDIES that have landmarks.
        modality: of the images, for the first network then: CT, MRI or another name.
        open: open the review page in a browser as soon as the server answers.
        cluster: train, and score cases in advance, on a Ray cluster: its address, such as head:6379. Its
            machines see STUDIES and the bundles under the same paths.
        gpus_per_training: with --cluster, GPUs of each training; a part of one is allowed.
    """
    from ..review.server import open_when_ready, server_command

    if not 0 < port < 2**16:
        raise LandmarkError(f"port={port} is none. Choose a number from 1 to 65535, such as 8000.")
    bundles = [one for one in (bundle, *more) if one is not None]
    if templates == bool(bundles):
        raise LandmarkError(
            "what is to find landmarks? Name a trained bundle by --bundle, or begin without by --templates."
        )
    settings = {"minutes": positive("minutes", minutes), "hosts": hosts or None, "landmarks": landmarks}
    if cluster:
        settings |= {"cluster": checked_address(cluster), "gpus": gpus_per_training}
    elif gpus_per_training:
        raise LandmarkError("--gpus-per-training is for --cluster. Add it.")
    settings |= {"templates": "true", "modality": modality} if templates else {}
    command, environment = server_command(studies, bundles, host, port, trust, token, **settings)
    address = f"http://{host}:{port}"
    print(f"review:  {address}\nstudies: {studies}", flush=True)
    if open:
        open_when_ready(address)
    os.execve(command[0], command, environment)


def effort(studies: str) -> None:
    """
    Tell how much reviewers corrected, case by case, in a table and in curves.

    Args:
        studies: a folder that was reviewed; the table and the page go to its folder review.
    """
    from ..files import write_rows
    from ..journal import read_records
    from ..reports.effort_report import effort_rows, write_effort_report

    folder = Path(studies).resolve() / "review"
    rows = effort_rows(read_records(folder / "log.jsonl"))
    if not rows:
        raise LandmarkError(f"{studies}: no case was reviewed. Begin with 'auto3dlandmark serve'.")
    write_rows(folder / "effort.csv", rows)
    write_effort_report(folder / "effort.html", folder.parent.name, rows)
    made, asked = (sum(row[key] for row in rows) for key in ("corrections", "landmarks"))
    print(f"{len(rows)} cases reviewed, {made} of {asked} landmarks corrected")
    print(f"report: {folder / 'effort.html'}\ntable:  {folder / 'effort.csv'}")


def view(image: str, landmarks: str, *more: str, port: int = 0, browser: bool = True) -> None:
    """
    Show an image and its landmarks in a browser, or two sets of them.

    Nothing can be changed there. Ctrl-C ends it.

    Args:
        image: a file.
        landmarks: a landmark file, such as a prediction.
        more: another one to compare with, such as the truth.
        port: to listen at; left out, any that is free.
        browser: open it.
    """
    import webbrowser

    from ..reports.review_page import ViewServer

    server = ViewServer(image, [landmarks, *more], port)
    print(f"{server.url}\nCtrl-C ends it.", flush=True)
    if browser:
        webbrowser.open(server.url)
    try:
        server.run()
    except KeyboardInterrupt:
        print()
