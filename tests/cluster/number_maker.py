# SPDX-License-Identifier: Apache-2.0
"""What stands for a bundle in tests of large jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auto3dlandmark import LandmarkError
from auto3dlandmark.inference.parallel import Outcome
from auto3dlandmark.landmarks import LandmarkSet


@dataclass(frozen=True)
class NumberMaker:
    """Makes a point of the number that an image file holds, and a log beside it; "kill" ends the process."""

    identity: str = "first"
    seconds: float = 0.0
    refusal: str = ""

    def load(self) -> Callable[[Path], Outcome]:
        """As for bundles."""
        if self.refusal:
            raise LandmarkError(self.refusal)

        def predict(image: Path) -> Outcome:
            text = image.read_text()
            time.sleep(self.seconds)
            with open(f"{image}.log", "a") as stream:
                stream.write("x")
            if text == "kill":
                os._exit(1)
            if text == "broken":
                return Outcome(None, (), f"{image}: cannot be read as an image.")
            return Outcome(LandmarkSet(["here", "gone"], [[float(text)] * 3, [np.nan] * 3]))

        return predict
