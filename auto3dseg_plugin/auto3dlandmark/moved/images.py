# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.data.images; this name works until version 1.0."""

from auto3dlandmark.data.folder import list_images as list_images
from auto3dlandmark.data.images import *  # noqa: F403
