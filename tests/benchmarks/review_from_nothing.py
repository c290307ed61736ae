# SPDX-License-Identifier: Apache-2.0
"""A review that begins with one annotated case: what is left to correct, case by case, with and without
registration.

    python tests/benchmarks/review_from_nothing.py DATASET WORK --cases 30 --minutes 2

A simulated reviewer corrects what is more than 2 mm off, absent or present by mistake, and places what nobody
predicted. Without registration she places everything until there is a network. Cases are drawn at random and
come in the same order both times; networks are trained when the server would, and promoted as there.
WORK keeps the studies folders; 'auto3dlandmark effort WORK/with' draws the curve.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import fire
import numpy as np

from auto3dlandmark.data.datalist import Case, scan_folder
from auto3dlandmark.evaluation.corrections import corrections
from auto3dlandmark.formats import read_landmarks
from auto3dlandmark.formats.markups import markups_bytes
from auto3dlandmark.landmarks import LandmarkSet
from auto3dlandmark.reports.effort_report import effort_rows
from auto3dlandmark.review.answering import Answering, answering
from auto3dlandmark.review.retraining import learnt_from, retrain, worth_training
from auto3dlandmark.review.store import ORIGINAL, ReviewStore
from auto3dlandmark.review.versions import ReviewedCases, Served, ServedModel


def main(
    dataset: str,
    work: str,
    cases: int = 30,
    minutes: float = 2,
    tolerance_mm: float = 2.0,
    seed: int = 0,
) -> None:
    """
    Print a row for each five cases.

    Args:
        dataset: annotated cases.
        work: gets the studies folders.
        cases: that are reviewed, after the annotated one.
        minutes: of each training.
        tolerance_mm: what the reviewer leaves where it is.
        seed: of the draw.
    """
    listed = scan_folder(dataset)
    order = np.random.default_rng(seed).permutation(len(listed.training))[: cases + 1]
    first, *others = (listed.training[number] for number in order)
    for name in ("with", "without"):
        studies = Path(work) / name
        shutil.rmtree(studies, ignore_errors=True)
        _review(studies, first, others, minutes, tolerance_mm, name == "with")
        rows = effort_rows(ReviewStore(studies, listed.landmark_names).log())
        print(f"\n{dataset}, {name} registration: corrections in each case, of {len(listed.landmark_names)}")
        for begin in range(0, len(rows), 5):
            some = rows[begin : begin + 5]
            moved = [row["moved_mm"] for row in some if row["moved"]]
            mean = f"{np.mean(moved):5.2f}" if moved else "    -"
            models = ", ".join(dict.fromkeys(str(row["model"]) for row in some))
            done = sum(row["corrections"] for row in some) / len(some)
            which = f"{begin + 1:3}-{begin + len(some):<3}"
            print(f"RESULT {name:8} {which} {done:6.2f}  moved by {mean} mm  model {models}")
        total = sum(row["corrections"] for row in rows)
        print(f"RESULT {name:8} all     {total / len(rows):6.2f}  {total} corrections", flush=True)


def _review(
    studies: Path, first: Case, others: list[Case], minutes: float, tolerance_mm: float, registration: bool
) -> None:
    for case in (first, *others):
        (studies / "labels" / "final").mkdir(parents=True, exist_ok=True)
        shutil.copy2(case.image, studies)
    assert first.label is not None
    names = read_landmarks(first.label).names
    label = studies / "labels" / "final" / f"{first.id}.mrk.json"
    label.write_bytes(markups_bytes(read_landmarks(first.label)))
    model = ServedModel(studies / "review" / "models" / "landmarks", [], templates=ReviewedCases(studies))
    store, status, reviewed = ReviewStore(studies, names), {}, 1
    loaded: tuple[Served, Answering] | None = None
    for case in others:
        served, shown = model.current(), None
        if served.bundles or registration:
            if loaded is None or loaded[0] != served:
                loaded = served, answering(model, served)
            shown = loaded[1].predict(store.image(case.id))
            store.save(case.id, markups_bytes(shown), ORIGINAL, details={"version": served.version})
        assert case.label is not None
        truth = read_landmarks(case.label).select(names)
        store.save(case.id, markups_bytes(_corrected(shown, truth, tolerance_mm)), reviewer="simulated")
        reviewed += 1
        done = corrections(shown, _corrected(shown, truth, tolerance_mm))
        print(f"{case.id}: model {served.version}, {done.count} corrections", flush=True)
        if worth_training(reviewed, learnt_from(status)):
            status = retrain(model, store, minutes)


def _corrected(shown: LandmarkSet | None, truth: LandmarkSet, tolerance_mm: float) -> LandmarkSet:
    if shown is None:
        return truth
    off = np.linalg.norm(shown.points - truth.points, axis=1)
    fine = shown.present & truth.present & (off <= tolerance_mm)
    return LandmarkSet(truth.names, np.where(fine[:, None], shown.points, truth.points), truth.status)


if __name__ == "__main__":
    fire.Fire(main)
