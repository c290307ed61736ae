# SPDX-License-Identifier: Apache-2.0
"""Datasets on disk: which images and landmark files belong together, and what they hold.

``images`` reads a volume; ``folder`` says what a folder holds; ``folds`` and ``datalist`` which case is held
out when; ``measurements`` are lengths and angles; ``slices`` are pictures; ``demo`` makes a dataset;
``published`` converts the public ones. No torch here.
"""
