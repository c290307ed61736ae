# SPDX-License-Identifier: Apache-2.0
"""Moved to auto3dlandmark.data.datalist; this name works until version 1.0."""

from auto3dlandmark.data.datalist import *  # noqa: F403
