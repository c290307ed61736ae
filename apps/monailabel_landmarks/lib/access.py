# SPDX-License-Identifier: Apache-2.0
"""
Who may ask: with a token, only those who know it.

Programs send it as ``Authorization: Bearer TOKEN``. A browser hands it in once, and gets a cookie that no
script can read and no other website can make it send. The token itself is in the server's environment alone,
never in its settings, which MONAI Label logs.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from typing import Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from auto3dlandmark.review.server import TOKEN
from monailabel_landmarks.lib.guard import answer

__all__ = ["TokenGuard", "router"]

COOKIE = "auto3dlandmark"
SECONDS_KEPT = 30 * 24 * 3600
SECONDS_OF_A_WRONG_ONE = 1.0  # so that nobody tries many
LOGIN = "/login"
ASKED = "this server asks for a token. Whoever started it knows which."

router = APIRouter()


class TokenGuard:
    """
    Refuse requests without the token, should there be one.

    Args:
        token: None lets everybody in.
        open_paths: that anybody may get: the page that asks for the token.
    """

    def __init__(self, app: Any, token: str | None, open_paths: Collection[str] = ()) -> None:
        self.app, self.token, self.open = app, token, {*open_paths, LOGIN}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and self.token and scope["path"] not in self.open:
            headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
            if not _knows(headers, self.token):
                await answer(send, 401, ASKED)
                return
        await self.app(scope, receive, send)


@router.post(LOGIN, include_in_schema=False)
async def login(request: Request, token: str = Body(embed=True, max_length=1000)) -> JSONResponse:
    """Give a browser that knows the token its cookie."""
    wanted = os.environ.get(TOKEN)
    if not wanted:
        raise HTTPException(404, "this server asks for no token.")
    if not _same(token, wanted):
        await asyncio.sleep(SECONDS_OF_A_WRONG_ONE)
        raise HTTPException(401, "this is another token. Ask whoever started the server.")
    done = JSONResponse({})
    secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    done.set_cookie(
        COOKIE, _cookie(wanted), SECONDS_KEPT, httponly=True, samesite="strict", secure=secure, path="/"
    )
    return done


def _knows(headers: dict[str, str], token: str) -> bool:
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and _same(given.strip(), token):
        return True
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return False
    return COOKIE in cookies and _same(cookies[COOKIE].value, _cookie(token))


def _cookie(token: str) -> str:
    """What a browser keeps; nobody can tell the token from it."""
    return hmac.new(token.encode(), b"auto3dlandmark review page", hashlib.sha256).hexdigest()


def _same(given: str, wanted: str) -> bool:
    """In a time that says nothing about where they differ."""
    return hmac.compare_digest(given.encode(), wanted.encode())
