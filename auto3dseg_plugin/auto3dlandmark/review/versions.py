# SPDX-License-Identifier: Apache-2.0
"""Which bundles answer now: those the server was started with, or a version that was trained since and proved as good.

``current.json`` names the version; writing it is the promotion, so there is no moment without a whole model. Older
versions stay where they are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import LandmarkError
from ..files import read_json, write_json

__all__ = ["Served", "ServedModel"]


@dataclass(frozen=True)
class Served:
    """A version, 0 for the bundles that were given, and its bundles."""

    version: int
    bundles: tuple[Path, ...]


class ServedModel:
    """
    The versions of a model.

    Args:
        folder: where versions trained later, and what says which one is served, are kept.
        given: the bundles to begin with; they are never changed.

    Raises:
        LandmarkError: when a folder is no bundle, or bundles find different landmarks.
    """

    def __init__(self, folder: str | os.PathLike, given: Sequence[str | os.PathLike]) -> None:
        self.folder = Path(folder)
        self.given = tuple(Path(bundle).resolve() for bundle in given)
        if not self.given:
            raise LandmarkError("no bundle given. Name at least one folder of a trained bundle.")
        configs = [_inference_config(bundle) for bundle in self.given]
        self.names: tuple[str, ...] = tuple(configs[0]["landmark_names"])
        for bundle, config in zip(self.given, configs):
            if tuple(config["landmark_names"]) != self.names:
                raise LandmarkError(f"{bundle}: finds other landmarks than {self.given[0]}.")
        self.made_from = _weights_digest(self.given)

    def current(self) -> Served:
        """What answers now. A version that was trained from other bundles than those given does not count."""
        path = self.folder / "current.json"
        try:
            found = read_json(path) if path.is_file() else {}
            bundles = tuple(self.folder / name for name in found["bundles"]) if found else ()
            if bundles and found["made_from"] == self.made_from and all(map(Path.is_dir, bundles)):
                return Served(int(found["version"]), bundles)
        except (LandmarkError, KeyError, TypeError, ValueError):
            pass  # whatever happened to the file: the given bundles are always there
        return Served(0, self.given)

    def promote(self, candidate: Path, bundles: Sequence[str], facts: Mapping[str, Any]) -> int:
        """
        Serve a candidate from now on.

        Args:
            candidate: a folder inside :attr:`folder`; it is moved to its version's place.
            bundles: the bundles' paths inside it.
            facts: kept beside the version's number.

        Returns:
            the new version.
        """
        versions = self.folder / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        taken = [int(path.name) for path in versions.iterdir() if path.name.isdigit()]
        version = max(taken, default=0) + 1
        place = versions / f"{version:04d}"
        os.replace(candidate, place)
        before = self.current()
        content = {
            "version": version,
            "bundles": [str((place / name).relative_to(self.folder)) for name in bundles],
            "made_from": self.made_from,
            "before": before.version,
            **facts,
        }
        write_json(self.folder / "current.json", content)
        return version


def _inference_config(bundle: Path) -> dict[str, Any]:
    path = bundle / "configs" / "inference.json"
    if not path.is_file():
        raise LandmarkError(f"{bundle}: is not a bundle, it has no configs/inference.json.")
    config = read_json(path)
    if not isinstance(config, dict) or not isinstance(config.get("landmark_names"), list):
        raise LandmarkError(f"{path}: does not name its landmarks. Is it a bundle of auto3dlandmark?")
    return config


def _weights_digest(bundles: Sequence[Path]) -> str:
    """A name for the bundles by their content, wherever they lie."""
    found = hashlib.sha256()
    for bundle in bundles:
        files = sorted((bundle / "models").glob("*.pt")) if (bundle / "models").is_dir() else []
        if not files:
            raise LandmarkError(f"{bundle}: has no weights in models/. Train it first.")
        for file in files:
            with open(file, "rb") as stream:
                while block := stream.read(2**20):
                    found.update(block)
    return found.hexdigest()
