# SPDX-License-Identifier: Apache-2.0
"""Datasets that are made or converted into our dataset folder."""
