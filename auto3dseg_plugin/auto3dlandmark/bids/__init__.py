# SPDX-License-Identifier: Apache-2.0
"""Datasets in the BIDS layout: ``anatomy`` finds their images, ``derivatives`` holds results."""

from __future__ import annotations
