# SPDX-License-Identifier: Apache-2.0
"""
What a retraining from reviewed labels gains: a model trained on a few cases, the same one trained on with
more, and both on cases that neither has seen. The reviewer is the dataset's own annotation.

    python tests/benchmarks/retraining.py ../shared/data/hippocampus --first 20 --reviewed 60 --minutes 4
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np

from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.evaluation.compare import evaluate
from auto3dlandmark.inference.predictor import LandmarkPredictor, predict_images
from auto3dlandmark.review.retraining import retrain
from auto3dlandmark.review.store import ReviewStore
from auto3dlandmark.review.versions import ServedModel
from auto3dlandmark.workflow.work_folder import WorkFolder


def copy_cases(cases, folder: Path) -> Path:
    for case in cases:
        for part, path in (("images", case.image), ("landmarks", case.label)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / part / path.name)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--first", type=int, default=20)
    parser.add_argument("--reviewed", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=4)
    options = parser.parse_args()
    cases = list(scan_folder(options.dataset).training)
    np.random.default_rng(0).shuffle(cases)
    first, rest = cases[: options.first], cases[options.first :]
    reviewed, unseen = rest[: options.reviewed], rest[options.reviewed :]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = WorkFolder(folder / "work")
        work.check(copy_cases(first, folder / "first"))
        work.analyze()
        work.make_plan("small")
        work.build(0, minutes=options.minutes)
        work.train(0)
        studies = copy_cases(reviewed, folder / "reviewed") / "images"
        model = ServedModel(studies / "review" / "models" / "landmarks", [work.bundle(0).path])
        store = ReviewStore(studies, model.names)
        for case in reviewed:
            store.save(case.id, case.label.read_bytes(), reviewer="the dataset")
        outcome = retrain(model, store, options.minutes)
        print(f"\nerror on {len(unseen)} cases that no model has seen, mm: mean (median, within 2 mm)")
        bundles = {"before": [work.bundle(0).path], "after": model.current().bundles}
        for title, chosen in bundles.items():
            predictor = LandmarkPredictor(chosen)
            predict_images(predictor, [case.image for case in unseen], folder / title)
            found = evaluate(unseen, predictor.names, folder / title).summary()
            print(f"{title:7} {found['mre_mm']:.3f} ({found['median_mm']:.3f}, {found['sdr_2mm']:.1f} %)")
        print(f"{outcome['state']}: {outcome['reason']}")


if __name__ == "__main__":
    main()
