# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.auto3dseg.ensemble; this name works until version 1.0."""

from auto3dlandmark.auto3dseg.ensemble import LandmarkEnsemble as LandmarkEnsemble
