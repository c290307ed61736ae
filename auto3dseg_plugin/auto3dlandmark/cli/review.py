# SPDX-License-Identifier: Apache-2.0
"""The command that lets people review and correct."""

from __future__ import annotations

import os

from ..errors import LandmarkError
from .arguments import positive

__all__ = ["serve"]


def serve(
    studies: str,
    *more: str,
    bundle: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    minutes: float = 15.0,
    hosts: str = "",
    trust: bool = False,
    landmarks: str | None = None,
) -> None:
    """
    Start the MONAI Label server, for review and retraining in 3D Slicer.

    Ctrl-C stops it.

    Args:
        studies: a folder of images; reviewed landmarks go where it keeps its landmarks, or to labels/final.
        more: further bundles after --bundle; their heatmaps are averaged.
        bundle: a trained bundle.
        host: the address to listen at; others than this machine's own let everybody in who reaches it.
        port: to listen at.
        minutes: of a retraining.
        hosts: further names this machine is reached by, separated by commas.
        trust: serve bundles whose configs hold code from outside the template.
        landmarks: which landmark files, where there are several for an image: a folder or a pattern such as
            "*-1.mrk.json".
    """
    from ..review.server import server_command

    if not 0 < port < 2**16:
        raise LandmarkError(f"port={port} is none. Choose a number from 1 to 65535, such as 8000.")
    bundles = [one for one in (bundle, *more) if one is not None]
    settings = {"minutes": positive("minutes", minutes), "hosts": hosts or None, "landmarks": landmarks}
    command, environment = server_command(studies, bundles, host, port, trust, **settings)
    print(f"studies: {studies}\nserver:  http://{host}:{port}", flush=True)
    os.execve(command[0], command, environment)
