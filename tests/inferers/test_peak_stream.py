# SPDX-License-Identifier: Apache-2.0
"""What is found row by row is what is found in whole heatmaps."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from auto3dlandmark.inferers import AutocastInferer, FittedSlidingWindowInferer, streamed
from auto3dlandmark.inferers.openvino_windows import openvino_network
from auto3dlandmark.inferers.peak_stream import PeakStream
from auto3dlandmark.inferers.streamed import Looker, streamed_peaks
from auto3dlandmark.networks.mean import MeanNetwork
from auto3dlandmark.transforms.decode import activate, decode_peaks


def logits_with_peaks(shape, channels, seed):
    """Noise with up to five blobs a channel, at borders too, of any height and width."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    found = random.normal(size=(channels, *shape)) * 0.2 - 6
    for channel in range(channels):
        for _ in range(random.integers(0, 6)):
            place, width = random.uniform(-1, 1, size=3) + random.integers(shape), random.uniform(1, 4)
            height = random.uniform(2, 16)
            found[channel] += height * np.exp(-((grid - place) ** 2).sum(axis=-1) / (2 * width**2))
    return torch.as_tensor(found, dtype=torch.float32)


def reduced(logits, activation, radius, rows):
    """Of logits (M, N, H, W, D), or of those of one network."""
    logits = logits if logits.ndim == 5 else logits[None]
    stream = PeakStream(logits.shape[1], logits.shape[2:], activation, radius, len(logits))
    size = logits.shape[2]
    for begin in range(0, size, rows):
        end = min(begin + rows, size)
        first = max(0, begin - radius)
        stream.add(
            logits[:, :, first : end + radius], (first, 0), (range(begin, end), range(logits.shape[3]))
        )
    return stream.peaks()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("radius, rows", [(2, 8), (5, 16), (4, 80)])
def test_rows_give_what_the_whole_gives(activation, seed, radius, rows):
    logits = logits_with_peaks((41, 30, 37), 5, seed)
    whole = decode_peaks(activate(logits, activation), radius)
    for one, other in zip(whole, reduced(logits, activation, radius, rows)):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4, equal_nan=True)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("seed", range(4))
def test_networks_are_averaged_as_whole_heatmaps_are(activation, seed):
    logits = torch.stack([logits_with_peaks((41, 30, 37), 4, 10 * seed + number) for number in range(3)])
    whole = decode_peaks(torch.stack([activate(one, activation) for one in logits]).mean(dim=0), 4)
    for one, other in zip(whole, reduced(logits, activation, 4, 16)):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4, equal_nan=True)


def test_a_landmark_that_is_nowhere_has_its_highest_voxel_and_no_mass():
    logits = torch.full((1, 9, 9, 9), -300.0)
    logits[0, 4, 5, 6] = -299.0
    points, heights, masses, _ = reduced(logits, "softmax", 2, 8)
    assert points[0, 0].tolist() == [4, 5, 6] and float(heights.sum() + masses.sum()) == 0


def unet(landmarks):
    torch.manual_seed(landmarks)
    network = PlainConvUNet(
        1, 2, (6, 8), torch.nn.Conv3d, 3, (1, 2), 1, landmarks, 1, True, torch.nn.InstanceNorm3d,
        {"affine": True}, nonlin=torch.nn.LeakyReLU,
    )  # fmt: skip
    with torch.no_grad():
        network.decoder.seg_layers[-1].weight *= 8  # peaks that stand out
    return network


@pytest.mark.parametrize("padding_mode", ["constant", "replicate"])
@pytest.mark.parametrize("shape", [(40, 27, 34), (11, 40, 20), (16, 16, 16)])
@pytest.mark.parametrize("mode, axis", [("gaussian", 0), ("nnunet", 1), ("constant", 2), ("nnunet", 2)])
@pytest.mark.parametrize("margin", [0, 3])
def test_slabs_are_the_rows_of_the_whole(shape, mode, axis, margin, padding_mode):
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    inferer = FittedSlidingWindowInferer(
        (16, 24, 16), (2, 2, 2), mode, sw_batch_size=1, overlap=0.5, padding_mode=padding_mode
    )
    network = unet(3)
    with torch.no_grad():
        whole = inferer(image[None], network)[0]
        whole = whole.movedim(1 + axis, 1)
        given = []
        for rows, values in inferer.slabs(image, network, axis, margin):
            expected = whole[:, max(0, rows.start - margin) : rows.stop + margin]
            torch.testing.assert_close(values, expected, atol=1e-4, rtol=1e-4)
            given += rows
    assert given == list(range(shape[axis]))


