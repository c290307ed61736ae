# SPDX-License-Identifier: Apache-2.0
"""Where networks learn can be another place than where a run is told."""

from __future__ import annotations

import multiprocessing

import pytest

from auto3dlandmark.cli import main
from auto3dlandmark.cluster import cluster_place
from auto3dlandmark.files import read_json


@pytest.mark.slow
def test_a_run_sends_what_takes_long(demo_dataset, tiny_recipe, tmp_path, monkeypatch, capsys):
    sent, asked = [], []

    def place(function, *given, **named):
        sent.append(function.__name__)
        process = multiprocessing.get_context("spawn").Process(target=function, args=given, kwargs=named)
        process.start()
        process.join()
        assert process.exitcode == 0

    monkeypatch.setattr(cluster_place, "cluster_place", lambda *wishes: (asked.append(wishes), place)[1])
    words = ["run", str(demo_dataset), str(tmp_path / "work"), "--folds", "1", "--recipe", tiny_recipe]
    main([*words, "--cluster", "--gpus-per-training", "0.5", "--network", "small"])
    assert asked == [(str(tmp_path / "work"), True, 1, 0.5)]
    assert sent == ["train_bundle", "find_peaks"]
    outcome = read_json(tmp_path / "work" / "heatmap_0" / "models" / "training.json")
    assert outcome["steps"] == 8 and "MRE" in capsys.readouterr().out
