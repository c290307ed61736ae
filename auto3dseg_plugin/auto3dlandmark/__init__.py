# SPDX-License-Identifier: Apache-2.0
"""Auto3DLandmark: self-configuring 3D landmark detection in the form of MONAI bundles.

Importing this package loads numpy and nothing heavier; torch and MONAI come with the modules that need them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import LandmarkError
from .formats import read_landmarks, write_landmarks
from .landmarks import LandmarkSet

if TYPE_CHECKING:
    from .inference.predictor import LandmarkPredictor

__version__ = "0.1.0"
__path__.append(str(Path(__file__).parent / "moved"))  # names of 0.1 lead to where their modules are now
__all__ = [
    "LandmarkError",
    "LandmarkSet",
    "__version__",
    "load",
    "read_landmarks",
    "templates_path",
    "write_landmarks",
]


def load(*bundles: str | os.PathLike, device: str | None = None, trust: bool = False) -> LandmarkPredictor:
    """
    Load trained bundles, whose ``predict(image)`` gives a :class:`LandmarkSet`; several are averaged.

    Args:
        bundles: their folders.
        device: cpu or cuda:0; left out, a GPU if there is one.
        trust: run what their configs ask for, even if it is code from outside the template.

    Raises:
        LandmarkError: when a folder is no trained bundle, or they find other landmarks.
    """
    from .inference.predictor import LandmarkPredictor

    return LandmarkPredictor(bundles, device, trust)


def templates_path() -> str:
    """
    The folder of algorithm templates, as stock ``AutoRunner`` takes it.
    """
    return str(Path(__file__).parent / "bundles" / "templates")
