# SPDX-License-Identifier: Apache-2.0
"""The network presets, and how much memory one of them takes for a given patch.

A preset says which class of dynamic-network-architectures is built, how wide, and how large a training step
may get. What depends on the data (stages, strides, kernels) comes from nnunet_rules.py.

Source: nnU-Net's planners for U-Net, ResEnc M and ResEnc L (Isensee et al., Nature Methods 2021 and MICCAI
2024); ``small`` follows the same rules with narrower stages, for a training on two CPU cores. ``folded`` is
``small`` at half the resolution inside, for what needs no details.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["PRESETS", "Preset", "default_network", "estimate_memory", "network_def", "stage_features"]

RESENC_BLOCKS = (1, 3, 4) + (6,) * 20
FOLDED = "auto3dlandmark.networks.folded.FoldedNetwork"
ARCHITECTURES = "dynamic_network_architectures.architectures.unet"


@dataclass(frozen=True)
class Preset:
    """
    A family of networks.

    Args:
        residual: residual blocks in the encoder and one convolution per decoder stage, or two plain
            convolutions in both.
        first_features, most_features: channels of the first stage, doubled at each stage up to the most.
        reference_memory: the largest :func:`estimate_memory` allowed at ``reference_gb``.
        reference_gb: the GPU memory that ``reference_memory`` stands for.
        batch_coverage: largest share of all training voxels that one batch may hold.
        coarsen_below: coarsen the spacing when the patch sees less than this share of the median image; None:
            leave it to nnU-Net's separate low-resolution configuration.
        most_batch: the largest batch, whatever the memory; None: no limit.
        folded: the first stage's voxels become channels of the second one
            (:class:`auto3dlandmark.networks.folded.FoldedNetwork`): half the time of a step on a CPU, and
            less exact.
        heatmap_bytes: what targets, loss and its gradient take for each voxel of a heatmap; nnU-Net counts 0.
    """

    residual: bool
    first_features: int
    most_features: int
    reference_memory: float
    reference_gb: float
    batch_coverage: float
    coarsen_below: float | None = None
    most_batch: int | None = None
    heatmap_bytes: float = 0.0
    folded: bool = False


PRESETS = {
    "small": Preset(False, 16, 256, 24e6, 8, 0.05, coarsen_below=0.75, most_batch=2),
    "plain": Preset(False, 32, 320, 560e6, 8, 0.05),
    "resenc_m": Preset(True, 32, 320, 680e6, 8, 1.0),
    "resenc_l": Preset(True, 32, 320, 2100e6, 24, 1.0),
    "folded": Preset(False, 16, 256, 24e6, 8, 0.05, coarsen_below=0.75, most_batch=2, folded=True),
}


def default_network(gpu: bool | None = None) -> str:
    """
    The preset for this machine: ``resenc_m`` with a GPU, ``small`` without one.

    Args:
        gpu: for a machine with one, or without; left out, for this one.
    """
    import torch

    return "resenc_m" if (torch.cuda.is_available() if gpu is None else gpu) else "small"


def stage_features(preset: Preset, stages: int) -> list[int]:
    """
    Channels of each stage.
    """
    return [min(preset.most_features, preset.first_features * 2**stage) for stage in range(stages)]


def estimate_memory(
    preset: Preset, patch_size: Sequence[int] | np.ndarray, strides: Sequence[Sequence[int]], landmarks: int
) -> int:
    """
    nnU-Net's measure of one patch's memory: feature map elements in the forward pass.

    Args:
        patch_size: voxels, shape (3,).
        strides: one triple per stage, in the same axis order.
        landmarks: channels of the output; one more is counted, as nnU-Net counts its background.
    """
    stages = len(strides)
    features = stage_features(preset, stages)
    voxels, size = [], np.array(patch_size, dtype=np.int64)
    for stride in strides:
        size = size // np.array(stride)
        voxels.append(int(np.prod(size)))
    if preset.residual:
        total = preset.first_features * voxels[0]
        widths = [preset.first_features, *features]
        for stage in range(stages):
            changes = widths[stage] != features[stage] or any(step != 1 for step in strides[stage])
            total += features[stage] * voxels[stage] * (2 * RESENC_BLOCKS[stage] + (1 if changes else 0))
    else:
        total = sum(2 * width * count for width, count in zip(features, voxels))
    decoder_convs = 1 if preset.residual else 2
    total += sum((decoder_convs + 1) * features[stage] * voxels[stage] for stage in range(stages - 1))
    # The reference stands for a batch of two.
    bytes_per_element = preset.reference_gb * 1e9 / preset.reference_memory / 2
    beyond = round(preset.heatmap_bytes / bytes_per_element * landmarks * voxels[0])
    return total + (landmarks + 1) * voxels[0] + beyond


def network_def(
    preset: Preset,
    strides: Sequence[Sequence[int]],
    kernel_sizes: Sequence[Sequence[int]],
    landmarks: int,
    channels: int = 1,
) -> dict[str, Any]:
    """
    The network as a MONAI config: a ``_target_`` and its arguments, as nnU-Net would build it.

    Args:
        strides, kernel_sizes: one triple per stage, image axis order.
        landmarks: output channels.
        channels: input channels.
    """
    if preset.folded and len(strides) > 1:
        factor = strides[1]
        voxels = int(np.prod(factor))
        inner = dataclasses.replace(preset, folded=False, first_features=2 * preset.first_features)
        kept = [(1, 1, 1), *strides[2:]]
        built = network_def(inner, kept, kernel_sizes[1:], landmarks * voxels, channels * voxels)
        return {"_target_": FOLDED, "network": built, "factor": list(factor)}
    stages = len(strides)
    encoder = (
        {"n_blocks_per_stage": list(RESENC_BLOCKS[:stages])}
        if preset.residual
        else {"n_conv_per_stage": [2] * stages}
    )
    return {
        "_target_": f"{ARCHITECTURES}.{'ResidualEncoderUNet' if preset.residual else 'PlainConvUNet'}",
        "input_channels": channels,
        "n_stages": stages,
        "features_per_stage": stage_features(preset, stages),
        "conv_op": "$torch.nn.Conv3d",
        "kernel_sizes": [list(kernel) for kernel in kernel_sizes],
        "strides": [list(stride) for stride in strides],
        **encoder,
        "num_classes": landmarks,
        "n_conv_per_stage_decoder": [1 if preset.residual else 2] * (stages - 1),
        "conv_bias": True,
        "norm_op": "$torch.nn.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "nonlin": "$torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": False,
    }
