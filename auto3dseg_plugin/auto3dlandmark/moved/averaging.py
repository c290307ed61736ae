# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.training.averaging; this name works until version 1.0."""

from auto3dlandmark.training.averaging import *  # noqa: F403
