# SPDX-License-Identifier: Apache-2.0
"""
The web server: MONAI Label's requests, with those that touch files or wait long in our hands.

Only what a review needs is there; uploading weights, proxies and logs are not. Each answer to bad input is a
sentence.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import psutil
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from monailabel.config import settings
from monailabel.endpoints import info
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.utils.app import app_instance
from starlette.exceptions import HTTPException

from auto3dlandmark import __version__
from auto3dlandmark.errors import LandmarkError, disk_error
from auto3dlandmark.review.server import TOKEN
from monailabel_landmarks.lib import access, case_routes, data_routes, page_routes, task_routes
from monailabel_landmarks.lib.access import TokenGuard
from monailabel_landmarks.lib.answers import Answer
from monailabel_landmarks.lib.guard import SameOrigin, UploadLimit

__all__ = ["app", "create_app", "end_in_time"]

logger = logging.getLogger(__name__)
MOST_UPLOAD_MB = 2048.0
SECONDS_TO_END = 4.0


@asynccontextmanager
async def _lifespan(server: FastAPI) -> Any:
    instance = app_instance()
    instance.server_mode(True)
    instance.on_init_complete()
    yield
    task_routes.close()


def create_app(conf: dict[str, Any]) -> FastAPI:
    """
    Args:
        conf: the app's settings; ``upload_mb`` bounds uploads, ``hosts`` names this machine, separated by
            commas, where it is reached by another name than its own; ``openapi``, true, serves a description
            of all requests.
    """
    described = "/openapi.json" if str(conf.get("openapi", "")).lower() == "true" else None
    server = FastAPI(
        title="Auto3DLandmark",
        version=__version__,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=described,
        default_response_class=Answer,
    )
    server.add_middleware(UploadLimit, most_bytes=int(float(conf.get("upload_mb", MOST_UPLOAD_MB)) * 2**20))
    server.add_middleware(TokenGuard, token=os.environ.get(TOKEN), open_paths=page_routes.PATHS)
    server.add_middleware(SameOrigin, names=[name for name in str(conf.get("hosts", "")).split(",") if name])
    server.include_router(info.router)
    server.include_router(data_routes.router)
    server.include_router(case_routes.router)
    server.include_router(task_routes.router)
    server.include_router(page_routes.router)
    server.include_router(access.router)

    @server.exception_handler(LandmarkError)
    async def refused(request: Request, error: LandmarkError) -> Answer:
        return _of_the_disk(error) or Answer({"detail": str(error)}, getattr(error, "status", 422))

    @server.exception_handler(FileNotFoundError)
    async def gone(request: Request, error: FileNotFoundError) -> Answer:
        return Answer({"detail": "it was removed meanwhile."}, 404)

    @server.exception_handler(RequestValidationError)
    async def misunderstood(request: Request, error: RequestValidationError) -> Answer:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return Answer({"detail": f"{where}: {first['msg']}."}, 422)

    @server.exception_handler(MONAILabelException)
    async def not_there(request: Request, error: MONAILabelException) -> Answer:
        return Answer({"detail": error.msg}, 404)

    @server.exception_handler(HTTPException)
    async def as_it_says(request: Request, error: HTTPException) -> Answer:
        return Answer({"detail": error.detail}, error.status_code)

    @server.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Answer:
        answer = _of_the_disk(error)
        if answer is not None:
            return answer
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return Answer({"detail": "something went wrong in the server; its log says what."}, 500)

    return server


def end_in_time(close: Callable[[], None]) -> None:
    """
    At SIGTERM and Ctrl-C end whatever works for the server, so that requests have their answers, and stop
    waiting for them after a few seconds.

    Args:
        close: called first.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # no server's process

    def end(before: Any, number: int, frame: Any) -> None:
        close()
        for child in psutil.Process().children(recursive=True):  # trainings, scores, uploads that are opened
            with contextlib.suppress(psutil.Error):
                child.kill()
        watchdog = threading.Timer(SECONDS_TO_END, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        before(number, frame)

    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, partial(end, before))


def _of_the_disk(error: Exception) -> Answer | None:
    """An answer when the disk is to blame; nothing was kept by halves."""
    what = disk_error(error)
    if what is None:
        return None
    logger.error("the disk is %s", what, exc_info=error)
    detail = f"the server's disk is {what}. Nothing was saved: keep your work, and tell who runs the server."
    return Answer({"detail": detail}, 507 if what == "full" else 503)


app = create_app(settings.MONAI_LABEL_APP_CONF)
