# SPDX-License-Identifier: Apache-2.0
"""How a network is run over an image: ``autocast`` chooses the precision, ``window`` what it sees at once."""

from __future__ import annotations

from .autocast import AutocastInferer, autocast, autocast_dtype
from .window import FittedSlidingWindowInferer, nnunet_weights

__all__ = ["AutocastInferer", "FittedSlidingWindowInferer", "autocast", "autocast_dtype", "nnunet_weights"]
