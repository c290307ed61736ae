# SPDX-License-Identifier: Apache-2.0
"""A chain of levels that look alike."""

from __future__ import annotations

import numpy as np
import pytest

from auto3dlandmark.frames.shape_frame import ShapeFrame, frame_around
from auto3dlandmark.shapes.model import fit_shape


@pytest.fixture
def chain_frame() -> tuple[ShapeFrame, np.ndarray]:
    """A frame of five levels of three landmarks, 30 mm apart, and where they are."""
    names = [f"L{level}_{part}" for level in range(1, 6) for part in ("centre", "front", "top")]
    level = np.array([[0, 0, 0], [0, 10, 0], [0, 0, 8.0]])
    chain = np.concatenate([level - (0, 0, 30 * number) for number in range(5)])
    random = np.random.default_rng(0)
    model = fit_shape(np.stack([chain + random.normal(size=chain.shape) for _ in range(8)]), names)
    return frame_around(model, (2, 2, 2), (20, 20, 80), noise_mm=1.0), chain
