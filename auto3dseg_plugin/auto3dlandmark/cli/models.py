# SPDX-License-Identifier: Apache-2.0
"""The commands about trained models: compare recipes, publish, bring in nnLandmark's."""

from __future__ import annotations

from pathlib import Path

from .arguments import first_folds, given, positive

__all__ = ["ablate", "import_nnlandmark", "publish"]


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
