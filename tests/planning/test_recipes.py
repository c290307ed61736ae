# SPDX-License-Identifier: Apache-2.0
"""Recipes are laid over each other in order, and a misspelt one is refused by name."""

from __future__ import annotations

import pytest

from auto3dlandmark import LandmarkError
from auto3dlandmark.files import write_json
from auto3dlandmark.planning.recipes import override, read_recipe, stages_of


def test_recipes_are_read_in_the_order_they_are_named(tmp_path):
    write_json(tmp_path / "mine.json", {"target#sigma": 2})
    quick, mine = read_recipe(f"quick+{tmp_path / 'mine.json'}")
    assert quick["target"]["sigma"] == 1.5 and mine == {"target#sigma": 2}


def test_a_file_with_a_plus_in_its_name_is_one_recipe(tmp_path):
    path = tmp_path / "a+b.json"
    write_json(path, {"epochs": 3})
    assert read_recipe(str(path)) == [{"epochs": 3}]


def test_an_unknown_recipe_or_key_is_refused(tmp_path):
    with pytest.raises(LandmarkError, match="recipe='fast' is unknown. Choose one of .*quick"):
        read_recipe("quick+fast")
    write_json(tmp_path / "mine.json", {"learning_rat": 1, "optimizer#lr": 2})
    with pytest.raises(LandmarkError, match=r"mine\.json: sets learning_rat, which"):
        read_recipe(str(tmp_path / "mine.json"), ["optimizer"])
    write_json(tmp_path / "mine.json", [1])
    with pytest.raises(LandmarkError, match=r"mine\.json: must be a JSON object"):
        read_recipe(str(tmp_path / "mine.json"))


def test_a_value_deep_inside_is_replaced_and_the_original_stays():
    config = {"optimizer": {"lr": 1, "betas": [0.9, 0.99]}, "epochs": 2}
    made = override(config, {"optimizer#lr": 5, "optimizer::betas::1": 0.5, "epochs": 3})
    assert made == {"optimizer": {"lr": 5, "betas": [0.9, 0.5]}, "epochs": 3}
    assert config == {"optimizer": {"lr": 1, "betas": [0.9, 0.99]}, "epochs": 2}


@pytest.mark.parametrize(
    "key, message", [("optimiser#lr", "no key 'optimiser#lr'"), ("optimizer#betas#7", "'optimizer#betas#7'")]
)
def test_a_place_that_is_not_there_is_refused(key, message):
    with pytest.raises(LandmarkError, match=message):
        override({"optimizer": {"lr": 1, "betas": [0.9, 0.99]}}, {key: 5})


def test_a_recipe_may_be_based_on_another(tmp_path):
    paper, early = read_recipe("nnlandmark_2025")
    assert paper == read_recipe("nnlandmark_2026")[0] and early["learning_rate_drop"] == [0.8, 0.1]
    a, b = str(tmp_path / "a.json"), str(tmp_path / "b.json")
    write_json(a, {"based_on": b})
    write_json(b, {"based_on": a})
    with pytest.raises(LandmarkError, match="which is based on it"):
        read_recipe(a)


def test_nnlandmark_s_recipes_train_one_network_and_others_leave_it_to_the_data():
    assert [stages_of(recipe) for recipe in ("nnlandmark_2026+poses", "nnlandmark_2025", "quick", None)] == [
        1,
        1,
        None,
        None,
    ]
