# SPDX-License-Identifier: Apache-2.0
"""Other views of an image, for a network to look at too: turned a little, and in a mirror where that is
allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from scipy.spatial.transform import Rotation

from ..transforms.patch import exchanged
from .fusion import on_grid

__all__ = ["mean_over_views"]

TURN_DEG = 10.0
AXES = ((1, 0, 0), (-1, 0, 0), (0, 0, 1), (0, 0, -1))  # what is turned about


def mean_over_views(
    look: Callable[[MetaTensor], torch.Tensor],
    image: MetaTensor,
    activation: str,
    flip_groups: Sequence[Sequence[int]] = (),
) -> torch.Tensor:
    """
    The mean of the heatmaps of several views, on the grid of the image.

    Args:
        look: from an image (C, H, W, D) to heatmaps (N, H, W, D).
        activation: of the heatmaps, as for :func:`auto3dlandmark.inference.fusion.on_grid`.
        flip_groups: as of :func:`auto3dlandmark.shapes.symmetry.flip_groups`; without any there is no mirror.
    """
    total = look(image)
    count = torch.ones(len(total), 1, 1, 1)
    for heatmaps in _turned(look, image, activation):
        total, count = total + heatmaps, count + 1
    if flip_groups:
        mirrored = look(MetaTensor(image.as_tensor().flip(1), affine=image.affine)).flip(1)
        alone = torch.zeros(len(total), 1, 1, 1)
        alone[[group[0] for group in flip_groups if len(group) == 1]] = 1
        total, count = total + exchanged(mirrored, flip_groups, 0.0), count + 1 - alone
    return total / count


def _turned(
    look: Callable[[MetaTensor], torch.Tensor], image: MetaTensor, activation: str
) -> Iterator[torch.Tensor]:
    affine = image.affine.double().cpu().numpy()
    middle = affine @ np.append((np.array(image.shape[1:]) - 1) / 2, 1.0)
    resample = SpatialResample(mode="bilinear", padding_mode="border", dtype=np.float32)
    for axis in AXES:
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_rotvec(np.array(axis) * TURN_DEG, degrees=True).as_matrix()
        turn[:3, 3] = middle[:3] - turn[:3, :3] @ middle[:3]
        other = torch.as_tensor(turn @ affine)
        seen = resample(image, dst_affine=other, spatial_size=image.shape[1:])
        heatmaps = look(MetaTensor(seen, affine=other))
        yield on_grid(MetaTensor(heatmaps, affine=other), image, activation)
