# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.review.waiting and inference.confidence; these names work until version 1.0."""

from auto3dlandmark.inference.confidence import confidence_of
from auto3dlandmark.review.waiting import predict_waiting as score_waiting

__all__ = ["confidence_of", "score_waiting"]
