# SPDX-License-Identifier: Apache-2.0
"""Mixed precision and windows that fit the image."""

from __future__ import annotations

import pytest
import torch

from auto3dlandmark.inferers.autocast import AutocastInferer, autocast, autocast_dtype
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
    "convolution, shape",
    [
        (torch.nn.Conv3d(24, 32, 3, padding=1), (2, 2, 4)),
        (torch.nn.Conv3d(24, 32, 3, stride=2, padding=1), (1, 1, 1)),
        (torch.nn.Conv3d(24, 32, 7, padding=3), (5, 7, 5)),
        (torch.nn.ConvTranspose3d(24, 32, 3, stride=2, padding=1), (1, 1, 1)),
        (torch.nn.Conv2d(24, 32, 3, padding=1), (2, 2)),
        (torch.nn.Conv3d(24, 32, 3, padding=1), (4, 4, 4)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else str(value),
)
def test_gradients_on_a_cpu_are_those_of_float32(convolution, shape):
    # PyTorch 2.13 gets those of maps smaller than their kernels wrong in bfloat16, up to infinity.
    image = torch.randn(2, 24, *shape, generator=torch.Generator().manual_seed(0))
    gradients = []
    for dtype in (None, torch.bfloat16):
        convolution.zero_grad()
        with autocast("cpu", dtype):
            given = convolution(image)
        given.float().square().sum().backward()
        gradients.append(convolution.weight.grad.clone())
    torch.testing.assert_close(
        gradients[1], gradients[0], rtol=0, atol=0.02 * float(gradients[0].abs().max())
    )


def test_only_small_maps_stay_in_float32():
    convolution, transposed = torch.nn.Conv3d(1, 1, 3, padding=1), torch.nn.ConvTranspose3d(1, 1, 2, 2)
    with autocast("cpu", torch.bfloat16):
        assert convolution(torch.zeros(1, 1, 2, 4, 4)).dtype == torch.float32
        assert convolution(torch.zeros(1, 1, 4, 4, 4)).dtype == torch.bfloat16
        assert transposed(torch.zeros(1, 1, 2, 2, 2)).dtype == torch.bfloat16
        by_name = {"weight": convolution.weight, "bias": convolution.bias, "padding": 1}
        assert torch.nn.functional.conv3d(torch.zeros(1, 1, 2, 4, 4), **by_name).dtype == torch.float32
    with torch.no_grad(), autocast("cpu", torch.bfloat16):  # what is given is right in both
        assert convolution(torch.zeros(1, 1, 2, 4, 4)).dtype == torch.bfloat16
    with autocast("cpu", None):
        assert convolution(torch.zeros(1, 1, 4, 4, 4)).dtype == torch.float32


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
