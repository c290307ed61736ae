# SPDX-License-Identifier: Apache-2.0
"""Two stages by stock MONAI: a second one trains the first when that has not been done."""

from __future__ import annotations

import os

from ..bundles.folder import BundleFolder
from .run import is_trained, train_bundle

__all__ = ["train_coarse_first"]


def train_coarse_first(bundle: str | os.PathLike) -> None:
    """
    Train the first stage of a bundle, or go on with it; one that is trained, and a bundle of one stage, are
    left alone.

    Raises:
        LandmarkError: as :func:`auto3dlandmark.training.run.train_bundle` does.
    """
    for coarse in BundleFolder(bundle).coarse_stages():
        if not is_trained(coarse):
            train_bundle(coarse.path)
