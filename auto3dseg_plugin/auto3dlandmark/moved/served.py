# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.review.versions; this name works until version 1.0."""

from auto3dlandmark.review.versions import ServedModel as ServedModel
