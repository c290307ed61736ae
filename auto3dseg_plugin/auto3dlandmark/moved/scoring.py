# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.review.waiting and inference.confidence; this name works until version 1.0."""

from auto3dlandmark.inference.confidence import confidence_of as confidence_of
