# SPDX-License-Identifier: Apache-2.0
"""What a prediction costs in time and memory, measured in a process that does nothing else."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import psutil

from ..bundles.folder import BundleFolder
from ..errors import LandmarkError
from ..files import write_json

__all__ = ["write_cost"]

MOST_IMAGES = 5  # after one that is not counted, as a first one takes longer


def write_cost(
    path: str | os.PathLike, bundle: str | os.PathLike, images: Sequence[str | os.PathLike]
) -> None:
    """
    Write the ``parameters`` of a bundle's networks, ``seconds_per_image``, and ``peak_gb`` of memory above
    that of an idle process: of a GPU's, where there is one.

    Raises:
        LandmarkError: when the bundle cannot predict them.
    """
    call = f"from {__name__} import measure; measure({str(bundle)!r}, {[str(one) for one in images]!r})"
    result = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    if result.returncode:
        raise LandmarkError(f"{bundle}: its prediction cannot be timed: {result.stderr.strip()[-300:]}")
    write_json(path, json.loads(result.stdout.splitlines()[-1]))


def measure(bundle: str, images: Sequence[str]) -> None:
    """Print the figures, as JSON."""
    import torch

    from ..inference.predictor import LandmarkPredictor

    predictor = LandmarkPredictor([bundle], trust=True)
    stages = [
        predictor,
        *(LandmarkPredictor([one.path], trust=True) for one in BundleFolder(bundle).coarse_stages()),
    ]
    networks = [one.members[0].network for one in stages]
    parameters = sum(weight.numel() for network in networks for weight in network.parameters())
    del stages, networks
    idle = psutil.Process().memory_info().rss
    predictor.predict(images[0])
    timed = list(images[1 : 1 + MOST_IMAGES]) or list(images)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    for image in timed:
        predictor.predict(image)
    figures: dict[str, Any] = {
        "parameters": parameters,
        "seconds_per_image": round((time.perf_counter() - began) / len(timed), 3),
        "peak_gb": round(_peak(idle) / 2**30, 3),
    }
    print(json.dumps(figures))


def _peak(idle: int) -> int:
    """Bytes."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024) - idle
