# SPDX-License-Identifier: Apache-2.0
"""A MONAI Label app that finds landmarks, keeps the reviewers' corrections, and learns from them."""
