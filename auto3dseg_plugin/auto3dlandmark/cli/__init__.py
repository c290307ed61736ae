# SPDX-License-Identifier: Apache-2.0
"""The command line ``auto3dlandmark``: a function for each command, in a file for each group.

``arguments`` checks what is typed against the function's signature before anything runs, ``help`` shows it;
``fire`` calls.
"""

from __future__ import annotations

from .entry import main

__all__ = ["main"]
