# SPDX-License-Identifier: Apache-2.0
"""Intensity augmentation has the distribution nnU-Net's has, channel by channel, and moves nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose, RandGaussianNoised, RandScaleIntensity

from auto3dlandmark.planning.recipes import read_recipe
from auto3dlandmark.transforms import RandLowResolution, RandNoised, RandPerChanneld

DRAWS = 400


def nnunets_list(thick_axis=None):
    (recipe,) = read_recipe("nnlandmark_2026")
    parser = ConfigParser({"thick_axis": thick_axis, "augmentation": recipe["augmentation"]})
    return parser.get_parsed_content("augmentation")


def image(channels=1):
    """Mean 0, standard deviation 1, with a skewed histogram."""
    values = torch.rand(channels, 12, 12, 12, generator=torch.Generator().manual_seed(1)) ** 3
    return (values - values.mean()) / values.std()


def draws(transform, source, count=DRAWS):
    Compose([transform]).set_random_state(seed=5)
    return [transform({"image": source.clone()})["image"] for _ in range(count)]


def share_changed(results, source, channel=0):
    return np.mean([not torch.equal(result[channel], source[channel]) for result in results])


@pytest.mark.parametrize("place, share", enumerate([0.1, 0.1, 0.15, 0.15, 0.125, 0.1, 0.3]))
def test_each_transform_changes_as_many_channels_as_nnunets(place, share):
    source = image(channels=2)
    results = draws(nnunets_list()[place], source)
    spread = 4 * np.sqrt(share * (1 - share) / DRAWS)
    assert share_changed(results, source, 0) == pytest.approx(share, abs=spread)
    assert share_changed(results, source, 1) == pytest.approx(share, abs=spread)


def test_channels_get_draws_of_their_own():
    source = torch.ones(2, 4, 4, 4)
    transform = RandPerChanneld("image", RandScaleIntensity(factors=0.25, prob=1.0), prob=1.0)
    factors = np.array([result[:, 0, 0, 0].numpy() for result in draws(transform, source)])
    assert np.abs(np.corrcoef(factors.T)[0, 1]) < 0.2
    assert factors.min() >= 0.75 and factors.max() <= 1.25 and factors.mean() == pytest.approx(1, abs=0.03)


def test_noise_has_a_deviation_between_0_and_a_tenth():
    source = torch.zeros(1, 12, 12, 12)
    deviations = [
        r.std().item() for r in draws(nnunets_list()[0], source, 3000) if not torch.equal(r, source)
    ]
    assert max(deviations) <= 0.105 and np.mean(deviations) == pytest.approx(0.05, abs=0.01)


def test_contrast_keeps_mean_and_range():
    source = image()
    changed = [r for r in draws(nnunets_list()[3], source) if not torch.equal(r, source)]
    assert all(r.min() >= source.min() and r.max() <= source.max() for r in changed)
    ratios = [((r - source.mean()) / (source - source.mean())).median().item() for r in changed]
    assert 0.75 <= min(ratios) < 0.85 and 1.15 < max(ratios) <= 1.25


def exponent(result, source, invert):
    """The exponent that best explains a gamma transform whose mean and deviation were put back."""
    sign = -1 if invert else 1
    unit = (sign * source - (sign * source).min()) / (source.max() - source.min())
    guesses = np.linspace(0.6, 1.6, 101)
    powers = [unit**guess for guess in guesses]
    fits = [
        ((sign * (p - p.mean()) / p.std()) - (result - result.mean()) / result.std()).abs().max()
        for p in powers
    ]
    return guesses[int(np.argmin(fits))]


@pytest.mark.parametrize("place, invert", [(5, True), (6, False)])
def test_gamma_is_below_one_as_often_as_above(place, invert):
    source = image()
    changed = [r for r in draws(nnunets_list()[place], source, 1500) if not torch.equal(r, source)]
    found = np.array([exponent(result, source, invert) for result in changed[:150]])
    assert 0.69 <= found.min() < 0.75 and 1.4 < found.max() <= 1.51
    assert np.mean(found < 1) == pytest.approx(0.5, abs=0.16)
    assert all(
        r.mean().item() == pytest.approx(0, abs=1e-3) and r.std().item() == pytest.approx(1, abs=1e-3)
        for r in changed
    )


def blob():
    steps = torch.stack(torch.meshgrid(*[torch.arange(25.0)] * 3, indexing="ij"))
    return torch.exp(-((steps - torch.tensor([11.0, 13, 12])[:, None, None, None]) ** 2).sum(0) / 50)[None]


def centre_of(image):
    steps = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in image.shape[1:]], indexing="ij"))
    weights = image[0].clamp(min=0.05) - 0.05
    return (steps * weights).sum(dim=(1, 2, 3)) / weights.sum()


@pytest.mark.parametrize("place", range(7))
def test_no_transform_moves_the_image_against_the_points(place):
    source = blob()
    changed = [r for r in draws(nnunets_list()[place], source, 300) if not torch.equal(r, source)]
    shifts = torch.stack([centre_of(result) - centre_of(source) for result in changed])
    assert len(changed) > 10 and shifts.mean(dim=0).abs().max() < 0.15


def test_a_thick_axis_keeps_its_resolution():
    ramp = torch.rand(1, 1, 1, 16).expand(1, 16, 16, 16).contiguous()
    transform = RandLowResolution((0.5, 0.5), thick_axis=2)
    transform.set_random_state(seed=1)
    assert torch.allclose(transform(ramp), ramp)
    assert not torch.allclose(RandLowResolution((0.5, 0.5))(ramp), ramp)


def test_noise_is_monais_in_share_and_strength():
    source = torch.zeros(1, 12, 12, 12)
    spreads = {}
    for transform in (RandNoised("image", prob=0.4, std=0.5), RandGaussianNoised("image", prob=0.4, std=0.5)):
        results = draws(transform, source, 1000)
        assert share_changed(results, source) == pytest.approx(0.4, abs=0.05)
        spread = np.array([float(result.std()) for result in results if result.any()])
        assert max(abs(float(result.mean())) for result in results) < 0.06
        spreads[type(transform).__name__] = np.quantile(spread, (0.05, 0.25, 0.5, 0.75, 0.95))
    np.testing.assert_allclose(*spreads.values(), atol=0.06)


def test_noise_can_be_drawn_again():
    source = image()
    one, other = (draws(RandNoised("image", prob=1.0), source, 3) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(one, other)) and not torch.equal(one[0], one[1])
