# SPDX-License-Identifier: Apache-2.0
"""A bundle on disk: where each of its files lies, what a bundle must have, and which of its values are of
one machine.

Nothing else of ours spells a path inside a bundle. Importing this loads no torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import LandmarkError
from ..files import read_json, write_json
from ..planning.plan import Plan, read_plan

__all__ = [
    "MACHINE_KEYS",
    "TEMPLATES",
    "BundleFolder",
    "ModelsFolder",
    "common_landmarks",
    "weights_digest",
    "without_machine_keys",
]

TEMPLATES = Path(__file__).parent / "templates"  # of algorithms, as Auto3DSeg takes them
# Values of a config that say where things lie on this machine; a bundle that moves gets new ones.
MACHINE_KEYS = ("bundle_root", "dataset_dir", "datalist")


class ModelsFolder:
    """
    The weights of a bundle, and what is known about them.

    Args:
        path: the bundle's folder ``models``.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)

    @property
    def weights(self) -> Path:
        """What inference loads: the weights at the end of the training or, published, the networks of all
        folds."""
        return self.path / "model.pt"

    @property
    def one_fold(self) -> Path:
        """Of a published bundle: the network of one fold, to train on and to evaluate honestly."""
        return self.path / "one_fold.pt"

    @property
    def trainable(self) -> Path:
        """The weights that fit the network of train.json."""
        return self.one_fold if self.one_fold.is_file() else self.weights

    @property
    def best_weights(self) -> Path:
        """The weights of the best validation."""
        return self.path / "model_best.pt"

    @property
    def checkpoint(self) -> Path:
        """Of a training that was interrupted: all that is needed to go on."""
        return self.path / "checkpoint.pt"

    @property
    def outcome(self) -> Path:
        """How the training went: steps, seconds, and the error on the held-out fold over time."""
        return self.path / "training.json"

    @property
    def validations(self) -> Path:
        """Of a training that runs or was interrupted: the error on the held-out fold so far."""
        return self.path / "validations.json"

    def course(self) -> list[dict[str, float]]:
        """The error on the held-out fold over time, of a training that runs or has ended: ``step``,
        ``seconds`` and ``mre_mm``; empty before the first look."""
        if self.outcome.is_file():
            return list(read_json(self.outcome).get("history", []))
        return list(read_json(self.validations)) if self.validations.is_file() else []

    @property
    def settings(self) -> Path:
        """What the weights were trained with; bundles of 0.1 call it ``train.json``."""
        earlier = self.path / "train.json"
        return earlier if earlier.is_file() else self.path / "settings.json"

    @property
    def shape(self) -> Path:
        """How the training landmarks lie to each other, and what held-out cases say of the predictions."""
        return self.path / "shape.json"

    @property
    def cross_validation(self) -> Path:
        """Error and score of every held-out point."""
        return self.path / "cross_validation.json"


class BundleFolder:
    """
    The files of one bundle; whether they are there is asked when they are read.

    Args:
        path: the bundle's folder.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)

    @classmethod
    def around(cls, path: str | os.PathLike) -> BundleFolder:
        """The bundle that a path belongs to: the bundle's own, that of its configs, or of one of them."""
        path = Path(path)
        configs = path if path.is_dir() else path.parent
        return cls(configs.parent if configs.name == "configs" else configs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def config_path(self, name: str) -> Path:
        """``configs/NAME.json``."""
        return self.path / "configs" / f"{name}.json"

    @property
    def models(self) -> ModelsFolder:
        """The weights, and what is known about them."""
        return ModelsFolder(self.path / "models")

    @property
    def coarse_path(self) -> Path:
        """Where the bundle of a first stage lies, when there are two."""
        return self.path / "coarse"

    @property
    def coarse(self) -> BundleFolder | None:
        """The bundle of the first stage, where there are two."""
        inner = BundleFolder(self.coarse_path)
        return inner if inner.config_path("inference").is_file() else None

    def coarse_stages(self) -> list[BundleFolder]:
        """The same as a list, of one or of none."""
        return [] if self.coarse is None else [self.coarse]

    @property
    def frame(self) -> Path:
        """Where a second stage looks: the grid around the landmarks' mean shape."""
        return self.path / "configs" / "frame.json"

    @property
    def algo_object(self) -> Path:
        """What Auto3DSeg knows of the bundle."""
        return self.path / "algo_object.json"

    def require(self, config: str) -> Path:
        """
        The path of a config that must be there.

        Raises:
            LandmarkError: when it is not: the folder is no bundle.
        """
        path = self.config_path(config)
        if not path.is_file():
            raise LandmarkError(
                f"{self.path}: is not a bundle, it has no configs/{config}.json. "
                "Name a folder made by 'build'."
            )
        return path

    def read_config(self, name: str) -> dict[str, Any]:
        """
        Raises:
            LandmarkError: when the folder is no bundle, or the config is no JSON object.
        """
        path = self.require(name)
        config = read_json(path)
        if not isinstance(config, dict):
            raise LandmarkError(f"{path}: must be a JSON object. Build the bundle again.")
        return config

    def write_config(self, name: str, content: Mapping[str, Any]) -> None:
        """Write ``configs/NAME.json``, whole or not at all."""
        write_json(self.config_path(name), content)

    def read_plan(self) -> Plan:
        """
        Raises:
            LandmarkError: when the plan is missing, or of another version.
        """
        return read_plan(self.config_path("plan"))

    def known_plan(self) -> Plan | None:
        """The plan; None where this version reads none."""
        with contextlib.suppress(LandmarkError):
            return self.read_plan()
        return None

    def landmark_names(self) -> tuple[str, ...]:
        """
        In the order of the network's channels.

        Raises:
            LandmarkError: when the folder is no bundle of ours.
        """
        names = self.read_config("inference").get("landmark_names")
        if not isinstance(names, list):
            raise LandmarkError(
                f"{self.config_path('inference')}: does not name its landmarks. "
                "Is it a bundle of auto3dlandmark?"
            )
        return tuple(names)


def without_machine_keys(config: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """
    A config with the template's values wherever its own are of one machine.
    """
    return {**config, **{key: template[key] for key in MACHINE_KEYS if key in template}}


def common_landmarks(bundles: Sequence[BundleFolder]) -> tuple[str, ...]:
    """
    The landmarks that several bundles find, in the order of their channels.

    Raises:
        LandmarkError: when there is no bundle, a folder is none, or they find other landmarks or in another
            order.
    """
    if not bundles:
        raise LandmarkError("no bundle given. Name at least one folder of a trained bundle.")
    names = bundles[0].landmark_names()
    for bundle in bundles[1:]:
        found = bundle.landmark_names()
        if found != names:
            different = sorted(set(found) ^ set(names)) or ["the order"]
            raise LandmarkError(
                f"{bundle.path}: finds other landmarks than {bundles[0].path} ({', '.join(different[:5])} "
                "differ). Only bundles of the same landmarks can be used together."
            )
    return names


def weights_digest(bundles: Sequence[BundleFolder]) -> str:
    """
    A name for the weights of bundles by their content, wherever they lie.

    Raises:
        LandmarkError: when one has none.
    """
    found = hashlib.sha256()
    for bundle in bundles:
        files = sorted(bundle.models.path.glob("*.pt"))
        if not files:
            raise LandmarkError(f"{bundle.path}: has no weights in models/. Train it first.")
        for stage in bundle.coarse_stages():
            files += sorted(stage.models.path.glob("*.pt"))
        for file in files:
            with open(file, "rb") as stream:
                while block := stream.read(2**20):
                    found.update(block)
    return found.hexdigest()
