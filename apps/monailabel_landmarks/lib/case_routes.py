# SPDX-License-Identifier: Apache-2.0
"""Requests about what became of the cases: versions, remarks, where they stand, how far reviewers differ."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse, Response
from monailabel.interfaces.utils.app import app_instance

from auto3dlandmark.data.measurements import dataset_measurements
from auto3dlandmark.files import csv_text
from auto3dlandmark.review.case_history import agreement_rows, case_rows, remarks_of, versions_of

__all__ = ["router"]

router = APIRouter()  # a reviewer's own words are answered as JSONResponse: as they are
FORMULA = tuple("=+-@\t\r")  # what a spreadsheet takes for one


@router.get("/datastore/label/history", response_class=JSONResponse)
def get_history(label: str) -> list[dict[str, Any]]:
    """The reviewed labels of an image, oldest first, with their content; the last one is that there is."""
    return [
        {
            "time": version.time,
            "reviewers": list(version.reviewers),
            "blind": version.blind,
            "content": version.content.decode("utf-8", "replace"),
        }
        for version in versions_of(app_instance().store, label)
    ]


@router.get("/datastore/image/remarks", response_class=JSONResponse)
def get_remarks(image: str) -> list[dict[str, str]]:
    """What was said of a case, oldest first."""
    store = app_instance().store
    store.image(image)
    return remarks_of(store, image)


@router.post("/datastore/image/remarks", response_class=JSONResponse)
def add_remark(image: str, remark: dict[str, Any] = Body(...)) -> list[dict[str, str]]:
    """Keep ``text`` by ``reviewer``; gives all of them."""
    app_instance().store.remark(image, remark.get("text", ""), remark.get("reviewer", ""))
    said: list[dict[str, str]] = get_remarks(image)
    return said


@router.get("/datastore/measurements")
def get_measurements() -> list[dict[str, Any]]:
    """The lengths and angles of ``measurements.json`` in the studies folder."""
    store = app_instance().store
    found = dataset_measurements(store.studies, store.names)
    return [{"name": one.name, "kind": one.kind, "landmarks": list(one.landmarks)} for one in found]


@router.get("/datastore/cases", response_class=JSONResponse)
def get_cases() -> list[dict[str, Any]]:
    """A row for each case: :func:`auto3dlandmark.review.case_history.case_rows`."""
    return case_rows(app_instance().store, time.time())


@router.get("/datastore/cases.csv")
def get_cases_table() -> Response:
    """The same as a table."""
    rows = [{**row, "reviewers": "; ".join(row["reviewers"])} for row in get_cases()]
    return _table(rows, "cases.csv")


@router.get("/datastore/agreement.csv")
def get_agreement_table() -> Response:
    """How far reviewers differ: :func:`auto3dlandmark.review.case_history.agreement_rows`."""
    return _table(agreement_rows(app_instance().store), "agreement.csv")


def _table(rows: Sequence[Mapping[str, Any]], name: str) -> Response:
    """A download; text that a spreadsheet would run as a formula has an apostrophe before it."""

    def shown(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value

    safe = [{key: shown(value) for key, value in row.items()} for row in rows]
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(csv_text(safe), media_type="text/csv; charset=utf-8", headers=headers)
