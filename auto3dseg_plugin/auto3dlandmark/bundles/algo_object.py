# SPDX-License-Identifier: Apache-2.0
"""What Auto3DSeg reads of a bundle, so that its ensembles and its history find bundles that its runner did
not make."""

from __future__ import annotations

from typing import Any

from ..files import read_json, write_json
from .folder import TEMPLATES, BundleFolder

__all__ = ["auto3dseg_score", "note_score", "write_algo_object"]

NAME = "heatmap"
TARGET = "auto3dlandmark.auto3dseg.algo.HeatmapAlgo"


def write_algo_object(bundle: BundleFolder, **options: Any) -> None:
    """
    Write a new ``algo_object.json``.

    Args:
        options: of the algorithm, such as ``recipe``.
    """
    state = {"name": NAME, "output_path": str(bundle.path), "options": options}
    write_json(bundle.algo_object, {"_target_": TARGET, "_state_": state, "template_path": str(TEMPLATES)})


def note_score(bundle: BundleFolder) -> None:
    """
    Add the score of a finished training to what Auto3DSeg knows of the bundle.
    """
    write_json(bundle.algo_object, {**read_json(bundle.algo_object), "best_metric": auto3dseg_score(bundle)})


def auto3dseg_score(bundle: BundleFolder) -> float | None:
    """
    1 / (1 + MRE in mm) on the held-out fold: larger is better, as AutoRunner wants it; None before the
    training has ended.
    """
    if not bundle.models.outcome.is_file():
        return None
    mre_mm = read_json(bundle.models.outcome)["mre_mm"]
    return 0.0 if mre_mm is None else 1.0 / (1.0 + float(mre_mm))
