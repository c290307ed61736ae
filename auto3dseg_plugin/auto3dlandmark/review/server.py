# SPDX-License-Identifier: Apache-2.0
"""Start the MONAI Label server for a studies folder, in whatever environment has the extra ``label``."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import LandmarkError
from ..files import write_text
from .versions import ReviewedCases, ServedModel

__all__ = ["TOKEN", "open_when_ready", "server_command"]

APP = (
    "from monailabel_landmarks.main import LandmarksApp  # noqa: F401  MONAI Label looks for the class here\n"
)
TOKEN = "AUTO3DLANDMARK_TOKEN"  # the variable of the environment
LEAST_TOKEN = 8
SECONDS_TO_START, SECONDS_TO_ANSWER = 300, 5
# What MONAI Label does on its own and should not: it scores after every answer, and reloads the folder.
SETTINGS = {"MONAI_LABEL_AUTO_UPDATE_SCORING": "false", "MONAI_LABEL_DATASTORE_AUTO_RELOAD": "false"}
SETTINGS |= {"MONAI_LABEL_SESSIONS": "false"}
SETTINGS |= {"PYTHONSAFEPATH": "1"}  # a module in the folder it is started in is never run


def server_command(
    studies: str | os.PathLike,
    bundles: Sequence[str | os.PathLike],
    host: str = "127.0.0.1",
    port: int = 8000,
    trust: bool = False,
    token: str | None = None,
    **settings: Any,
) -> tuple[list[str], dict[str, str]]:
    """
    The command that serves a studies folder, and its environment.

    Args:
        studies: the folder of images; logs and everything that is kept go to its folder ``review``.
        bundles: trained bundles that find the same landmarks; several are averaged. None with ``templates``.
        host: the address to listen at; others than this machine's own need a token.
        trust: serve bundles whose configs hold code from outside the template.
        token: that whoever asks has to know; left out, that of the environment, if there is one.
        settings: of the app, such as ``minutes``, ``hosts`` or ``templates``.

    Raises:
        LandmarkError: when MONAI Label is not installed here, or a folder is missing or no bundle.
    """
    if importlib.util.find_spec("monailabel") is None:
        raise LandmarkError(
            f"MONAI Label is not installed for {sys.executable}. It needs an environment of its own: run "
            "'make label-env', then .venv-label/bin/auto3dlandmark serve."
        )
    folder = Path(studies).resolve()
    if not folder.is_dir():
        raise LandmarkError(f"{studies}: there is no such folder. Give the folder of the images to review.")
    token = token or os.environ.get(TOKEN)
    if token is not None and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        raise LandmarkError(f"a token has {LEAST_TOKEN} letters or digits, or more.")
    if token is None and not _is_this_machine(host):
        raise LandmarkError(
            f"host={host} lets everybody in who reaches it: they would read images and change labels. Add "
            f"--token, or set {TOKEN}."
        )
    templates = ReviewedCases(folder, settings.get("landmarks")) if settings.get("templates") else None
    model = ServedModel(folder / "review" / "models", bundles, trust, templates)
    app = folder / "review" / "app"  # MONAI Label writes its log beside the app's main.py
    write_text(app / "main.py", APP)
    given = json.dumps([str(bundle) for bundle in model.given]) if model.given else None
    conf = {"bundles": given, **settings}
    conf |= {"trust": "true"} if trust else {}
    command = [
        sys.executable,
        "-m",
        "monailabel.main",
        "start_server",
        "--app",
        str(app),
        "--studies",
        str(folder),
    ]
    command += ["--host", host, "--port", str(port), "--uvicorn_app", "monailabel_landmarks.lib.server:app"]
    for name, value in conf.items():
        if value is not None:
            command += ["--conf", name, str(value)]
    secret = {} if token is None else {TOKEN: token}  # never a setting: those are logged
    return command, {"OMP_NUM_THREADS": _compute_threads(), **os.environ, **SETTINGS, **secret}


def _is_this_machine(host: str) -> bool:
    """Whether an address is one that only this machine's own programs reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _compute_threads() -> str:
    """How many cores an inference may take, unless the caller says otherwise: requests need some, too."""
    return str(max(1, (os.cpu_count() or 2) // 2))


def open_when_ready(address: str) -> None:
    """
    Open a browser once the server answers there; by a process of its own, since this one becomes the server.

    Args:
        address: such as http://127.0.0.1:8000; 0.0.0.0 stands for this machine.
    """
    address = address.replace("//0.0.0.0:", "//127.0.0.1:")
    subprocess.Popen([sys.executable, "-m", __name__, address, str(os.getpid())])


def main(address: str, server: str) -> None:
    """The process of :func:`open_when_ready`: until the server answers, or is gone."""
    for _ in range(SECONDS_TO_START):
        try:
            with urllib.request.urlopen(address, timeout=SECONDS_TO_ANSWER):
                webbrowser.open(address)
                return
        except OSError:
            time.sleep(1)
        if os.getppid() != int(server):
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
