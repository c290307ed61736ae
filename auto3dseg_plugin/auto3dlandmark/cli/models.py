# SPDX-License-Identifier: Apache-2.0
"""The commands about trained models: calibrate, stress, publish, bring in nnLandmark's."""

from __future__ import annotations

from pathlib import Path

from ..errors import LandmarkError
from ..estimates import POSTERIOR_MODES
from ..landmarks import some_names
from .arguments import one_of, positive
from .new_images import tell

__all__ = ["calibrate", "import_nnlandmark", "publish", "stress"]


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
            f"held-out error of {known.cases} cases: {known.before_mm:.2f} mm alone, "
            f"{known.after_mm:.2f} mm after the landmarks decided together; {verdict}"
        )
    print(f"posterior: {posterior or config.get('posterior', 'auto')}")


def stress(
    bundle: str,
    dataset: str,
    out: str,
    cases: int = 6,
    unseen: bool = False,
    landmarks: str | None = None,
    trust: bool = False,
) -> None:
    """
    See how the error of a bundle grows when images look otherwise.

    Other contrasts, noise, voxels, fields of view and orientations, each at three severities, on cases that
    the bundle was not trained on. Writes OUT/stress.csv, stress_cases.csv, stress.json and stress.png.

    Args:
        bundle: the folder of a trained bundle.
        dataset: annotated cases: those of the training, of which the held-out ones are taken.
        out: gets the tables and the picture; in an evaluation's folder its table tells the result, too.
        cases: the first so many held-out cases are taken.
        unseen: the bundle was trained on no case of DATASET, so all of them count as held out.
        landmarks: which landmark files of DATASET, where there are several for an image.
        trust: run a bundle whose configs hold code from outside the template.
    """
    positive("cases", cases)
    _refuse_place(out, dataset)
    from ..bundles.folder import BundleFolder
    from ..data.datalist import scan_folder
    from ..workflow.calibrating import held_out_rounds

    folder = BundleFolder(bundle)
    names = folder.landmark_names()
    listed = scan_folder(dataset, landmarks=landmarks)
    if not set(names) & set(listed.landmark_names):
        raise LandmarkError(
            f"{dataset}: has none of the landmarks that {bundle} finds ({some_names(names)})."
        )
    annotated = [case for case in (*listed.training, *listed.testing) if case.label is not None]
    rounds = [(None, annotated)] if unseen else held_out_rounds(folder, listed)
    if not rounds:
        raise LandmarkError(
            f"{bundle}: no case of {dataset} is known to be held out from its training. Give the dataset it "
            "was trained on or, if it was trained on no case of this one, say --unseen."
        )
    fold, known = rounds[0]
    chosen = known[:cases]
    where = "not trained on" if fold is None else f"held out in fold {fold}"
    _make_place(out)
    some = f"the first {len(chosen)} of {len(known)}" if len(chosen) < len(known) else f"all {len(known)}"
    print(f"cases: {some} {where}; --cases N takes more or fewer")
    from ..evaluation.stress import stress_bundle  # torch: seconds
    from ..evaluation.stress_figures import stress_table, write_stress

    test = stress_bundle(folder, chosen, Path(out) / "stress.png", fold, trust, tell)
    write_stress(out, test)
    print(f"{stress_table(test)}\n{test.summary()}\ntables and picture: {out}")


def _refuse_place(out: str, dataset: str) -> None:
    """Stop where results cannot go, before any work."""
    place = Path(out).resolve()
    if place.is_relative_to(Path(dataset).resolve()):
        raise LandmarkError(f"{out}: is in the dataset. Name another folder for the results.")
    if place.exists() and not place.is_dir():
        raise LandmarkError(f"{out}: is a file, not a folder. Choose another place for the results.")


def _make_place(out: str) -> None:
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LandmarkError(f"{out}: cannot be written ({error.strerror}). Choose another place.") from error


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
