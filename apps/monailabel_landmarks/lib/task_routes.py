# SPDX-License-Identifier: Apache-2.0
"""
Requests for work: inference, batches, the next case, scores, training.

Inference has threads of its own, so that a slow one holds up nothing but other inferences; the rest runs in
processes of MONAI Label's making.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Optional

from fastapi import APIRouter, Body, File, Form, HTTPException, Request, UploadFile
from fastapi.background import BackgroundTasks
from fastapi.responses import FileResponse, Response
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import tasks
from requests_toolbelt import MultipartEncoder

from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.review.store import ORIGINAL
from auto3dlandmark.review.submission import ReviewError, parse_parameters
from monailabel_landmarks.lib.data_routes import received
from monailabel_landmarks.lib.predictor import AT_ONCE

__all__ = ["close", "router", "start_training"]

router = APIRouter()
starting = threading.RLock()  # of two that start the same, one is refused
MOST_WAITING = 64
SECONDS_BETWEEN_LOOKS = 1.0
inference = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="inference")
unanswered: set[Future] = set()  # inferences that run or wait


class Output(StrEnum):
    """What an inference answers with."""

    json = "json"
    image = "image"
    all = "all"


class Images(StrEnum):
    """Which images a batch is run on."""

    all = "all"
    labeled = "labeled"
    unlabeled = "unlabeled"


def close() -> None:
    """Let the inference that runs end, and no other begin."""
    inference.shutdown(wait=False, cancel_futures=True)


@router.post("/infer/{model}")
async def infer(
    client: Request,
    model: str,
    background: BackgroundTasks,
    image: str = "",
    params: str = Form("{}"),
    file: Optional[UploadFile] = File(None),
    output: Output = Output.all,
) -> Any:
    parse_parameters(params)
    instance = app_instance()
    request: dict[str, Any] = {"model": model, "image": image}
    uploaded: Optional[Path] = None
    folder = tempfile.TemporaryDirectory()
    background.add_task(folder.cleanup)
    name = file.filename or "" if file is not None else ""
    if file is not None:
        uploaded = await asyncio.to_thread(received, file, Path(folder.name), name)
    elif not image:
        raise ReviewError("name an image of the server by its id, or upload one.")
    try:
        result = await _inferred(client, partial(instance.infer, request, None, uploaded))
    except LandmarkError as error:
        if uploaded is None:
            raise
        sentence = str(error).replace(str(uploaded), name).replace(uploaded.name, name)
        raise ReviewError(sentence, getattr(error, "status", 422)) from error
    path, answer = Path(result["file"]), result["params"]
    background.add_task(path.unlink, missing_ok=True)
    if output == Output.json:
        return answer
    if output == Output.image:
        return FileResponse(path, filename=path.name)
    kind = "application/json" if path.name.endswith(".json") else "application/octet-stream"
    fields = {
        "params": (None, json.dumps(answer), "application/json"),
        "image": (path.name, path.read_bytes(), kind),
    }
    encoded = MultipartEncoder(fields=fields)
    return Response(encoded.to_string(), media_type=encoded.content_type)


async def _inferred(client: Request, work: Callable[[], Any]) -> Any:
    """What an inference thread makes of it; nothing is begun for a client that has gone meanwhile."""
    if len(unanswered) >= AT_ONCE + MOST_WAITING:
        raise HTTPException(429, f"{MOST_WAITING} inferences are waiting already. Try again later.")
    future = inference.submit(work)
    unanswered.add(future)
    future.add_done_callback(unanswered.discard)
    while not future.done():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), SECONDS_BETWEEN_LOOKS)
        if not future.done() and await client.is_disconnected() and future.cancel():
            raise HTTPException(499, "the client has gone.")
    return future.result()


@router.post("/batch/infer/{model}")
def start_batch(model: str, images: Images = Images.all, params: Optional[dict] = Body(None)) -> Any:
    if model not in app_instance()._infers:
        raise ReviewError(f"there is no model {model!r}.", 404)
    request = {"model": model, "images": images.value, "label_tag": ORIGINAL}
    return _started("batch_infer", request)


@router.get("/batch/infer")
def batch_status(all: bool = False, check_if_running: bool = False) -> Any:
    return _status("batch_infer", all, check_if_running)


@router.delete("/batch/infer")
def stop_batch() -> Any:
    return AsyncTask.stop("batch_infer")


@router.post("/activelearning/{strategy}")
def next_sample(strategy: str, params: Optional[dict] = Body(None)) -> Any:
    """``params`` may hold ``client_id``, and ``besides``: what would come after that one? Given to nobody."""
    client, besides = (str((params or {}).get(key) or "") for key in ("client_id", "besides"))
    instance = app_instance()
    found = instance.next_sample({"strategy": strategy, "client_id": client, "besides": besides})
    return {**found, **instance.datastore().get_image_info(found["id"])} if found else {}


@router.post("/scoring/{method}")
def start_scoring(method: str) -> Any:
    if method not in app_instance()._scoring_methods:
        raise ReviewError(f"there is no scoring method {method!r}.", 404)
    return _started("scoring", {"method": method})


@router.get("/scoring/")
def scoring_status(all: bool = False, check_if_running: bool = False) -> Any:
    return _status("scoring", all, check_if_running)


@router.delete("/scoring/")
def stop_scoring() -> Any:
    return AsyncTask.stop("scoring")


@router.post("/train/{model}")
def start_training(model: str, params: Optional[dict] = Body(None)) -> Any:
    if model not in app_instance()._trainers:
        raise ReviewError(f"there is no training of {model!r}.", 404)
    minutes = (params or {}).get("minutes")
    if minutes is not None and (
        isinstance(minutes, bool) or not isinstance(minutes, (int, float)) or not 0 < minutes < 10_080
    ):
        raise ReviewError("'minutes' must be a number greater than 0 and less than a week of them.")
    with starting:
        _refuse_second("train")
        app_instance()._trainers[model].announce(minutes)
        return _started("train", {"model": model, "minutes": minutes})


@router.get("/train/")
def training_status(all: bool = False, check_if_running: bool = False) -> Any:
    return _status("train", all, check_if_running)


@router.get("/versions/")
def list_versions() -> Any:
    """What was promoted, oldest first, and what is served; 0 is what the server was started with."""
    model = app_instance().model
    told = ("version", "reason", "ended")
    promoted = [{key: one[key] for key in told if key in one} for one in model.versions()]
    return {"served": model.current().version, "versions": [{"version": 0}, *promoted]}


@router.post("/versions/{version}")
def serve_version(version: int) -> Any:
    """Go back to an earlier version, or forth again."""
    app_instance().model.serve(version)
    return list_versions()


@router.delete("/train/")
def stop_training() -> Any:
    return AsyncTask.stop("train")


def _started(method: str, request: dict[str, Any]) -> Any:
    with starting:
        _refuse_second(method)
        return AsyncTask.run(method, request=request, enqueue=True)[0]


def _refuse_second(method: str) -> None:
    if any(task["status"] in ("SUBMITTED", "RUNNING") for task in tasks(method)):
        raise HTTPException(429, "it is running already. Wait for it, or stop it.")


def _status(method: str, all: bool, check_if_running: bool) -> Any:
    task, reason = AsyncTask.status(method, all, check_if_running)
    if task is None:
        raise HTTPException(404, reason)
    return task
