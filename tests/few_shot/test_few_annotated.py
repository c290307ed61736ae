# SPDX-License-Identifier: Apache-2.0
"""A few annotated cases, or one: they are trained on, and what cannot be known is said."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from auto3dlandmark.cli import main
from auto3dlandmark.files import read_json
from auto3dlandmark.formats import read_landmarks
from auto3dlandmark.registration.elastix import elastix_is_there

CASES = [f"demo_0{number}" for number in range(3)]


@pytest.fixture
def few(demo_dataset, tmp_path):
    """Make a dataset of the first so many cases."""

    def make(count):
        for case in CASES[:count]:
            for place, suffix in (("images", ".nii.gz"), ("landmarks", ".mrk.json")):
                (tmp_path / "few" / place).mkdir(parents=True, exist_ok=True)
                shutil.copy(demo_dataset / place / f"{case}{suffix}", tmp_path / "few" / place)
        return tmp_path / "few"

    return make


def test_one_case_is_trained_on_and_nothing_is_claimed(few, demo_dataset, tiny_recipe, tmp_path, capsys):
    work = tmp_path / "work"
    words = ["run", str(few(1)), str(work), "--recipe", tiny_recipe, "--network", "small"]
    main([*words, "--test", str(demo_dataset)])
    said = capsys.readouterr().out
    assert "nothing is held out, so nothing says how far off it is" in said and "held-out cases:" not in said
    assert "test cases:" in said  # which are the only figures
    bundle = work / "heatmap_all"
    assert read_json(bundle / "configs" / "train.json")["fold"] is None
    outcome = json.loads((bundle / "models" / "training.json").read_text())
    assert outcome["steps"] == 8 and outcome["mre_mm"] is None
    assert not (work / "evaluation").exists()
    found = read_landmarks(work / "test_predictions" / "demo_03.mrk.json")
    assert np.isnan(found.estimates.radii_mm).all()  # nobody knows
    main(words)
    assert "train fold all: unchanged" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not elastix_is_there(), reason="the extra 'register' is not installed")
def test_few_cases_are_compared_with_registration(few, tiny_recipe, tmp_path, capsys):
    work = tmp_path / "work"
    words = ["run", str(few(3)), str(work), "--recipe", tiny_recipe, "--network", "small", "--folds", "2"]
    main(words)
    said = capsys.readouterr().out
    assert "registration alone errs by" in said and "use 'auto3dlandmark transfer'" in said
    held_out = sorted(path.name for path in (work / "transferred").glob("*.mrk.json"))
    assert len(held_out) == 2
    assert held_out == sorted(path.name for path in (work / "predictions").glob("*.mrk.json"))
    metrics = read_json(work / "transferred_evaluation" / "metrics.json")
    assert metrics["cases"] == 2 and f"errs by {metrics['mre_mm']:.2f} mm" in said
    main(words)
    assert "transfer to fold 0: unchanged" in capsys.readouterr().out
