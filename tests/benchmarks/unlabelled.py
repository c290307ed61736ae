# SPDX-License-Identifier: Apache-2.0
"""What images without landmarks add: three annotated cases alone, those and 150 others, and registration.

    python tests/benchmarks/unlabelled.py DATASET WORK --annotated 3 --unlabelled 150 --minutes 20

All three are measured on the same hidden cases. Cases are drawn at random; every training has the same
minutes. WORK keeps what is there, so the same command goes on where it was.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import fire
import numpy as np

from auto3dlandmark.data.datalist import Case, scan_folder
from auto3dlandmark.data.folder import prediction_path
from auto3dlandmark.evaluation.compare import evaluate
from auto3dlandmark.formats import read_landmarks
from auto3dlandmark.shapes.alignment import aligned


def main(
    dataset: str,
    work: str,
    annotated: int = 3,
    unlabelled: int = 150,
    minutes: float = 20,
    folds: int = 5,
    seed: int = 0,
    registration: bool = True,
    alone: bool = True,
) -> None:
    """
    Print the table.

    Args:
        dataset: annotated cases.
        work: gets the datasets and all results.
        annotated: cases of which the landmarks are shown.
        unlabelled: further images; all the others are hidden.
        minutes: of each training.
        folds: of each training.
        seed: of the draw.
        registration: measure that, too.
        alone: train on the annotated cases alone, too.
    """
    top = Path(work)
    listed = scan_folder(dataset)
    order = np.random.default_rng(seed).permutation(len(listed.training))
    cases = [listed.training[number] for number in order]
    parts = {
        "annotated": cases[:annotated],
        "unlabelled": cases[annotated : annotated + unlabelled],
        "hidden": cases[annotated + unlabelled :],
    }
    for name, some in parts.items():
        _copy(top / name, some, with_landmarks=name != "unlabelled")
    hidden, names = list(scan_folder(top / "hidden").training), listed.landmark_names
    print(
        f"{dataset}: {annotated} annotated, {len(parts['unlabelled'])} others, {len(hidden)} hidden",
        flush=True,
    )
    common = ["--minutes", str(minutes), "--folds", str(folds), "--test", str(top / "hidden")]
    supervised, more = top / "alone", top / "more"
    if alone:
        _run(["run", str(top / "annotated"), str(supervised), *common])
        _tell("annotated alone", hidden, names, supervised / "test_predictions")
    if registration:
        _run(["transfer", str(top / "annotated"), str(top / "hidden"), str(top / "transferred")])
        _tell("registration", hidden, names, top / "transferred")
    _run(["run", str(top / "annotated"), str(more), *common, "--unlabelled", str(top / "unlabelled")])
    found = [more / "test_predictions", more / "unlabelled" / "second_student" / "test_predictions"]
    used = [path for path in found if path.is_dir()][-1]
    _tell(f"and others ({used.parent.name})", hidden, names, used)


def _copy(folder: Path, cases: Sequence[Case], with_landmarks: bool) -> None:
    for case in cases:
        assert case.label is not None
        places = [("images", case.image), *([("landmarks", case.label)] if with_landmarks else [])]
        for place, path in places:
            (folder / place).mkdir(parents=True, exist_ok=True)
            if not (folder / place / path.name).exists():
                shutil.copy2(path, folder / place)


def _run(words: Sequence[str]) -> None:
    began = time.time()
    subprocess.run([sys.executable, "-m", "auto3dlandmark", *words], check=True)
    print(f"{words[0]}: {(time.time() - began) / 60:.1f} minutes", flush=True)


def _tell(what: str, cases: Sequence[Case], names: Sequence[str], predictions: Path) -> None:
    """The errors, and the part of them that is the same in all cases, turned onto each other."""
    result = evaluate(cases, names, predictions)
    errors = result.errors_mm[np.isfinite(result.errors_mm)]
    far = 100 * np.mean(errors > 10)
    print(
        f"RESULT {what:28} mean {errors.mean():5.2f} median {np.median(errors):5.2f} "
        f"95 % {np.percentile(errors, 95):5.2f} over 10 mm {far:4.1f} %, {len(errors)} points, "
        f"the same in all cases: {_alike_mm(cases, names, predictions):.2f} mm",
        flush=True,
    )


def _alike_mm(cases: Sequence[Case], names: Sequence[str], predictions: Path) -> float:
    """Root mean square over landmarks of the mean error, as a vector in the frame of the first case."""
    frame, offsets = None, []
    for case in cases:
        assert case.label is not None
        true = read_landmarks(case.label).select(names).points
        found = read_landmarks(prediction_path(predictions, case.image)).select(names).points
        frame = true if frame is None else frame
        both = aligned(np.concatenate([true, found]), np.concatenate([frame, np.full_like(frame, np.nan)]))
        offsets.append(both[len(true) :] - both[: len(true)])
    return float(np.sqrt(np.nanmean((np.nanmean(offsets, axis=0) ** 2).sum(axis=1))))


if __name__ == "__main__":
    fire.Fire(main)
