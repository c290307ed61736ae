# SPDX-License-Identifier: Apache-2.0
"""Variants of a recipe are trained on the same folds and end in one table."""

from __future__ import annotations

import pytest

from auto3dlandmark import LandmarkError
from auto3dlandmark.evaluation.comparison import comparison_table
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.workflow.ablation import ablate, read_variants
from auto3dlandmark.workflow.work_folder import WorkFolder


def test_every_variant_is_trained_with_its_change_and_nothing_is_done_twice(
    demo_dataset, tiny_recipe, tmp_path
):
    write_json(tmp_path / "variants.json", {"sigma 3": {"target#sigma": 3}})
    said = []
    work = WorkFolder(tmp_path / "work", say=said.append)
    work.check(demo_dataset)
    work.analyze()
    work.make_plan("small")
    variants = read_variants(tmp_path / "variants.json")
    rows = ablate(work, variants, [0], tiny_recipe, epochs=1)
    assert sorted(row["system"] for row in rows) == ["as it is", "sigma 3"]
    assert [row["steps"] for row in rows] == [4, 4]
    top = work.folder / "ablation"
    trained = [
        read_json(top / name / "heatmap_0" / "configs" / "train.json") for name in ("as_it_is", "sigma_3")
    ]
    assert [config["target"]["sigma"] for config in trained] == [1.5, 3]
    assert [config["epochs"] for config in trained] == [1, 1]
    assert [line.split(",")[0] for line in (top / "results.csv").read_text().splitlines()] == [
        "system",
        *(row["system"] for row in rows),
    ]
    assert "sigma 3" in (top / "report.html").read_text()
    table = comparison_table(rows)
    assert len(table.splitlines()) == 3 and table.splitlines()[1].startswith(rows[0]["system"])
    said.clear()
    assert ablate(work, variants, [0], tiny_recipe, epochs=1) == rows
    assert said and all("unchanged" in line for line in said)


@pytest.mark.parametrize("content", [[], {"a": 3}])
def test_a_file_that_names_no_variants_is_refused(content, tmp_path):
    write_json(tmp_path / "v.json", content)
    with pytest.raises(LandmarkError, match=r"v\.json: must name variants"):
        read_variants(tmp_path / "v.json")


def test_two_variants_of_one_name_are_refused(tmp_path):
    write_json(tmp_path / "v.json", {"Top 10": {}, "top_10": {}})
    with pytest.raises(LandmarkError, match="has the name of another one"):
        read_variants(tmp_path / "v.json")
