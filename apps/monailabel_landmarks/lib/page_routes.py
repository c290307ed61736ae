# SPDX-License-Identifier: Apache-2.0
"""The review page: files that were built beforehand, and what a browser may do with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

__all__ = ["PATHS", "router"]

PAGE = Path(__file__).parents[1] / "web" / "page"
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

router = APIRouter()


def _serve(path: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def serve() -> FileResponse:
        return FileResponse(path, headers=HEADERS)

    return serve


PATHS = {"/" if file.name == INDEX else f"/{file.name}": file for file in sorted(PAGE.iterdir())}
for path, file in PATHS.items():
    router.add_api_route(path, _serve(file), methods=["GET"], include_in_schema=False)
