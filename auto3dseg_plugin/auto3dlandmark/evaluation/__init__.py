# SPDX-License-Identifier: Apache-2.0
"""Predictions against annotated landmarks: ``compare`` finds the errors, ``tables`` writes them down."""
