# SPDX-License-Identifier: Apache-2.0
"""What is turned away before anything looks at it: other websites' requests, and uploads without end."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

__all__ = ["SameOrigin", "UploadLimit", "answer"]


class SameOrigin:
    """
    Refuse requests that a browser sends for another website, and those for a name this machine does not have:
    a page elsewhere may make a browser resolve its own name to this server.

    Args:
        names: under which this machine is reached, besides addresses, ``localhost`` and its own name.
    """

    def __init__(self, app: Any, names: Iterable[str] = ()) -> None:
        self.app = app
        own = {"localhost", socket.gethostname(), socket.getfqdn()}
        self.names = {name.strip().casefold() for name in (*own, *names)}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
            host, origin = headers.get("host", ""), headers.get("origin")
            if not self._ours(host):
                await answer(send, 403, f"this server is not called {host!r}. Add it by '--hosts'.")
                return
            if headers.get("sec-fetch-site") == "cross-site":
                await answer(send, 403, "requests from other websites are not served.")
                return
            if origin is not None and origin.partition("://")[2].casefold() != host.casefold():
                await answer(send, 403, f"requests of the website {origin!r} are not served.")
                return
        await self.app(scope, receive, send)

    def _ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
            return True
        except ValueError:
            return name.casefold() in self.names


class UploadLimit:
    """
    Refuse bodies of more than so many bytes, announced or not.

    Args:
        most_bytes: where a file is uploaded.
        most_json_bytes: everywhere else.
    """

    def __init__(self, app: Any, most_bytes: int, most_json_bytes: int = 2**16) -> None:
        self.app, self.most_bytes, self.most_json_bytes = app, most_bytes, most_json_bytes

    def limit_of(self, scope: Any) -> int:
        """What a request may send: files come to the datastore, and to an inference."""
        method, path = scope["method"], scope["path"]
        uploads = (method == "PUT" and path.startswith("/datastore")) or (
            method == "POST" and path.startswith("/infer/")
        )
        return self.most_bytes if uploads else self.most_json_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self.limit_of(scope)
        size = f"{most / 2**20:g} MB" if most >= 2**20 else f"{most / 2**10:g} kB"
        sentence = f"the request is larger than {size}."
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > most:
            await answer(send, 413, sentence)
            return
        taken, refused, begun = 0, False, False

        async def counted() -> Any:
            nonlocal taken, refused
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                refused = True
                return {"type": "http.disconnect"}
            return message

        async def answered(message: Any) -> None:
            nonlocal begun
            if not refused:
                begun = True
                await send(message)

        try:
            await self.app(scope, counted, answered)
        except Exception:
            if not refused:
                raise
        if refused and not begun:
            await answer(send, 413, sentence)


async def answer(send: Any, status: int, sentence: str) -> None:
    """Answer a request with a sentence, without the app."""
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
