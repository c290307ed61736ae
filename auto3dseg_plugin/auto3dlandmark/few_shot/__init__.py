# SPDX-License-Identifier: Apache-2.0
"""Few annotated cases: what registration alone gives, and learning from images that nobody annotated."""

from __future__ import annotations
