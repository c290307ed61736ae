# SPDX-License-Identifier: Apache-2.0
"""The first of two stages: a complete bundle inside another one, which finds roughly where landmarks are."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import torch

from ..bundles.folder import BundleFolder
from ..errors import LandmarkError
from ..files import files_digest
from ..shapes.peaks import Peaks
from .predictor import LandmarkPredictor

__all__ = ["CoarseStage"]


class CoarseStage:
    """
    A bundle whose peaks say in which pose the landmarks lie; it is loaded when it is first asked.

    Args:
        bundle: its folder.
        device: where to run.
        alone: of a published bundle, the one network that looks, such as that of a fold; left out, all do.
    """

    def __init__(
        self,
        bundle: str | os.PathLike,
        device: torch.device | str | None = None,
        alone: int | None = None,
    ) -> None:
        self.bundle, self.device, self.alone = Path(bundle), None if device is None else str(device), alone
        self.predictor: LandmarkPredictor | None = None
        self._one_at_a_time = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process loads its own."""
        return {"bundle": self.bundle, "device": self.device, "alone": self.alone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def identity(self) -> str:
        """A short name for what it finds: another one after another training."""
        return files_digest([BundleFolder(self.bundle).models.weights])

    def views(self, image: str | os.PathLike, alone: int | None = None) -> list[Peaks]:
        """
        The places at which the landmarks of an image file were found, as it is and tilted to each side: what
        is only told by how an image lies is found elsewhere in some views.

        Args:
            alone: instead of the stage's own.

        Raises:
            LandmarkError: when the stage has not been trained.
        """
        with self._one_at_a_time:  # of MONAI's caching threads
            if self.predictor is None:
                folder = BundleFolder(self.bundle)
                if not folder.models.weights.is_file():
                    raise LandmarkError(
                        f"{self.bundle}: the coarse stage has not been trained, and the fine stage looks "
                        "where it points. Train it first: python -m monai.bundle run training --config_file "
                        f"{folder.config_path('train')}"
                    )
                # The bundle around it has been trusted, this one with it.
                self.predictor = LandmarkPredictor([self.bundle], self.device, trust=True)
            return self.predictor.views(image, self.alone if alone is None else alone)
