# SPDX-License-Identifier: Apache-2.0
"""Reviewing predicted landmarks and learning from the corrections; what of it needs no MONAI Label."""

from __future__ import annotations
