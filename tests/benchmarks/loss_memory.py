# SPDX-License-Identifier: Apache-2.0
"""Bytes that target, loss and its gradient take for each voxel of a heatmap, beyond the logits themselves.

    for loss in TopKBCELoss MaskedMSELoss SpatialCrossEntropyLoss; do python tests/benchmarks/loss_memory.py
    $loss; done

Each in a process of its own, as the highest memory of a process never falls. ``planner.HEATMAP_BYTES`` comes
from here.
"""

from __future__ import annotations

import resource

import fire
import torch

from auto3dlandmark import losses
from auto3dlandmark.landmarks import PRESENT
from auto3dlandmark.transforms import ConeTarget


def main(loss: str = "TopKBCELoss", landmarks: int = 20, size: int = 128, batch: int = 2) -> None:
    """
    Args:
        loss: a class of auto3dlandmark.losses.
        landmarks, size, batch: heatmaps of size**3 voxels.
    """
    points = torch.full((batch, landmarks, 3), size / 2)
    status = torch.full((batch, landmarks), PRESENT)
    target = ConeTarget()(points, status, (size,) * 3)
    logits = torch.randn(batch, landmarks, size, size, size).requires_grad_()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    getattr(losses, loss)()(logits, target).backward()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{loss}: {1024 * grown / logits.numel():.1f} bytes per heatmap voxel")


if __name__ == "__main__":
    fire.Fire(main)
