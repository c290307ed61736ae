# SPDX-License-Identifier: Apache-2.0
"""Evaluations for people: ``report`` and ``pictures`` write pages, ``charts`` draws, ``published``
says what papers found."""
