# SPDX-License-Identifier: Apache-2.0
"""A large job on a cluster of this machine: each case once, whatever breaks."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import number_maker
import pytest
from number_maker import NumberMaker

from auto3dlandmark import LandmarkError
from auto3dlandmark.formats import read_landmarks

ray = pytest.importorskip("ray", reason="Ray is not installed: the extra 'cluster' has it")
pyarrow = pytest.importorskip("pyarrow.parquet", reason="the extra 'cluster' is not installed")

from auto3dlandmark.cluster.case_predictor import MOST_ATTEMPTS  # noqa: E402  they need what may be missing
from auto3dlandmark.cluster.listing import Listed  # noqa: E402
from auto3dlandmark.cluster.predicting import Share, predict_on_cluster  # noqa: E402
from auto3dlandmark.cluster.prediction_table import PredictionTable  # noqa: E402

ray.cloudpickle.register_pickle_by_value(number_maker)  # other processes cannot import it
CASES = 40


@pytest.fixture
def images(tmp_path):
    """Files that hold numbers; one is broken, and one kills whatever reads it."""
    folder = tmp_path / "images"
    folder.mkdir()
    special = {3: "broken", 5: "kill"}
    for number in range(CASES):
        (folder / f"case_{number}.nii.gz").write_text(special.get(number, str(number)))
    return [Listed(f"case_{number}", str(folder / f"case_{number}.nii.gz")) for number in range(CASES)]


def table_of(folder):
    return pyarrow.read_table(folder / "predictions.parquet").to_pandas()


def test_every_case_is_there_once_though_a_node_is_killed(ray_nodes, images, tmp_path):
    out = tmp_path / "out"
    third = ray_nodes.add_node(num_cpus=1)

    def kill():
        while not list(out.glob("cases/*/*.mrk.json")):
            time.sleep(0.05)
        ray_nodes.remove_node(third, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    report = predict_on_cluster(NumberMaker(seconds=0.05), images, out, share=Share(cpus=1), progress=False)
    killer.join()
    assert report.made == CASES - 2 and report.kept == 0
    assert sorted(report.failed) == ["case_3", "case_5"]
    assert f"{MOST_ATTEMPTS} times" in report.failed["case_5"]
    found = table_of(out)
    assert len(found) == 2 * (CASES - 2) and found.groupby("case").size().eq(2).all()
    for case, x in zip(found[found.landmark == "here"].case, found[found.landmark == "here"].x_mm):
        assert float(case.removeprefix("case_")) == x
    files = sorted(out.glob("cases/*/*.mrk.json"))
    assert len(files) == CASES - 2
    assert all(read_landmarks(file).points[0, 0] == float(file.name[5:-9]) for file in files)
    assert (out / "failed.csv").read_text().count("\n") == 3
    told = [json.loads(line) for line in (out / "progress.jsonl").read_text().splitlines()]
    assert told[-1]["done"] == told[-1]["of"] == CASES and told[-1]["failed"] == 2
    assert not (out / "unfinished").exists()

    logs = {case.case: len(Path(f"{case.image}.log").read_text()) for case in images}
    assert logs.pop("case_5") == MOST_ATTEMPTS
    # What a process of the killed node was at is made again, and nothing else.
    assert sum(logs.values()) - len(logs) <= 3

    again = predict_on_cluster(NumberMaker(), images, out, progress=False)  # computes nothing that is there
    assert (again.made, again.kept, sorted(again.failed)) == (0, CASES - 2, ["case_3", "case_5"])
    assert len(table_of(out)) == len(found)


def test_what_changed_is_made_again(ray_nodes, images, tmp_path):
    out, some = tmp_path / "out", images[6:12]
    predict_on_cluster(NumberMaker(), some, out, progress=False)
    Path(some[0].image).write_text("77")
    report = predict_on_cluster(NumberMaker(), some, out, progress=False)
    assert (report.made, report.kept) == (1, 5)
    found = table_of(out)
    assert len(found) == 2 * len(some) and found[found.case == "case_6"].x_mm.max() == 77
    report = predict_on_cluster(NumberMaker("second"), some, out, progress=False)
    assert (report.made, report.kept) == (6, 0)
    assert set(table_of(out).made_by) == {"second"} and len(table_of(out)) == 2 * len(some)
    assert len(PredictionTable(out / "predictions.parquet").parts()) == 1


def test_the_client_of_ray_is_refused_before_any_work(tmp_path):
    with pytest.raises(LandmarkError, match="do not run through its client"):
        predict_on_cluster(NumberMaker(), [], tmp_path / "out", "ray://head:10001")
    assert not (tmp_path / "out").exists()


def test_a_folder_holds_a_thousand_at_most():
    from auto3dlandmark.cluster.predicting import _places

    images = [Listed(f"c{number}", "") for number in range(2500)]
    places = _places(images, {})
    folders = [Path(place).parent.name for place in places.values()]
    assert {name: folders.count(name) for name in set(folders)} == {"0000": 1000, "0001": 1000, "0002": 500}
