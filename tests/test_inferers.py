# SPDX-License-Identifier: Apache-2.0
"""Mixed precision and windows that fit the image."""

from __future__ import annotations

import pytest
import torch

from auto3dlandmark.inferers import AutocastInferer, FittedSlidingWindowInferer, autocast_dtype


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
