# SPDX-License-Identifier: Apache-2.0
"""
Requests about images and labels.

Functions without ``async`` run in threads, so none of them holds up the others. Request parameters are looked
up by name, never merged into what the app is asked to do.
"""

from __future__ import annotations

import json
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Any, Optional

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import FileResponse, Response, StreamingResponse
from monailabel.interfaces.utils.app import app_instance

from auto3dlandmark.data.images import read_geometry
from auto3dlandmark.reports.sent_image import gzipped, image_mark, is_compressed, sent_file, sent_name
from auto3dlandmark.review.store import FINAL, checksum_of
from auto3dlandmark.review.submission import MOST_BYTES, ReviewError, parse_parameters, refuse_special_file
from auto3dlandmark.review.uploads import check_upload, new_image
from monailabel_landmarks.lib.spheres import is_label_map, points_of_spheres

__all__ = ["SENT", "received", "router"]

router = APIRouter()
SENT = "sent"  # in the review's folder: images that had to be made for those who ask


class Listing(StrEnum):
    """How much of the datastore is told."""

    train = "train"
    stats = "stats"
    all = "all"


@router.get("/datastore/")
def list_datastore(output: Listing = Listing.stats) -> Any:
    datastore = app_instance().datastore()
    return {
        Listing.all: datastore.json,
        Listing.train: datastore.datalist,
        Listing.stats: datastore.status,
    }[output]()


@router.put("/datastore/")
@router.put("/datastore/image")
def add_image(
    file: UploadFile = File(...), image: Optional[str] = None, params: str = Form("{}")
) -> dict[str, str]:
    parse_parameters(params)
    name = file.filename or ""
    with tempfile.TemporaryDirectory() as folder:
        path = received(file, Path(folder), name, check=False)  # the store does
        return {"image": app_instance().store.add_image(image, path, name)}


@router.delete("/datastore/")
@router.delete("/datastore/image")
def remove_image(id: str) -> dict[str, str]:
    app_instance().store.remove_image(id)
    return {"image": id, "moved_to": "review/trash"}


@router.head("/datastore/image")
def check_image(image: str) -> Response:
    return Response(headers={"etag": f'"{image_mark(app_instance().store.image(image))}"'})


@router.get("/datastore/image")
def get_image(request: Request, image: str, nifti: bool = False, compress: bool = True) -> Response:
    """
    One file, of a case that is a folder, too. With ``nifti`` it is NIfTI whatever the case is, ``x-affine``
    is its geometry (RAS mm, by rows), and it is compressed on the way, for a browser to unpack as it comes;
    without ``compress`` only if its file is, as for a browser on this machine.
    """
    store = app_instance().store
    path = store.image(image)
    refuse_special_file(path)
    file, name = sent_file(path, store.folder / SENT, nifti), sent_name(path, nifti)
    headers = {"etag": f'"{image_mark(path)}"'}
    if nifti:
        headers["x-affine"] = json.dumps(read_geometry(file)[1].tolist())
        packed = is_compressed(file)
        if (packed or compress) and "gzip" in request.headers.get("accept-encoding", ""):
            headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
            kind = "application/octet-stream"
            if not packed:
                return StreamingResponse(gzipped(file), media_type=kind, headers=headers)
            return FileResponse(file, media_type=kind, headers=headers)
    return FileResponse(file, filename=name, headers=headers)


@router.get("/datastore/image/info")
def get_image_info(image: str) -> dict[str, Any]:
    info: dict[str, Any] = app_instance().datastore().get_image_info(image)
    return info


@router.put("/datastore/label")
def save_label(
    image: str, label: UploadFile = File(...), params: str = Form("{}"), tag: str = FINAL
) -> dict[str, Any]:
    """
    ``params`` may hold ``reviewer``, ``base_checksum`` (of the label this one was made from; "" when there
    was none), ``image_mark`` (the ETag of the image it was made on), ``blind`` (true when the label there is
    was not seen) and, for a label map, ``label_info``.
    """
    store, said = app_instance().store, parse_parameters(params)
    base, reviewer, blind = said.get("base_checksum"), said.get("reviewer", ""), said.get("blind", False)
    if not isinstance(reviewer, str) or not (base is None or isinstance(base, str)):
        raise ReviewError("'reviewer' and 'base_checksum' must be text.")
    if not isinstance(blind, bool):
        raise ReviewError("'blind' must be true or false.")
    if tag != FINAL:
        raise ReviewError(f"labels are submitted under the tag {FINAL!r}.")
    mark = said.get("image_mark")
    if mark is not None and mark != image_mark(store.image(image)):
        raise ReviewError(f"the image {image!r} was replaced meanwhile. Open the case again.", 409)
    name = label.filename or ""
    if is_label_map(name):
        with tempfile.TemporaryDirectory() as folder:
            path = received(label, Path(folder), name)
            content = points_of_spheres(store, image, path, said.get("label_info"))
    else:
        content = label.file.read(MOST_BYTES + 1)
    saved = store.save(image, content, tag, reviewer, base, blind=blind)
    app_instance().learn_when_due()
    return {
        "image": image,
        "label": image,
        "tag": tag,
        "checksum": saved.checksum,
        "replaced": saved.replaced,
    }


@router.delete("/datastore/label")
def remove_label(id: str, tag: str) -> dict[str, str]:
    app_instance().store.remove_label(id, tag)
    return {"label": id, "moved_to": "review/trash"}


@router.get("/datastore/label")
def get_label(label: str, tag: str = FINAL) -> Response:
    path = app_instance().store.label(label, tag)
    content = path.read_bytes()  # once: the checksum must be that of this very content
    headers = {"etag": f'"{checksum_of(content)}"', "content-disposition": _attachment(path.name)}
    return Response(content, media_type="application/json", headers=headers)


@router.head("/datastore/label")
def check_label(label: str = "", image: str = "", tag: str = FINAL) -> Response:
    content = app_instance().store.label(label or image, tag).read_bytes()
    return Response(headers={"etag": f'"{checksum_of(content)}"'})


@router.get("/datastore/label/info")
def get_label_info(label: str, tag: str = FINAL) -> dict[str, Any]:
    info: dict[str, Any] = app_instance().datastore().get_label_info(label, tag)
    return info


def received(upload: UploadFile, folder: Path, name: str, check: bool = True) -> Path:
    """The upload as a file, named so that its kind can be told and nothing else of its name matters."""
    path = folder / f"upload{new_image('upload', name)[1]}"
    with open(path, "wb") as stream:
        while block := upload.file.read(2**20):
            stream.write(block)
    if check:
        check_upload(path, name)
    return path


def _attachment(name: str) -> str:
    quoted = "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else "_"
        for letter in name
    )
    return f'attachment; filename="{quoted}"'
