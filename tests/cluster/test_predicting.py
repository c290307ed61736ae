# SPDX-License-Identifier: Apache-2.0
"""A large job on a cluster of this machine: each case once, whatever breaks."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from auto3dlandmark.formats import read_landmarks
from auto3dlandmark.inference.parallel import Outcome
from auto3dlandmark.landmarks import LandmarkSet

ray = pytest.importorskip("ray", reason="Ray is not installed: the extra 'cluster' has it")
pyarrow = pytest.importorskip("pyarrow.parquet", reason="the extra 'cluster' is not installed")

from auto3dlandmark.cluster.listing import Listed  # noqa: E402  they need what may be missing
from auto3dlandmark.cluster.predicting import MOST_ATTEMPTS, Share, predict_on_cluster  # noqa: E402
from auto3dlandmark.cluster.prediction_table import PredictionTable  # noqa: E402

CASES = 40


@dataclass(frozen=True)
class NumberMaker:
    """Makes a point of the number that an image file holds; the word "kill" ends the process."""

    identity: str = "first"
    seconds: float = 0.05

    def load(self):
        def predict(image: Path) -> Outcome:
            text = image.read_text()
            time.sleep(self.seconds)
            if text == "kill":
                os._exit(1)
            if text == "broken":
                return Outcome(None, (), f"{image}: cannot be read as an image.")
            with open(f"{image}.log", "a") as stream:
                stream.write("x")
            return Outcome(LandmarkSet(["here", "gone"], [[float(text)] * 3, [np.nan] * 3]))

        return predict


@pytest.fixture(scope="module")
def nodes():
    """Three nodes of a core each, of which the second may be killed."""
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


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


def test_every_case_is_there_once_though_a_node_is_killed(nodes, images, tmp_path):
    out = tmp_path / "out"
    third = nodes.add_node(num_cpus=1)

    def kill():
        while not list(out.glob("cases/*/*.mrk.json")):
            time.sleep(0.05)
        nodes.remove_node(third, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    report = predict_on_cluster(NumberMaker(), images, out, share=Share(cpus=1), progress=False)
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
    assert not list(out.glob("attempts*"))

    again = predict_on_cluster(NumberMaker(), images, out, progress=False)  # computes nothing that is there
    assert (again.made, again.kept, sorted(again.failed)) == (0, CASES - 2, ["case_3", "case_5"])
    assert len(table_of(out)) == len(found)


def test_what_changed_is_made_again(nodes, images, tmp_path):
    out, some = tmp_path / "out", images[6:12]
    predict_on_cluster(NumberMaker(seconds=0), some, out, progress=False)
    Path(some[0].image).write_text("77")
    report = predict_on_cluster(NumberMaker(seconds=0), some, out, progress=False)
    assert (report.made, report.kept) == (1, 5)
    found = table_of(out)
    assert len(found) == 2 * len(some) and found[found.case == "case_6"].x_mm.max() == 77
    report = predict_on_cluster(NumberMaker("second", 0), some, out, progress=False)
    assert (report.made, report.kept) == (6, 0)
    assert set(table_of(out).made_by) == {"second"} and len(table_of(out)) == 2 * len(some)
    assert len(PredictionTable(out / "predictions.parquet").parts()) == 1


def test_images_are_fetched_from_elsewhere(nodes, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    (tmp_path / "a.nii.gz").write_text("4")
    there = [Listed("a", f"file://{tmp_path}/a.nii.gz"), Listed("b", f"file://{tmp_path}/b.nii.gz")]
    report = predict_on_cluster(NumberMaker(), there, tmp_path / "out", progress=False)
    assert report.made == 1 and "b.nii.gz: cannot be fetched" in report.failed["b"]
    assert fsspec and table_of(tmp_path / "out").x_mm.max() == 4
    assert len(list(tmp_path.glob("*.log"))) == 0  # what was predicted was a copy


def test_a_folder_holds_a_thousand_at_most():
    from auto3dlandmark.cluster.predicting import _places

    images = [Listed(f"c{number}", "") for number in range(2500)]
    places = _places(images, {})
    folders = [Path(place).parent.name for place in places.values()]
    assert {name: folders.count(name) for name in set(folders)} == {"0000": 1000, "0001": 1000, "0002": 500}
