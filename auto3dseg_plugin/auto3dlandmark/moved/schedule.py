# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.training.schedule; this name works until version 1.0."""

from auto3dlandmark.training.schedule import *  # noqa: F403
