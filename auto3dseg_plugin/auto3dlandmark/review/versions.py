# SPDX-License-Identifier: Apache-2.0
"""What answers now: what the server was started with, or a version that was trained since and proved as good.

A server is started with bundles, or with none and a few annotated cases, which are registered to the others
until a network has been trained. ``current.json`` names the version; writing it is the promotion, so there is
no moment without a whole model. Older versions stay where they are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bundles.folder import BundleFolder, common_landmarks, weights_digest
from ..bundles.trust import refuse_foreign_code
from ..data.annotations import read_folder
from ..data.datalist import Case, scan_folder
from ..errors import LandmarkError
from ..files import digest, files_digest, read_json, write_json
from ..journal import read_records
from ..registration.elastix import refuse_without_elastix

__all__ = ["MOST_TEMPLATES", "ReviewedCases", "Served", "ServedModel"]

RECORD = "version.json"
MOST_TEMPLATES = 3  # more take longer and err no less


@dataclass(frozen=True)
class Served:
    """
    What answers.

    Args:
        version: 0 for what the server was started with.
        bundles: its bundles.
        templates: the cases that are registered, where there are no bundles.
        state: a short name for the templates' files; it changes when one of them does.
    """

    version: int
    bundles: tuple[Path, ...]
    templates: tuple[Case, ...] = ()
    state: str = ""


@dataclass(frozen=True)
class ReviewedCases:
    """
    The annotated cases of a studies folder, as they are when asked.

    Args:
        studies: the folder.
        landmarks: which landmark files are meant, as for :func:`auto3dlandmark.data.annotations.read_folder`.
        modality: of the images, for the first network.
    """

    studies: Path
    landmarks: str | None = None
    modality: str = "MRI"

    def names(self) -> tuple[str, ...]:
        """
        The landmarks they list.

        Raises:
            LandmarkError: when there are none, or elastix is not installed.
        """
        refuse_without_elastix()
        return scan_folder(self.studies, landmarks=self.landmarks).landmark_names

    def served(self) -> Served:
        """The first ones that were annotated, as version 0."""
        content = read_folder(self.studies, self.landmarks, {})
        log = read_records(self.studies / "review" / "log.jsonl")
        reviewed = [entry.get("image") for entry in log if entry.get("tag") == "final"]
        when = {case: number for number, case in reversed(list(enumerate(reviewed)))}  # for the first time
        order = sorted(content.labels, key=lambda case: (when.get(case, -1), case))[:MOST_TEMPLATES]
        first = tuple(Case(case, content.images[case], content.labels[case], None) for case in order)
        files = [path for case in first for path in (case.image, case.label) if path is not None]
        return Served(0, (), first, files_digest(files))


class ServedModel:
    """
    The versions of a model.

    Args:
        folder: where versions trained later, and what says which one is served, are kept.
        given: the bundles to begin with; they are never changed.
        trust: serve them even if their configs hold code from outside the template.
        templates: what to begin with where there are no bundles.

    Raises:
        LandmarkError: when a folder is no bundle, or bundles find different landmarks.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        given: Sequence[str | os.PathLike],
        trust: bool = False,
        templates: ReviewedCases | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.given = tuple(Path(bundle).resolve() for bundle in given)
        self.templates = templates
        if templates is not None:
            self.names = templates.names()
            self.made_from = digest(["templates", *self.names])
            return
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
            pass  # whatever happened to the file: what was given is always there
        return Served(0, self.given) if self.templates is None else self.templates.served()

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
        before = self.current()
        os.replace(candidate, place)
        content = {
            "version": version,
            "bundles": [str((place / name).relative_to(self.folder)) for name in bundles],
            "made_from": self.made_from,
            "before": before.version,
            **facts,
        }
        write_json(place / RECORD, content)
        write_json(self.folder / "current.json", content)
        return version

    def versions(self) -> list[dict[str, Any]]:
        """What was promoted and is still there, oldest first, as it was recorded."""
        found = [read_json(path) for path in sorted((self.folder / "versions").glob(f"*/{RECORD}"))]
        return [one for one in found if one.get("made_from") == self.made_from]

    def serve(self, version: int) -> None:
        """
        Serve another version from now on; 0: what the server was started with.

        Raises:
            LandmarkError: when there is no such version.
        """
        known = {one["version"]: one for one in self.versions()}
        if version == 0:
            (self.folder / "current.json").unlink(missing_ok=True)
        elif version in known:
            write_json(self.folder / "current.json", known[version])
        else:
            there = ", ".join(map(str, (0, *known)))
            raise LandmarkError(f"there is no version {version} to go to. There are {there}.")
