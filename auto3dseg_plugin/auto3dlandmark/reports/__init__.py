# SPDX-License-Identifier: Apache-2.0
"""Evaluations for people: ``report`` writes pages, ``charts`` draws, ``published`` says what papers found."""
