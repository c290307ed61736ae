# SPDX-License-Identifier: Apache-2.0
"""What a prediction costs in time and memory, measured in a process that does nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from ..bundles.folder import BundleFolder
from ..errors import LandmarkError
from ..files import write_json

__all__ = ["MOST_IMAGES", "write_cost"]

MOST_IMAGES, MOST_SECONDS = 6, 60.0  # that are predicted


def write_cost(
    path: str | os.PathLike, bundle: str | os.PathLike, images: Sequence[str | os.PathLike]
) -> None:
    """
    Write the ``parameters`` of a bundle's networks, ``seconds_per_image``, and ``peak_gb`` of memory above
    that of a process which has loaded them: of a GPU's, where there is one.

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
    from ..inference.predictor import LandmarkPredictor

    predictor = LandmarkPredictor([bundle], trust=True)
    stages = [
        predictor,
        *(LandmarkPredictor([one.path], trust=True) for one in BundleFolder(bundle).coarse_stages()),
    ]
    networks = [one.members[0].network for one in stages]
    parameters = sum(weight.numel() for network in networks for weight in network.parameters())
    del stages, networks
    peak, seconds = _Peak(), []
    for image in images:
        began = time.perf_counter()
        predictor.predict(image)
        seconds.append(time.perf_counter() - began)
        if sum(seconds) > MOST_SECONDS:
            break
    timed = seconds[1:] or seconds  # a first one takes longer
    figures: dict[str, Any] = {
        "parameters": parameters,
        "seconds_per_image": round(sum(timed) / len(timed), 3),
        "peak_gb": round(peak.bytes_more() / 2**30, 3),
    }
    print(json.dumps(figures))


class _Peak:
    """The most memory that is taken from now on, more than now: of a GPU, where there is one."""

    def __init__(self) -> None:
        import torch

        self.gpu = torch.cuda.is_available()
        if self.gpu:
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
            return
        with contextlib.suppress(OSError):  # Linux counts anew; else a parent's peak would be ours
            Path("/proc/self/clear_refs").write_text("5")
        self.before = psutil.Process().memory_info().rss

    def bytes_more(self) -> int:
        """Since then."""
        import torch

        if self.gpu:
            return int(torch.cuda.max_memory_allocated() - self.before)
        memory = psutil.Process().memory_info()
        status = Path("/proc/self/status")
        lines = status.read_text().splitlines() if status.is_file() else []
        peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
        most = peaks[0] if peaks else getattr(memory, "peak_wset", memory.rss)
        return int(max(0, most - self.before))
