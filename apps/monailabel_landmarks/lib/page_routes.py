# SPDX-License-Identifier: Apache-2.0
"""The review page, at the server's first address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from auto3dlandmark.reports.review_page import HEADERS, page_files

__all__ = ["PATHS", "router"]

router = APIRouter()


def _serve(path: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def serve() -> FileResponse:
        return FileResponse(path, headers=HEADERS)

    return serve


PATHS = page_files()
for path, file in PATHS.items():
    router.add_api_route(path, _serve(file), methods=["GET"], include_in_schema=False)