def test_where_there_is_nothing_to_see_the_network_looks_once():
    image = torch.full((2, 80, 48, 40), -1.5)
    image[1] = 0.25
    image[:, :20, :20, :20] = torch.randn(2, 20, 20, 20, generator=torch.Generator().manual_seed(0))
    inferer = FittedSlidingWindowInferer((16, 16, 16), (2, 2, 2), sw_batch_size=1, overlap=0.5)
    calls = []

    def network(window):
        calls.append(window.shape)
        return torch.tanh(F.avg_pool3d(window, 5, 1, 2) + window[:, :1])

    whole = inferer(image[None], network)[0]
    everywhere = len(calls)
    slabs = torch.cat([rows.clone() for _, rows in inferer.slabs(image, network)], dim=1)
    torch.testing.assert_close(slabs, whole, atol=1e-5, rtol=1e-5)
    assert len(calls) - everywhere == 27 + 1  # windows that touch the corner, and one of the rest


@pytest.mark.parametrize("shape", [(40, 27, 34), (27, 40, 34), (27, 34, 40)])
@pytest.mark.parametrize("landmarks, count", [(3, 1), (9, 1), (30, 3)])
@pytest.mark.parametrize("held", [2**29, 2**16, 1])
def test_a_network_is_reduced_as_it_looks(landmarks, count, shape, held, monkeypatch):
    """With features instead of logits where landmarks are many, a few landmarks and columns at a time."""
    monkeypatch.setattr(streamed, "MOST_HELD", held)
    monkeypatch.setattr(streamed, "MOST_VALUES", 4 * 40 * 27 * 34)
    network = unet(landmarks) if count == 1 else MeanNetwork(unet(landmarks), count)
    for number, one in enumerate(network.networks if count > 1 else []):
        one.load_state_dict({key: value + 0.01 * number for key, value in one.state_dict().items()})
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    window = FittedSlidingWindowInferer((16, 24, 16), (2, 2, 2), sw_batch_size=1, overlap=0.5)
    inferer = AutocastInferer(window, enabled=False)
    with torch.no_grad():
        whole = decode_peaks(activate(inferer(image[None], network)[0], "softmax"), 3)
        found = streamed_peaks([Looker(network, inferer, landmarks)], [image], "softmax", 3)
    assert len(whole) == len(found) == 4  # points, heights, masses and variances
    for one, other in zip(whole, found):
        torch.testing.assert_close(one[:, 0], other[:, 0], atol=1e-3, rtol=1e-3, equal_nan=True)


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="the extra 'fast' is not installed")
@pytest.mark.parametrize("landmarks", [3, 30])
def test_openvino_finds_the_same(landmarks, monkeypatch):
    network = unet(landmarks)
    image = torch.randn(1, 40, 27, 34, generator=torch.Generator().manual_seed(0))
    window = FittedSlidingWindowInferer((16, 24, 16), (2, 2, 2), sw_batch_size=1, overlap=0.5)
    inferer = AutocastInferer(window, enabled=False)
    size, starts = window.layout(image.shape[1:])
    assert size == (16, 24, 16) and [len(one) for one in starts] == [4, 2, 4]
    with torch.no_grad():
        found = streamed_peaks([Looker(network, inferer, landmarks)], [image], "softmax", 3)
        module = sys.modules[AutocastInferer.__module__]
        monkeypatch.setattr(module, "openvino_network", lambda *options: None)
        expected = streamed_peaks([Looker(network, inferer, landmarks)], [image], "softmax", 3)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one[:, 0], other[:, 0], atol=1e-3, rtol=1e-3, equal_nan=True)


def test_a_network_that_openvino_does_not_know_is_left_to_pytorch():
    assert openvino_network(Odd(), (1, 1, 8, 8, 8), None) is None


class Odd(torch.nn.Module):
    """What happens depends on the values."""

    def forward(self, images):
        raise ValueError("not today")


MEMORY = """
import resource, torch
from test_peak_stream import unet
from auto3dlandmark.inferers import AutocastInferer, FittedSlidingWindowInferer
from auto3dlandmark.inferers.streamed import Looker, streamed_peaks
network, image = unet(300), torch.randn(1, 128, 96, 96)
inferer = AutocastInferer(FittedSlidingWindowInferer((32, 32, 32), (2, 2, 2), sw_batch_size=1, overlap=0.25))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.no_grad():
    streamed_peaks([Looker(network, inferer, 300)], [image], "softmax", 4)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


def test_hundreds_of_landmarks_take_no_more_memory_than_a_few():
    """300 heatmaps of 128 x 96 x 96 voxels alone would be 1.4 GB."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    result = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, env=environment)
    assert float(result.stdout) < 0.5, result.stderr
