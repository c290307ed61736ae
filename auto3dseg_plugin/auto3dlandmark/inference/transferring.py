# SPDX-License-Identifier: Apache-2.0
"""Annotated images as what makes landmarks of others, by registration."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..data.datalist import Case
from ..errors import readable_error
from ..files import digest, files_digest, read_json, write_json
from ..formats import landmark_file
from ..registration.elastix import refuse_without_elastix
from ..registration.templates import (
    Template,
    Transfer,
    fused,
    ratios_of,
    read_template,
    read_volume,
    transferred,
)
from .parallel import Outcome

__all__ = ["TransferMaker"]

VERSION = 1
MOST_COMPARED = 6  # templates that are laid onto each other, to learn what their spread says


@dataclass(frozen=True)
class TransferMaker:
    """
    Templates, of which each is registered to every image.

    Args:
        cases: annotated.
        names: of the landmarks.
        notebook: a JSON file that remembers what the templates say of each other.
        threads: that each registration takes.
    """

    cases: Sequence[Case]
    names: Sequence[str]
    notebook: Path
    threads: int = 1

    @property
    def identity(self) -> str:
        """It changes with the templates' images and landmarks."""
        labels = [landmark_file(case.label) for case in self.cases if case.label is not None]
        files = files_digest([*(case.image for case in self.cases), *labels])
        return digest([VERSION, list(self.names), files])

    def compare(self, progress: bool = True) -> None:
        """
        Lay the templates onto each other, and write into the notebook what that says of their spread; once.

        Raises:
            LandmarkError: when elastix is not installed, or a template cannot be read.
        """
        refuse_without_elastix()
        if self._known() is not None:
            return
        templates = self._templates()
        few = templates[:MOST_COMPARED]
        pairs = [(row, column) for row in range(len(few)) for column in range(len(few)) if row != column]
        said: list[list[Transfer | None]] = [[None] * len(few) for _ in few]
        if len(few) > 2:
            for row, column in tqdm(pairs, "templates", unit="pair", disable=not progress):
                said[row][column] = transferred(few[column], few[row].volume, self.threads)
        ratios = ratios_of(few, said)
        write_json(
            self.notebook, {"of": self.identity, "ratios": None if ratios is None else ratios.tolist()}
        )

    def _known(self) -> dict | None:
        content = read_json(self.notebook) if self.notebook.is_file() else None
        return content if isinstance(content, dict) and content.get("of") == self.identity else None

    def _templates(self) -> list[Template]:
        return [read_template(case, self.names) for case in self.cases]

    def load(self) -> Callable[[Path], Outcome]:
        """As :class:`auto3dlandmark.inference.parallel.Maker` says."""
        refuse_without_elastix()
        templates, known = self._templates(), self._known()
        ratios = None if known is None or known["ratios"] is None else np.array(known["ratios"])

        places = [Path(case.image).resolve() for case in self.cases]

        def predict(image: str | os.PathLike) -> Outcome:
            try:
                here = Path(image).resolve()
                others = [one for one, place in zip(templates, places) if place != here]
                if not others:
                    return Outcome(None, (), f"{image}: is the template. There is nothing to lay onto it.")
                target = read_volume(image)
                said = [transferred(one, target, self.threads) for one in others]
                return Outcome(fused(others, said, target, ratios))
            except Exception as error:  # whatever a reader or elastix says of an image it cannot take
                return Outcome(None, (), str(readable_error(error, f"{image}: cannot be registered")))

        return predict
