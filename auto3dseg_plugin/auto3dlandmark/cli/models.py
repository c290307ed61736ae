# SPDX-License-Identifier: Apache-2.0
"""The commands about trained models: compare recipes, publish, bring in nnLandmark's."""

from __future__ import annotations

from pathlib import Path

from ..estimates import POSTERIOR_MODES
from .arguments import first_folds, given, one_of, positive

__all__ = ["ablate", "calibrate", "import_nnlandmark", "publish"]


def ablate(
    work: str,
    variants: str,
    folds: int = 5,
    recipe: str | None = None,
    minutes: float | None = None,
) -> None:
    """
    Train variants of a recipe on the same folds, and print one table.

    Args:
        work: a folder with plan.json; the variants go to WORK/ablation.
        variants: a JSON file such as {"radius 7": {"target#radius": 7}, "all voxels": {"loss#top_k": 1.0}}.
        folds: train the first so many folds.
        recipe: the recipe they vary; left out, what suits the network.
        minutes: end each training of a fold after so many minutes.
    """
    options = given(minutes=None if minutes is None else positive("minutes", minutes))
    from ..data.datalist import read_datalist
    from ..workflow.ablation import ablate as train_variants
    from ..workflow.ablation import ablation_table, read_variants
    from ..workflow.work_folder import WorkFolder

    folder, named = WorkFolder(work), read_variants(variants)
    chosen = first_folds(read_datalist(folder.datalist).folds, folds)
    print(f"\n{ablation_table(train_variants(folder, named, chosen, recipe, **options))}")


def calibrate(
    bundle: str,
    dataset: str,
    unseen: str | None = None,
    posterior: str | None = None,
    landmarks: str | None = None,
    trust: bool = False,
) -> None:
    """
    Let the landmarks of a bundle decide together, and say how far off they may be.

    For bundles that were imported, or made before 'run' did this by itself. Writes BUNDLE/models/shape.json.

    Args:
        bundle: the folder of a trained bundle.
        dataset: annotated cases that say how landmarks lie to each other: those of the training.
        unseen: a folder of annotated images that the bundle was not trained on; left out, the cases of
            DATASET that its datalist holds out.
        posterior: what predictions do from now on: auto, on or off; left out, as before.
        landmarks: which landmark files of DATASET, where there are several for an image.
        trust: run a bundle whose configs hold code from outside the template.
    """
    one_of("posterior", posterior, POSTERIOR_MODES)
    from ..bundles.folder import BundleFolder
    from ..data.datalist import scan_folder
    from ..workflow.calibrating import calibrate_on_dataset

    folder = BundleFolder(bundle)
    names = folder.landmark_names()
    listed = scan_folder(dataset, landmarks=landmarks)
    others = None if unseen is None else scan_folder(unseen, names)
    known = calibrate_on_dataset(folder, listed, others, trust).calibration
    config = folder.read_config("inference")
    if posterior is not None:
        folder.write_config("inference", {**config, "posterior": posterior})
    print(f"shape of {len(listed.training)} cases: {folder.models.shape}")
    if known is not None:
        verdict = "it helps" if known.helps else "it does not help enough to be used"
        print(
            f"held-out error of {known.cases} cases: {known.before_mm:.2f} mm as found, "
            f"{known.after_mm:.2f} mm after the landmarks decided together; {verdict}"
        )
    print(f"posterior: {posterior or config.get('posterior', 'auto')}")


def publish(work: str, bundle: str, about: str) -> None:
    """
    Make one bundle of all trained folds, to give away.

    It holds their mean, the cross-validation, and a description, in the form of MONAI's model zoo.

    Args:
        work: a work folder after 'run'.
        bundle: the folder to make.
        about: a JSON file with name, description, authors, copyright, and what else metadata.json should say.
    """
    from ..workflow.publish import publish as write_published

    write_published(work, bundle, about)
    print(f"bundle: {bundle}\nread first: {Path(bundle) / 'docs' / 'README.md'}")


def import_nnlandmark(model: str, out: str, configuration: str | None = None) -> None:
    """
    Make bundles of a model trained with nnLandmark.

    One for each trained fold of its results folder; it predicts like the original.

    Args:
        model: the folder with plans.json, dataset.json and fold_*/checkpoint_final.pth.
        out: gets fold_0 and so on.
        configuration: of plans.json; left out, the one that was trained.
    """
    from ..bundles.nnlandmark_import import import_nnlandmark as import_model

    bundles = " ".join(map(str, import_model(model, out, configuration)))
    print(f"bundles:     {bundles}\nnew images:  auto3dlandmark predict {bundles} IMAGES OUT")
