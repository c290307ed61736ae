# SPDX-License-Identifier: Apache-2.0
"""Landmarks of annotated images laid onto others, without training: ``pose_search``, then ``elastix``;
``templates`` fuses what several annotated images say."""
