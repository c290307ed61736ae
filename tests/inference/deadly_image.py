# SPDX-License-Identifier: Apache-2.0
"""Predict as a data worker would, but for one image that the process does not survive."""

from __future__ import annotations

import os
from pathlib import Path

from auto3dlandmark.inference import parallel


def predict(image: Path) -> parallel.Outcome:
    """As ``parallel._predict``."""
    if image.name.startswith("demo_01"):
        os._exit(9)
    return PREDICT(image)


PREDICT = parallel._predict
