# SPDX-License-Identifier: Apache-2.0
"""Each preset learns by each recipe: one step from a bundle's own train.json, its loss against a dense,
naive one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser

from auto3dlandmark.data.datalist import read_datalist
from auto3dlandmark.files import read_json
from auto3dlandmark.landmarks import PRESENT
from auto3dlandmark.planning.nnunet_rules import configure
from auto3dlandmark.planning.plan import read_plan
from auto3dlandmark.planning.presets import PRESETS, network_def

RECIPES = ("quick", "nnlandmark_2026", "nnlandmark_2025", "nnlandmark_2026+poses")
SIZE = 16


def dense_target(name, points, shape):
    """Heatmaps written out voxel by voxel."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in shape], indexing="ij"), dim=-1)
    distance = (grid - points[:, :, None, None, None].float()).norm(dim=-1)
    if name == "nnlandmark_2025":
        return torch.exp(-(distance**2) / 32) * (distance.max() >= 0)
    if name.startswith("nnlandmark_2026"):
        return (1 - distance / 15.03).clamp(min=0)
    return torch.exp(-(distance**2) / 4.5)


def naive_loss(name, logits, points):
    target, flat = dense_target(name, points, logits.shape[2:]).flatten(2), logits.flatten(2)
    if name == "nnlandmark_2025":
        return (flat.sigmoid() - target).square().mean()
    if name.startswith("nnlandmark_2026"):
        every = F.binary_cross_entropy_with_logits(flat, target, reduction="none")
        return every.topk(round(0.2 * flat.shape[2]), dim=2).values.mean()
    place = torch.cat([flat, torch.zeros_like(flat[..., :1])], dim=2).log_softmax(dim=2)[..., :-1]
    entropy = -(target / target.sum(dim=2, keepdim=True) * place).sum(dim=2)
    grid = torch.stack(
        torch.meshgrid(*[torch.arange(float(n)) for n in logits.shape[2:]], indexing="ij"), dim=-1
    )
    centre = flat.softmax(dim=2) @ grid.flatten(0, 2)
    return (entropy + 0.3 * (centre - points).norm(dim=2)).mean()


@pytest.fixture(scope="module")
def config_of(build_bundle, tiny_bundle, tmp_path_factory):
    """train.json of a preset at a tiny patch and a recipe, parsed."""
    base = read_plan(tiny_bundle / "configs" / "plan.json")
    datalist = read_json(tiny_bundle / "configs" / "train.json")["datalist"]
    assert read_datalist(datalist).training

    def make(preset, recipe):
        wide = configure(PRESETS[preset], np.ones(3), np.full(3, float(SIZE)), 1000, 5, 8)
        built = network_def(PRESETS[preset], wide.strides, wide.kernel_sizes, len(base.landmark_names))
        plan = dataclasses.replace(base, network=preset, network_def=built, patch_size=(SIZE,) * 3)
        work = tmp_path_factory.mktemp("step")
        folder = build_bundle(work, plan, Path(datalist), 0, recipe, num_workers=0)
        parser = ConfigParser()
        parser.read_config(folder / "configs" / "train.json")
        return parser

    return make


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("preset", PRESETS)
def test_one_training_step(preset, recipe, config_of):
    parser = config_of(preset, recipe)
    part = parser.get_parsed_content
    torch.manual_seed(0)
    trainer, network = part("train#trainer"), part("network")
    before = torch.cat([weights.detach().flatten().clone() for weights in network.parameters()])
    output = trainer._iteration(trainer, next(iter(part("train#dataloader"))))
    after = torch.cat([weights.detach().flatten() for weights in network.parameters()])
    assert torch.isfinite(output["loss"]) and torch.isfinite(after).all() and not torch.equal(before, after)
    assert output["pred"].shape[2:] == (SIZE,) * 3


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_loss_of_a_recipe_is_the_naive_one(recipe, config_of):
    parser = config_of("small", recipe)
    points = torch.tensor([[[7.3, 8.1, 6.6], [3.0, 12.4, 9.9]]])
    status = torch.full((1, 2), PRESENT)
    logits = torch.randn(1, 2, SIZE, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    target = parser.get_parsed_content("target")(points, status, logits.shape[2:])
    ours = parser.get_parsed_content("loss")(logits, target)
    assert ours.item() == pytest.approx(naive_loss(recipe, logits, points).item(), rel=2e-3)
