# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.formats.label_maps; this name works until version 1.0."""

from .label_maps import *  # noqa: F403
