# SPDX-License-Identifier: Apache-2.0
"""What became of the cases: who labelled them when, what was said of them, how far reviewers differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ..errors import LandmarkError
from ..evaluation.reviewer_agreement import InterobserverAgreement, agreement
from ..journal import checksum_of
from .choice import is_given
from .store import FINAL, IMAGE_REMOVED, ORIGINAL, REMARKED, SAVED, SAVED_AGAIN, ReviewStore
from .submission import check_submission

__all__ = ["Version", "agreement_rows", "case_rows", "remarks_of", "versions_of"]

# What the columns of a table are called, and of what they come.
NOTED = {"gain_mm": "gain", "confidence": "confidence", "disagreement_mm": "disagreement"}


@dataclass(frozen=True)
class Version:
    """
    A reviewed label: the one there is, or one that was replaced.

    Args:
        content: a ``.mrk.json`` file.
        reviewers: who handed it in; more than one when others handed in the very same. Empty for a label that
            was not handed in to a server.
        time: when it was first handed in; empty when that is not known.
        blind: whoever made it had not seen another reviewer's label.
    """

    content: bytes
    reviewers: tuple[str, ...]
    time: str
    blind: bool


def versions_of(
    store: ReviewStore, image_id: str, log: Sequence[Mapping[str, Any]] | None = None
) -> list[Version]:
    """
    The reviewed labels of an image, oldest first; the last one is that there is.

    Args:
        log: of the store, where it was read already.

    Raises:
        ReviewError: when there is no such image.
    """
    files = store.history(image_id)
    if store.checksum(image_id) is not None:
        files.append(store.label(image_id))
    left = [entry for entry in _entries(store, image_id, log) if entry.get("tag") == FINAL]
    found = []
    for file in files:
        content = file.read_bytes()
        said = [entry for entry in left if entry.get("checksum") == checksum_of(content)]
        saved = [number for number, entry in enumerate(said) if entry.get("action") == SAVED]
        said = said[: saved[1]] if len(saved) > 1 else said  # handed in once more later, after another one
        left = [entry for entry in left if not any(entry is one for one in said)]
        first = said[0] if said else {}
        people = dict.fromkeys(str(entry.get("reviewer", "")) for entry in said)
        blind = (first.get("corrected") or {}).get("from") not in (None, FINAL)
        found.append(Version(content, tuple(people), str(first.get("time", "")), blind))
    return found


def remarks_of(
    store: ReviewStore, image_id: str, log: Sequence[Mapping[str, Any]] | None = None
) -> list[dict[str, str]]:
    """
    What was said of a case, oldest first: ``time``, ``reviewer`` and ``text``.

    Args:
        log: of the store, where it was read already.
    """
    said = [entry for entry in _entries(store, image_id, log) if entry.get("action") == REMARKED]
    return [{key: str(entry.get(key, "")) for key in ("time", "reviewer", "text")} for entry in said]


def case_rows(store: ReviewStore, now: float) -> list[dict[str, Any]]:
    """
    A row for each case: ``case``, ``state`` (``unseen``, ``predicted``, ``in review``, ``reviewed``,
    ``unreadable``), ``reviewers``, ``reviewed`` (when), ``labels`` (that there were), ``gain_mm`` (that a
    review is expected to mend), ``confidence``, ``disagreement_mm`` (of networks), ``apart_mm`` (two
    reviewers, on average), ``most_apart`` (the landmark), ``presence_differs``, ``blind``, ``remarks`` and
    the last ``remark``. What is not known is None.

    Args:
        now: seconds since the epoch.
    """
    log, notes = _by_case(store.log()), store.notes()
    labelled = {tag: set(store.labelled(tag)) for tag in (FINAL, ORIGINAL)}
    rows = []
    for case in store.images():
        note, mine = notes.get(case, {}), log.get(case, [])
        remarks = remarks_of(store, case, mine)
        saves = [entry for entry in _entries(store, case, mine) if entry.get("tag") == FINAL]
        people = list(dict.fromkeys(str(entry.get("reviewer", "")) for entry in saves))
        compared = list(_pairs(store, case, mine))
        _, _, apart, blind = compared[-1] if compared else ("", "", None, None)
        rows.append(
            {
                "case": case,
                "state": _state(case, note, labelled, now),
                "reviewers": [name for name in people if name],
                "reviewed": str(saves[-1].get("time", "")) if saves and case in labelled[FINAL] else None,
                "labels": sum(entry.get("action") == SAVED for entry in saves),
                **{column: note.get(key) for column, key in NOTED.items()},
                "apart_mm": apart and apart.mean_mm,
                "most_apart": apart and apart.worst,
                "presence_differs": None if apart is None else int(apart.presence_differs.sum()),
                "blind": blind,
                "remarks": len(remarks),
                "remark": remarks[-1]["text"] if remarks else None,
            }
        )
    return rows


def agreement_rows(store: ReviewStore) -> list[dict[str, Any]]:
    """
    A row for each landmark of each two reviewers of one case: ``case``, ``first``, ``second``, ``blind``
    (neither had seen the other's), ``landmark``, ``apart_mm`` and ``presence_differs``.
    """
    log, rows = _by_case(store.log()), []
    for case in store.images():
        for first, second, apart, blind in _pairs(store, case, log.get(case, [])):
            told = {"case": case, "first": first, "second": second, "blind": blind}
            for name, mm, differs in zip(apart.names, apart.distance_mm, apart.presence_differs):
                distance = None if mm != mm else round(float(mm), 4)
                rows.append(
                    {**told, "landmark": name, "apart_mm": distance, "presence_differs": bool(differs)}
                )
    return rows


def _pairs(
    store: ReviewStore, case: str, log: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str, InterobserverAgreement, bool]]:
    """The last labels of each two reviewers of a case; those without a name cannot be told apart."""
    saves = [entry for entry in _entries(store, case, log) if entry.get("tag") == FINAL]
    if len({entry.get("reviewer") for entry in saves} - {"", None}) < 2:
        return
    last: dict[str, Version] = {}
    for version in versions_of(store, case, log):
        for name in version.reviewers:
            if name:
                last.pop(name, None)
                last[name] = version
    for (first, one), (second, other) in combinations(last.items(), 2):
        try:
            labels = [check_submission(version.content, store.names) for version in (one, other)]
        except LandmarkError:  # such as of a model with other landmarks
            continue
        yield first, second, agreement(*labels), one is not other and one.blind and other.blind


def _state(case: str, note: Mapping[str, Any], labelled: Mapping[str, set[str]], now: float) -> str:
    if case in labelled[FINAL]:
        return "reviewed"
    if note.get("unreadable"):
        return "unreadable"
    if is_given(note, now):
        return "in review"
    return "predicted" if case in labelled[ORIGINAL] else "unseen"


def _by_case(log: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for entry in log:
        found.setdefault(str(entry.get("image")), []).append(entry)
    return found


def _entries(
    store: ReviewStore, image_id: str, log: Sequence[Mapping[str, Any]] | None
) -> list[Mapping[str, Any]]:
    """What the log says of an image, since it is there."""
    said = [entry for entry in (store.log() if log is None else log) if entry.get("image") == image_id]
    removed = [number for number, entry in enumerate(said) if entry.get("action") == IMAGE_REMOVED]
    return [
        entry
        for entry in said[removed[-1] + 1 if removed else 0 :]
        if entry.get("action") in (SAVED, SAVED_AGAIN, REMARKED)
    ]
