# SPDX-License-Identifier: Apache-2.0
"""Which bundles answer now: those the server was started with, or a version that was trained since and proved
as good.

``current.json`` names the version; writing it is the promotion, so there is no moment without a whole model.
Older versions stay where they are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bundles.folder import BundleFolder, common_landmarks, weights_digest
from ..bundles.trust import refuse_foreign_code
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
        trust: serve them even if their configs hold code from outside the template.

    Raises:
        LandmarkError: when a folder is no bundle, or bundles find different landmarks.
    """

    def __init__(
        self, folder: str | os.PathLike, given: Sequence[str | os.PathLike], trust: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.given = tuple(Path(bundle).resolve() for bundle in given)
        bundles = [BundleFolder(path) for path in self.given]
        for bundle in bundles:
            for name in ("inference", "train"):
                if bundle.config_path(name).is_file():
                    refuse_foreign_code(bundle.read_config(name), bundle.config_path(name), trust)
        self.names = common_landmarks(bundles)
        self.made_from = weights_digest(bundles)

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
