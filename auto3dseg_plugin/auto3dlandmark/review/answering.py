# SPDX-License-Identifier: Apache-2.0
"""How a version finds the landmarks of an image: by its networks, or by registration of annotated cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ..bundles.folder import BundleFolder
from ..data.datalist import Case
from ..errors import LandmarkError
from ..inference.confidence import disagreement_of
from ..inference.plausibility import size_warnings
from ..inference.predictor import LandmarkPredictor
from ..inference.transferring import TransferMaker
from ..landmarks import LandmarkSet
from .versions import Served, ServedModel

__all__ = ["Answering", "ByNetworks", "ByRegistration", "answering"]


class Answering(Protocol):
    """What a version does, loaded."""

    def refuse_too_large(self, image: Path, most_gb: float) -> None:
        """
        Raises:
            LandmarkError: when an image cannot be looked at in so much memory.
        """

    def predict(self, image: Path) -> LandmarkSet:
        """
        Raises:
            LandmarkError: when an image cannot be used.
        """

    def disagreement(self, image: Path, found: LandmarkSet) -> float | None:
        """How far networks, or templates, lie apart on an image, mm; None for a single one."""


class ByNetworks:
    """Trained bundles."""

    def __init__(self, bundles: Sequence[Path]) -> None:
        self.predictor = LandmarkPredictor(bundles, trust=True)
        self.plan = BundleFolder(bundles[0]).read_plan()

    def refuse_too_large(self, image: Path, most_gb: float) -> None:
        """As :meth:`Answering.refuse_too_large`."""
        size_warnings(image, self.plan, most_gb=most_gb)

    def predict(self, image: Path) -> LandmarkSet:
        """As :meth:`Answering.predict`."""
        return self.predictor.predict(image)

    def disagreement(self, image: Path, found: LandmarkSet) -> float | None:
        """As :meth:`Answering.disagreement`."""
        return disagreement_of(self.predictor.points_of_each(image)[:, found.present])


class ByRegistration:
    """
    Annotated cases, each registered to the image.

    Args:
        cases: of which the image itself is left out, should it be among them.
        names: of the landmarks.
        notebook: a JSON file that remembers what the cases say of each other.
        compare: lay them onto each other first, should that not be known; it says how far off answers may be.
    """

    def __init__(
        self, cases: Sequence[Case], names: Sequence[str], notebook: Path, compare: bool = False
    ) -> None:
        maker = TransferMaker(cases, names, notebook)
        if compare:
            maker.compare(progress=False)
        self.several, self.lay = len(cases) > 1, maker.load()

    def refuse_too_large(self, image: Path, most_gb: float) -> None:
        """As :meth:`Answering.refuse_too_large`; images are made coarser first."""

    def predict(self, image: Path) -> LandmarkSet:
        """As :meth:`Answering.predict`."""
        outcome = self.lay(image)
        if outcome.landmarks is None:
            raise LandmarkError(str(outcome.failed))
        return outcome.landmarks

    def disagreement(self, image: Path, found: LandmarkSet) -> float | None:
        """As :meth:`Answering.disagreement`."""
        if not self.several or found.estimates is None or not found.present.any():
            return None
        variance = np.trace(found.estimates.covariance[found.present], axis1=1, axis2=2)
        return float(np.sqrt(variance.mean()))


def answering(model: ServedModel, served: Served, compare: bool = False) -> Answering:
    """
    A version of a model, loaded.

    Args:
        compare: as for :class:`ByRegistration`.
    """
    if served.bundles:
        return ByNetworks(served.bundles)
    return ByRegistration(served.templates, model.names, model.folder / "templates.json", compare)
