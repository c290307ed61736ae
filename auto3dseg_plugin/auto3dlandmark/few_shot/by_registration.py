# SPDX-License-Identifier: Apache-2.0
"""What registration alone makes of held-out cases: what a network trained on few cases has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.datalist import Datalist, read_datalist
from ..data.folder import prediction_path
from ..errors import LandmarkError
from ..files import files_digest, read_json
from ..formats import write_landmarks
from ..inference.transferring import TransferMaker
from ..registration.elastix import elastix_is_there
from ..workflow.work_folder import WorkFolder

__all__ = ["compare_with_registration"]

MOST_CASES = 7  # annotated; with more there is more to learn from, and registration takes long
PREDICTIONS, EVALUATION = "transferred", "transferred_evaluation"


def compare_with_registration(
    work: WorkFolder, folds: Sequence[int], metrics: Path, thresholds_mm: Sequence[float] = (2, 3, 4)
) -> list[str]:
    """
    Lay the annotated cases outside each fold onto those inside, and say which errs less, this or the network.

    Nothing is done for more than :data:`MOST_CASES` cases.

    Args:
        metrics: of the network on the same cases.

    Returns:
        sentences; of an image that cannot be registered, too.
    """
    listed = read_datalist(work.datalist)
    if len(listed.training) > MOST_CASES:
        return []
    if not elastix_is_there():
        return [
            "note: with so few cases registration alone may be better; after pip install "
            "'auto3dlandmark[register]', 'run' compares"
        ]
    try:
        for fold in folds:
            _transfer(work, listed, fold)
    except LandmarkError as error:
        return [f"note: registration alone cannot be compared with: {error}"]
    cases = [case for fold in folds for case in listed.held_out(fold)]
    theirs = read_json(work.evaluate(cases, PREDICTIONS, EVALUATION, thresholds_mm))["mre_mm"]
    ours = read_json(metrics)["mre_mm"]
    if theirs is None or ours is None:
        return []
    how = "better" if theirs < ours else "no better"
    advice = ": use 'auto3dlandmark transfer' until more is annotated" if theirs < ours else ""
    return [
        f"registration alone errs by {theirs:.2f} mm on the same cases, the network by {ours:.2f}: it is "
        f"{how}{advice}"
    ]


def _transfer(work: WorkFolder, listed: Datalist, fold: int) -> None:
    """Lay the annotated cases outside a fold onto those inside; once."""
    folder, held_out = work.folder / PREDICTIONS, listed.held_out(fold)
    templates = [case for case in listed.training if case.fold != fold]
    maker = TransferMaker(templates, listed.landmark_names, folder / "templates.json")

    def action() -> None:
        lay = maker.load()
        for case in held_out:
            outcome = lay(case.image)
            if outcome.landmarks is None:
                raise LandmarkError(str(outcome.failed))
            write_landmarks(prediction_path(folder, case.image), outcome.landmarks)

    outputs = [prediction_path(folder, case.image) for case in held_out]
    made_from = [maker.identity, files_digest(case.image for case in held_out)]
    work.record.once(f"transfer to fold {fold}", made_from, outputs, action)
