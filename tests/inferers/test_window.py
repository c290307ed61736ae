# SPDX-License-Identifier: Apache-2.0
"""Mixed precision and windows that fit the image."""

from __future__ import annotations

import pytest
import torch

from auto3dlandmark.inferers.autocast import AutocastInferer, autocast_dtype
from auto3dlandmark.inferers.window import FittedSlidingWindowInferer, nnunet_weights


class Spy(torch.nn.Module):
    """Passes images on, and remembers what it saw."""

    def __init__(self):
        super().__init__()
        self.shapes = []
        self.convolution = torch.nn.Conv3d(1, 1, 1)

    def forward(self, image):
        self.shapes.append(tuple(image.shape[2:]))
        self.seen_type = self.convolution(image).dtype
        return image.clone()


def test_the_network_runs_in_the_devices_fast_type_and_float32_comes_out():
    spy = Spy()
    result = AutocastInferer()(torch.zeros(1, 1, 8, 8, 8), spy)
    assert spy.seen_type == (autocast_dtype("cpu") or torch.float32)
    assert result.dtype == torch.float32


def test_autocast_can_be_switched_off():
    spy = Spy()
    AutocastInferer(enabled=False)(torch.zeros(1, 1, 8, 8, 8), spy)
    assert spy.seen_type == torch.float32


@pytest.mark.parametrize(
    "image, window",
    [
        ((16, 16, 16), (16, 16, 16)),
        ((13, 16, 9), (16, 16, 12)),  # padded to a multiple of 4 only
        ((40, 16, 16), (32, 16, 16)),  # never larger than the window
    ],
)
def test_the_window_is_no_larger_than_the_image_needs(image, window):
    spy = Spy()
    inputs = torch.rand(1, 1, *image)
    result = FittedSlidingWindowInferer((32, 32, 32), divisor=(4, 4, 4), mode="gaussian")(inputs, spy)
    assert set(spy.shapes) == {window}
    assert torch.allclose(result, inputs, atol=1e-5)


def test_without_a_divisor_the_window_is_fixed():
    spy = Spy()
    FittedSlidingWindowInferer((32, 32, 32))(torch.rand(1, 1, 13, 16, 9), spy)
    assert set(spy.shapes) == {(32, 32, 32)}


def test_nnunets_weights_fall_off_as_a_gaussian_of_an_eighth_of_the_window():
    weights = nnunet_weights((16, 32, 8))
    assert weights.shape == (16, 32, 8) and weights.min() > 0
    assert weights[8, 16, 4] == weights.max() == 1
    assert weights[8, 20, 4].item() == pytest.approx(weights[8, 12, 4].item(), rel=1e-6)
    assert weights[8, 20, 4].item() == pytest.approx(float(torch.exp(torch.tensor(-0.5))), rel=1e-3)
    assert weights[0, 0, 0] < 1e-9  # MONAI's is nowhere below 1e-3


class Border(torch.nn.Module):
    """Says 1 in the outermost voxels of a window, and 0 inside."""

    def forward(self, image):
        result = torch.ones_like(image)
        result[..., 1:-1, 1:-1, 1:-1] = 0
        return result


@pytest.mark.parametrize("divisor", [None, (4, 4, 4)])
def test_a_windows_border_hardly_counts_where_another_window_sees_more(divisor):
    inputs = torch.zeros(1, 1, 24, 16, 16)
    options = {"roi_size": (16, 16, 16), "divisor": divisor, "overlap": 0.5}
    ours, theirs = (
        FittedSlidingWindowInferer(mode=mode, **options)(inputs, Border()) for mode in ("nnunet", "gaussian")
    )
    assert ours[0, 0, 8, 8, 8] < 1e-3 < theirs[0, 0, 8, 8, 8]
