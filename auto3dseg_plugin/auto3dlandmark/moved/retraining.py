# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.review.retraining; this name works until version 1.0."""

from auto3dlandmark.review.retraining import *  # noqa: F403
