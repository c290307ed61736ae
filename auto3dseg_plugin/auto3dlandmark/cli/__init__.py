# SPDX-License-Identifier: Apache-2.0
"""The command line ``auto3dlandmark``."""

from __future__ import annotations

from .commands import main

__all__ = ["main"]
