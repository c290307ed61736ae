# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.training.keep_models and training.progress; this name works until version 1.0."""

from auto3dlandmark.training.keep_models import KeepModels as KeepModels
from auto3dlandmark.training.progress import ProgressBar as ProgressBar
