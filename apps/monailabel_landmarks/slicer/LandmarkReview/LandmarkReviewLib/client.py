# SPDX-License-Identifier: Apache-2.0
"""Requests to the server, each with an answer or one of two errors: the server says no, or it cannot be
reached."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Sequence
from typing import Any

__all__ = ["Client", "ConnectionLost", "Refused"]

SECONDS = 30
SECONDS_OF_LOOK = 3  # nobody waits for it
SECONDS_OF_IMAGE = 600
SECONDS_OF_INFERENCE = 1800


class ConnectionLost(Exception):
    """The server cannot be reached, or the answer broke off. What was asked may or may not have been done."""


class Refused(Exception):
    """
    The server says no.

    Attributes:
        status: of HTTP; 409 when somebody else saved the same case meanwhile.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Client:
    """
    Args:
        url: of the server, such as http://127.0.0.1:8000.
        name: of the reviewer; the server gives each another case.
        token: that the server asks for; left out, that of the environment, if there is one.
    """

    def __init__(self, url: str, name: str = "", token: str | None = None) -> None:
        self.url, self.name = url.strip().rstrip("/"), name
        self.token = token or os.environ.get("AUTO3DLANDMARK_TOKEN")
        self.id = f"{name} {uuid.uuid4().hex[:8]}"  # two reviewers may have the same name, or none

    def info(self) -> dict[str, Any]:
        """What the server offers: landmarks, models, strategies, how many images are reviewed."""
        return self._json("GET", "/info/", needs=("labels", "strategies", "datastore", "train_stats"))

    def next_case(self, strategy: str) -> dict[str, Any]:
        """The next case to review, with its ``id`` and file ``name``; empty when none waits."""
        return self._json("POST", f"/activelearning/{_quoted(strategy)}", {"client_id": self.id})

    def cases(self) -> dict[str, Any]:
        """Which images there are, and which labels they have."""
        cases: dict[str, Any] = self._json("GET", "/datastore/?output=all", needs=("objects",))["objects"]
        return cases

    def download_image(self, case: str, file_name: str, folder: str) -> tuple[str, str]:
        """
        Write the image to ``folder``, whole or not at all; the very same one is not fetched again.

        Returns:
            its path, and its mark, which tells it from another image of the same name.
        """
        request = f"/datastore/image?image={_quoted(case)}"
        mark = (self._request("HEAD", request)[1].get("ETag") or "").strip('"')
        kept = hashlib.sha256(f"{self.url} {mark}".encode()).hexdigest()[:16]
        path = os.path.join(folder, kept, os.path.basename(file_name))
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_whole(path, self._request("GET", request, timeout=SECONDS_OF_IMAGE)[0])
        return path, mark

    def infer(self, case: str, model: str = "landmarks") -> bytes:
        """The model's landmarks as the content of a ``.mrk.json`` file."""
        path = f"/infer/{_quoted(model)}?image={_quoted(case)}&output=image"
        return self._request("POST", path, b"", timeout=SECONDS_OF_INFERENCE)[0]

    def label(self, case: str) -> tuple[bytes | None, str]:
        """The reviewed label, and its checksum; None and "" when there is none."""
        try:
            content, headers = self._request("GET", f"/datastore/label?label={_quoted(case)}&tag=final")
        except Refused as error:
            if error.status == 404:
                return None, ""
            raise
        return content, (headers.get("ETag") or "").strip('"')

    def submit(self, case: str, content: bytes, base: str, mark: str | None = None) -> str:
        """
        Hand in a label. Handing in the same one twice is harmless.

        Args:
            content: of a ``.mrk.json`` file.
            base: checksum of the label it was made from, "" when there was none.
            mark: of the image it was made on.

        Returns:
            the checksum of the label that is on the server now.
        """
        params = json.dumps({"reviewer": self.name, "base_checksum": base, "image_mark": mark})
        path = f"/datastore/label?image={_quoted(case)}&tag=final"
        body, kind = _multipart({"params": params}, "label", f"{case}.mrk.json", content)
        checksum: str = self._object(self._request("PUT", path, body, kind)[0], ("checksum",))["checksum"]
        return checksum

    def train(self, minutes: float | None = None, model: str = "landmarks") -> dict[str, Any]:
        """Start a training."""
        return self._json("POST", f"/train/{_quoted(model)}", {"minutes": minutes})

    def stop_training(self) -> None:
        """Stop it; the served model stays as it is."""
        self._request("DELETE", "/train/")

    def training(self, model: str = "landmarks") -> dict[str, Any]:
        """How the running or last training stands: ``state``, and ``progress`` or ``reason``."""
        info = self._json("GET", "/info/", seconds=SECONDS_OF_LOOK, needs=("train_stats",))
        training: dict[str, Any] = info["train_stats"].get(model, {})
        return training

    def _json(
        self,
        method: str,
        path: str,
        content: Any = None,
        seconds: float = SECONDS,
        needs: Sequence[str] = (),
    ) -> dict[str, Any]:
        body = None if content is None else json.dumps(content).encode()
        return self._object(self._request(method, path, body, "application/json", seconds)[0], needs)

    def _object(self, answer: bytes, needs: Sequence[str] = ()) -> dict[str, Any]:
        """An answer that is a JSON object with the keys that are needed."""
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not all(key in found for key in needs):
            raise ConnectionLost(f"{self.url} does not answer like a MONAI Label server.")
        return found

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "application/octet-stream",
        timeout: float = SECONDS,
    ) -> tuple[bytes, http.client.HTTPMessage]:
        try:
            request = urllib.request.Request(self.url + path, data=body, method=method)
            if self.token:
                request.add_header("Authorization", f"Bearer {self.token}")
            if body is not None:
                request.add_header("Content-Type", kind)
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            raise Refused(error.code, _sentence(error)) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise ConnectionLost(
                f"{self.url} cannot be reached ({reason}). Nothing is lost: try again."
            ) from error


def write_whole(path: str, content: bytes) -> None:
    """
    Write a file that is either whole or as it was.
    """
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _sentence(error: urllib.error.HTTPError) -> str:
    try:
        detail = json.loads(error.read())["detail"]
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return f"the server answered {error.code} {error.reason}."
    return detail if isinstance(detail, str) else json.dumps(detail)


def _multipart(fields: dict[str, str], file_field: str, file_name: str, content: bytes) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    parts = []
    for name, value in fields.items():
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        )
    safe = file_name.replace('"', "_").replace("\r", "_").replace("\n", "_")
    disposition = f'form-data; name="{file_field}"; filename="{safe}"'
    head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: application/json\r\n\r\n"
    parts += [head.encode(), content, f"\r\n--{boundary}--\r\n".encode()]
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"
