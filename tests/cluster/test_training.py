# SPDX-License-Identifier: Apache-2.0
"""Trainings on a cluster end in the table that they end in on one machine, though a machine is lost."""

from __future__ import annotations

import csv
import shutil
import sys
import threading
import time

import pytest

from auto3dlandmark import LandmarkError
from auto3dlandmark.files import write_json
from auto3dlandmark.review.store import ORIGINAL, ReviewStore
from auto3dlandmark.review.versions import ServedModel
from auto3dlandmark.review.waiting import predict_waiting
from auto3dlandmark.workflow.ablation import ablate, read_variants
from auto3dlandmark.workflow.place import at_once
from auto3dlandmark.workflow.work_folder import WorkFolder

pytest.importorskip("ray", reason="Ray is not installed: the extra 'cluster' has it")

from auto3dlandmark.cluster.cluster_place import ClusterPlace, cluster_place


def fails(*given):
    """What is called elsewhere, and cannot be done."""
    raise LandmarkError("This cannot be done.")


def table_of(work, tiny_plan, variants, demo_dataset, place, **options):
    said = []
    folder = WorkFolder(work, said.append, place)
    folder.check(demo_dataset)
    from auto3dlandmark.planning.plan import write_plan

    write_plan(folder.plan, tiny_plan)
    rows = ablate(folder, variants, [0, 1], **options)
    for row in rows:
        row.pop("train_seconds")
    return rows, said


@pytest.mark.slow
def test_a_lost_machine_changes_nothing(ray_nodes, demo_dataset, tiny_plan, tiny_recipe, tmp_path):
    write_json(tmp_path / "variants.json", {"sigma 3": {"target#sigma": 3}})
    variants, options = read_variants(tmp_path / "variants.json"), {"recipe": tiny_recipe, "epochs": 10}
    third, told = ray_nodes.add_node(num_cpus=1), []
    place = ClusterPlace(tmp_path / "many", say=told.append)

    def kill():
        while len(list((tmp_path / "many").rglob("heatmap_?/models/settings.json"))) < 3:
            time.sleep(0.05)  # until all three have something to do
        ray_nodes.remove_node(third, allow_graceful=False)

    threading.Thread(target=kill, daemon=True).start()
    many, said = table_of(tmp_path / "many", tiny_plan, variants, demo_dataset, place, **options)
    one, _ = table_of(tmp_path / "one", tiny_plan, variants, demo_dataset, None, **options)
    assert many == one
    assert sum(line.endswith("train fold 0: running") for line in said) == 2
    assert not list((tmp_path / "many").rglob("models_old_*"))  # nothing was trained twice
    with open(tmp_path / "many" / "trainings.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    trained = [row for row in rows if row["task"].startswith("train ")]
    assert sorted(row["begun"] for row in trained) == ["1", "1", "1", "2"]
    assert len(trained) == 4 and {row["state"] for row in rows} == {"done"}
    assert all(row["machine"] and int(row["step"]) > 0 and float(row["mre_mm"]) > 0 for row in trained)
    assert sum(line.endswith(": waiting") or ": done on " in line for line in told) >= 4
    again, said = table_of(tmp_path / "many", tiny_plan, variants, demo_dataset, place, **options)
    assert again == many and not any(line.endswith(": running") for line in said)


def test_what_fails_there_is_said_here(ray_nodes, tmp_path):
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # others cannot import it
    place = ClusterPlace(tmp_path, say=lambda line: None)
    with pytest.raises(LandmarkError, match=r"^This cannot be done\.$"):
        place(fails)
    assert "failed" in (tmp_path / "trainings.csv").read_text()
    (tmp_path / "cluster").rename(tmp_path / "elsewhere")
    with pytest.raises(LandmarkError, match="is not there on"):
        place(print)


def test_cases_to_review_are_scored_there_as_here(ray_nodes, demo_dataset, trained_bundle, tmp_path):
    scores, points = [], []
    for name, place in {"here": None, "there": ClusterPlace(tmp_path, say=lambda line: None)}.items():
        studies = shutil.copytree(demo_dataset / "images", tmp_path / name)
        (studies / "broken.nii.gz").write_bytes(b"no image")
        model = ServedModel(studies / "review" / "models" / "landmarks", [trained_bundle])
        store, said = ReviewStore(studies, model.names), []
        scores.append(predict_waiting(model, store, said.append, place))
        points.append(store.landmarks("demo_03", ORIGINAL).points.tolist())
        assert any("broken: left out" in line for line in said)
        assert predict_waiting(model, store, said.append, place) == {}
    assert scores[0] == scores[1] and repr(points[0]) == repr(points[1]) and len(scores[0]) == 6


def test_all_end_before_the_first_error_is_raised():
    ended = []

    def failing():
        raise LandmarkError("no")

    with pytest.raises(LandmarkError, match="no"):
        at_once([failing, lambda: (time.sleep(0.1), ended.append(1))])
    assert ended == [1]


@pytest.mark.parametrize(
    ("cluster", "cpus", "gpus", "said"),
    [
        (None, 2, 0, "are for --cluster"),
        (True, 0, 0, "must be greater than 0"),
        ("nowhere", 1, 0, "is no address"),
        ("127.0.0.1:9", 1, 0, "no Ray cluster answers there"),
        ("ray://127.0.0.1:9", 1, 0, "no Ray cluster answers there"),
        ("host:port", 1, 0, "no Ray cluster answers there"),
    ],
)
def test_wishes_are_checked_before_any_work(cluster, cpus, gpus, said, tmp_path, monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(LandmarkError, match=said):
        cluster_place(tmp_path / "work", cluster, cpus, gpus)
    assert not (tmp_path / "work").exists() and cluster_place(tmp_path, None, 1, 0) is None
