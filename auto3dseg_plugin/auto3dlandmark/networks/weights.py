# SPDX-License-Identifier: Apache-2.0
"""Weights and checkpoints on disk: written whole or not at all, read without running code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import LandmarkError
from ..files import atomic_path
from .norm import keep_layout

__all__ = ["fill_network", "load_weights", "save_atomically", "start_from"]

# How numpy's numbers are pickled: by the name their rebuilding function has in numpy 2, or had in numpy 1.
_SCALAR = np.float64(0).__reduce__()[0]
NUMPY_NUMBERS: list[Any] = [
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "?")),
]


def save_atomically(state: Any, path: str | os.PathLike) -> None:
    """
    ``torch.save`` that leaves the older file alone until the new one is complete.

    Raises:
        LandmarkError: when it cannot be written, a full disk included.
    """
    with atomic_path(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # torch reports a full disk as one
            raise OSError(f"torch: {str(error).splitlines()[0]}") from error


def fill_network(
    network: torch.nn.Module, path: str | os.PathLike, weights: Mapping[str, torch.Tensor] | None = None
) -> None:
    """
    Give a network the weights of a file.

    Args:
        weights: what was read from the file, and perhaps changed; left out, the file is read.

    Raises:
        LandmarkError: when the file is missing, damaged, or of another network.
    """
    weights = load_weights(path) if weights is None else weights
    try:
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise LandmarkError(
            f"{path}: does not fit the network ({lines[-1]}). Name weights of this very network, or train it "
            "again."
        ) from error


def start_from(network: torch.nn.Module, path: str | os.PathLike | None) -> torch.nn.Module:
    """
    The network, ready to be trained: with the weights of a file, to go on from; None: as it is.

    Raises:
        LandmarkError: as :func:`fill_network`.
    """
    if path is not None:
        fill_network(network, path)
    return keep_layout(network)


def load_weights(
    path: str | os.PathLike, device: str | torch.device = "cpu", trusting_numpy: bool = False
) -> Any:
    """
    Read a file of tensors and plain values; it cannot run code.

    Args:
        trusting_numpy: numpy's numbers are plain values too, as in nnU-Net's checkpoints.

    Raises:
        LandmarkError: when it is missing or broken.
    """
    if not Path(path).is_file():
        raise LandmarkError(
            f"{path}: there is no such file. Train the bundle first, or copy its weights there."
        )
    try:
        with torch.serialization.safe_globals(NUMPY_NUMBERS if trusting_numpy else []):
            return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # the unpickler raises whatever broken bytes lead it to
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LandmarkError(
            f"{path}: is damaged or holds no weights ({reason[:120]}). Copy it again, or train again."
        ) from error
