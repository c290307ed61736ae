# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.networks.weights; this name works until version 1.0."""

from auto3dlandmark.networks.weights import *  # noqa: F403
