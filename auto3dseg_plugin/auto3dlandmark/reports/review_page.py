# SPDX-License-Identifier: Apache-2.0
"""The page in which landmarks are looked at: its files, what a browser may do with them, and a server that
shows one image and nothing else."""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Sequence
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from ..data.images import read_geometry
from ..errors import LandmarkError
from ..formats import read_landmarks
from ..formats.markups import markups_bytes
from ..landmarks import some_names
from .sent_image import sent_file, sent_name

__all__ = ["HEADERS", "ViewServer", "page_files"]

INDEX = "index.html"
# Nothing is asked of another machine, nothing inside the page's text runs, and no other page may frame it.
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{what} {where}" for what, where in POLICY.items()),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
KINDS = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".txt": "text/plain"}
MOST_SETS = 2


def page_files() -> dict[str, Path]:
    """
    The files of the page, by the path they are asked for.

    Raises:
        LandmarkError: when they are not installed.
    """
    found = importlib.util.find_spec("monailabel_landmarks")
    folder = Path(str(found.origin)).parent / "web" / "page" if found is not None else Path()
    if not (folder / INDEX).is_file():
        raise LandmarkError("the review page is not installed. Install auto3dlandmark again, as a whole.")
    return {"/" if file.name == INDEX else f"/{file.name}": file for file in sorted(folder.iterdir())}


class ViewServer:
    """
    Shows an image and one or two sets of landmarks to browsers of this machine.

    Args:
        image: a file, or the folder of a DICOM series or of channels.
        landmarks: landmark files, the first one of which is looked at; the second one is compared with it.
        port: to listen at; 0 for any that is free.

    Raises:
        LandmarkError: when a file cannot be read, or the port is taken.
    """

    def __init__(
        self, image: str | os.PathLike, landmarks: Sequence[str | os.PathLike], port: int = 0
    ) -> None:
        if not 1 <= len(landmarks) <= MOST_SETS:
            raise LandmarkError("name one file of landmarks, or two to compare them.")
        path = Path(image).resolve()
        _, affine = read_geometry(path)
        self.kept = tempfile.TemporaryDirectory(prefix="auto3dlandmark-view-")
        self.image = sent_file(path, Path(self.kept.name), nifti=True)
        sets = [read_landmarks(path) for path in landmarks]
        unknown = [name for one in sets[1:] for name in one.names if name not in sets[0].names]
        if unknown:
            raise LandmarkError(f"{landmarks[0]}: has no {some_names(unknown)}, unlike {landmarks[1]}.")
        shown = [
            {"name": Path(path).name, "text": markups_bytes(one).decode()}
            for path, one in zip(landmarks, sets)
        ]
        told = {"image": sent_name(path, nifti=True), "affine": affine.tolist(), "sets": shown}
        self.content = json.dumps(told).encode()
        self.files = page_files()
        try:
            self.server = ThreadingHTTPServer(("127.0.0.1", port), self._handler)
        except OSError as error:
            raise LandmarkError(f"port={port} is taken. Choose another, or leave it out.") from error
        self.url = f"http://127.0.0.1:{self.server.server_port}/?view"

    def run(self) -> None:
        """Until it is interrupted."""
        with self.kept, self.server:
            self.server.serve_forever()

    def answer_to(self, path: str, host: str) -> tuple[bytes, str] | None:
        """
        What a request is answered with, and its kind.

        Args:
            path: without what comes after a question mark.
            host: that was asked; a website elsewhere may make a browser call this machine by its own name.

        Returns:
            None for what is not there.
        """
        if urlsplit(f"//{host}").hostname not in ("127.0.0.1", "localhost"):
            return None
        if path == "/view.json":
            return self.content, "application/json"
        if path == "/view/image":
            return self.image.read_bytes(), "application/octet-stream"
        file = self.files.get(path)
        return None if file is None else (file.read_bytes(), f"{KINDS[file.suffix]}; charset=utf-8")

    @cached_property
    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer_to = self.answer_to

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = answer_to(urlsplit(self.path).path, self.headers.get("Host", ""))
                body, kind = found or (b"there is nothing here.", "text/plain")
                self.send_response(200 if found else 404)
                for name, value in {
                    **HEADERS,
                    "Content-Type": kind,
                    "Content-Length": str(len(body)),
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        return Handler
