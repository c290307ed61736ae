# SPDX-License-Identifier: Apache-2.0
"""A model learns from reviewed labels, and is served only when it is at least as good on cases it has not
seen."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.files import read_json, write_json
from auto3dlandmark.inference.predictor import LandmarkPredictor
from auto3dlandmark.landmarks import LandmarkSet
from auto3dlandmark.review import retraining
from auto3dlandmark.review.retraining import Agreement, announce, retrain, retraining_status
from auto3dlandmark.review.store import ReviewStore
from auto3dlandmark.review.versions import ServedModel

A_MOMENT = 0.05  # minutes


@pytest.fixture
def reviewed(demo_dataset, trained_bundle, tmp_path):
    """A studies folder with four reviewed cases of six, and its model."""
    listed = scan_folder(demo_dataset)
    studies = tmp_path / "studies"
    shutil.copytree(demo_dataset / "images", studies)
    model = ServedModel(studies / "review" / "models" / "landmarks", [trained_bundle])
    store = ReviewStore(studies, model.names)
    for case in listed.training[:4]:
        store.save(case.id, case.label.read_bytes(), reviewer="test")
    return model, store


def test_a_new_model_is_promoted_or_refused_with_the_reason(reviewed, trained_bundle):
    model, store = reviewed
    weights = (trained_bundle / "models" / "model.pt").read_bytes()
    outcome = retrain(model, store, A_MOMENT, say=lambda line: None)
    assert outcome["state"] in ("promoted", "refused") and "held-out cases: error" in outcome["reason"]
    assert len(outcome["held_out"]) == 1 and len(outcome["training"]) == 3
    assert not set(outcome["held_out"]) & set(outcome["training"])
    assert model.current().version == (1 if outcome["state"] == "promoted" else 0)
    assert LandmarkPredictor(model.current().bundles).names == list(model.names)
    assert (trained_bundle / "models" / "model.pt").read_bytes() == weights
    assert retraining_status(model)["state"] == outcome["state"]
    (course,) = outcome["course"]  # of the one bundle
    assert course and all(look["mre_mm"] > 0 for look in course)


def test_networks_may_learn_elsewhere(reviewed):
    called = []

    def place(function, *given, **named):
        called.append(function.__name__)
        return function(*given, **named)

    outcome = retrain(*reviewed, A_MOMENT, say=lambda line: None, place=place)
    assert outcome["state"] in ("promoted", "refused") and called == ["train_bundle"]


def test_it_goes_on_from_the_served_weights(reviewed, monkeypatch):
    model, store = reviewed
    seen = {}

    def look(bundle, **overrides):
        seen.update(read_json(bundle / "configs" / "train.json"))
        raise LandmarkError("enough")

    monkeypatch.setattr(retraining, "train_bundle", look)
    with pytest.raises(LandmarkError, match="enough"):
        retrain(model, store, 1.5, say=lambda line: None)
    source = read_json(model.given[0] / "configs" / "train.json")
    assert seen["initial_weights"] == str(model.given[0] / "models" / "model.pt")
    assert seen["optimizer"]["lr"] == pytest.approx(0.3 * source["optimizer"]["lr"])
    assert (seen["minutes"], seen["dataset_dir"], seen["fold"]) == (1.5, str(store.studies), 0)
    assert retraining_status(model) == {"state": "failed", "reason": "enough"}
    assert model.current().version == 0


@pytest.mark.parametrize(
    "errors, state", [((9.0, 1.0), "promoted"), ((1.0, 9.0), "refused"), ((0.2, 0.4), "promoted")]
)
def test_only_a_model_that_is_at_least_as_good_is_served(reviewed, monkeypatch, errors, state):
    model, store = reviewed
    monkeypatch.setattr(
        retraining, "train_bundle", lambda bundle, **_: (bundle / "models").mkdir(exist_ok=True)
    )

    class Network:
        def __init__(self, bundles):
            self.new = "candidates" in str(bundles[0])

        def predict(self, image):
            truth = store.landmarks(image.name.removesuffix(".nii.gz"))
            return LandmarkSet(truth.names, truth.points + [errors[self.new], 0, 0], truth.status)

    monkeypatch.setattr(retraining, "ByNetworks", Network)
    outcome = retrain(model, store, 1, tolerance_mm=0.5, say=lambda line: None)
    assert outcome["state"] == state and outcome["old"]["mre_mm"] == pytest.approx(errors[0], abs=1e-3)
    assert outcome["new"]["beyond_tolerance_mm"] == pytest.approx(max(0, errors[1] - 0.5), abs=1e-3)
    served = model.current()
    assert served.version == (state == "promoted")
    assert served.bundles == (
        model.given if state == "refused" else (model.folder / "versions" / "0001" / "0",)
    )


def test_wrong_presence_is_worse_whatever_the_error():
    assert not Agreement(1, 0, 1).at_least_as_good_as(Agreement(2, 1, 0))
    assert Agreement(1, 0, 0).at_least_as_good_as(Agreement(None, 0, 1))


def test_a_case_stays_held_out_when_more_are_reviewed(reviewed, demo_dataset, monkeypatch):
    model, store = reviewed

    def stop(bundle, **_):
        raise LandmarkError("enough")

    monkeypatch.setattr(retraining, "train_bundle", stop)
    held_out = []
    for case in scan_folder(demo_dataset).training[3:]:
        store.save(case.id, case.label.read_bytes())
        with pytest.raises(LandmarkError, match="enough"):
            retrain(model, store, 1, say=lambda line: None)
        folds = read_json(model.folder / "folds.json")
        held_out.append({case for case, fold in folds.items() if fold == 0})
    assert held_out[0] and all(held_out[0] <= later for later in held_out)


def test_a_retraining_killed_right_after_its_promotion_is_told_as_promoted(reviewed):
    model, _ = reviewed
    model.folder.mkdir(parents=True)
    status = {"state": "comparing", "began": 0, "minutes": 1, "version": 0}
    write_json(model.folder / "status.json", status)
    assert retraining_status(model)["state"] == "stopped"
    (model.folder / "candidates" / "x" / "0").mkdir(parents=True)
    model.promote(model.folder / "candidates" / "x", ["0"], {})
    assert retraining_status(model)["state"] == "promoted" and retraining_status(model)["version"] == 1


def test_a_broken_label_is_told_before_any_training(reviewed, monkeypatch):
    model, store = reviewed
    monkeypatch.setattr(retraining, "train_bundle", lambda *_, **__: pytest.fail("a training began"))
    broken = store.labelled()[-1]
    store.label(broken).write_text("{")
    with pytest.raises(LandmarkError, match=rf"the label of '{broken}' cannot be used: .*not valid JSON"):
        retrain(model, store, 1, say=lambda line: None)
    assert retraining_status(model)["state"] == "failed"


def announce_elsewhere(model, store):
    """As another server on the same folder does; it goes on living until its input ends."""
    code = ANNOUNCER.format(studies=str(store.studies), folder=str(model.folder), bundle=str(model.given[0]))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], **pipes)
    assert process.stdout.readline() == b"announced\n"
    return process


ANNOUNCER = """
import sys
from auto3dlandmark.review.retraining import announce
from auto3dlandmark.review.store import ReviewStore
from auto3dlandmark.review.versions import ServedModel
model = ServedModel({folder!r}, [{bundle!r}])
announce(model, ReviewStore({studies!r}, model.names), 7)
print("announced", flush=True)
sys.stdin.read()
"""


def test_an_announcement_stays_until_its_server_is_gone(reviewed):
    model, store = reviewed
    other = announce_elsewhere(model, store)
    said = read_json(model.folder / "status.json")
    with pytest.raises(LandmarkError, match="is running already"):
        announce(model, store, 1)
    assert read_json(model.folder / "status.json") == said and said["minutes"] == 7
    other.communicate()
    announce(model, store, 1)  # what was announced never began
    announce(model, store, 2)  # and a server may announce again what it has stopped
    assert read_json(model.folder / "status.json")["minutes"] == 2


def test_an_announcement_does_not_overwrite_what_a_running_training_says(reviewed, monkeypatch):
    model, store = reviewed
    monkeypatch.setattr(retraining, "SECONDS_OF_A_LOOK", 0.1)

    def look(bundle, **_):
        before = read_json(model.folder / "status.json")
        with pytest.raises(LandmarkError, match="is running already"):
            announce(model, store, 5)
        assert read_json(model.folder / "status.json") == before and before["state"] == "training"
        raise LandmarkError("enough")

    monkeypatch.setattr(retraining, "train_bundle", look)
    with pytest.raises(LandmarkError, match="enough"):
        retrain(model, store, 1, say=lambda line: None)


def test_a_look_at_the_status_is_no_other_training(reviewed):
    model, store = reviewed
    model.folder.mkdir(parents=True)
    look = retraining._lock(model)
    look.acquire()
    threading.Timer(0.3, look.release).start()
    announce(model, store, 1)
    assert read_json(model.folder / "status.json")["state"] == "starting"


@pytest.mark.parametrize("spoilt", [{"began": "x"}, {"minutes": 0}, {"minutes": None}, {"by": []}])
def test_a_damaged_status_says_nothing(reviewed, spoilt):
    model, store = reviewed
    write_json(model.folder / "status.json", {"state": "starting", "began": 0, "minutes": 1, **spoilt})
    with retraining._alone(model):
        assert retraining_status(model) == {}
    announce(model, store, 1)


def test_too_few_cases_are_told(reviewed):
    model, store = reviewed
    for case in store.labelled()[2:]:
        store.remove_label(case)
    with pytest.raises(LandmarkError, match="2 cases are reviewed; at least 3 are needed"):
        retrain(model, store, 1, say=lambda line: None)
    assert retraining_status(model)["state"] == "failed"


def test_a_version_of_other_bundles_or_a_broken_pointer_does_not_count(reviewed, trained_bundle, tmp_path):
    model, _ = reviewed
    (model.folder / "candidates" / "x" / "0").mkdir(parents=True)
    model.promote(model.folder / "candidates" / "x", ["0"], {})
    assert model.current().version == 1
    moved = shutil.copytree(trained_bundle, tmp_path / "elsewhere")
    assert ServedModel(model.folder, [moved]).current().version == 1
    (moved / "models" / "model.pt").write_bytes(b"other")
    assert ServedModel(model.folder, [moved]).current().version == 0
    (model.folder / "current.json").write_text('{"version": 1')
    assert model.current().version == 0


def test_bundles_that_do_not_fit_together_are_refused(reviewed, trained_bundle, tmp_path):
    other = shutil.copytree(trained_bundle, tmp_path / "other")
    config = read_json(other / "configs" / "inference.json")
    write_json(other / "configs" / "inference.json", {**config, "landmark_names": ["x"]})
    for bundles, message in [
        ([trained_bundle, other], "other: finds other landmarks"),
        ([tmp_path], "is not a bundle"),
        ([], "no bundle given"),
    ]:
        with pytest.raises(LandmarkError, match=message):
            ServedModel(tmp_path / "m", bundles)


def test_there_is_a_way_back_to_every_version(reviewed):
    model, _ = reviewed
    assert model.versions() == []
    for number in (1, 2):
        (model.folder / "candidates" / "x" / "0").mkdir(parents=True)
        assert model.promote(model.folder / "candidates" / "x", ["0"], {"reason": f"r{number}"}) == number
    assert [(one["version"], one["reason"]) for one in model.versions()] == [(1, "r1"), (2, "r2")]
    for version, place in ((1, "0001"), (2, "0002")):
        model.serve(version)
        assert model.current().version == version
        assert model.current().bundles == (model.folder / "versions" / place / "0",)
    model.serve(0)
    assert model.current().version == 0 and model.current().bundles == model.given
    model.serve(0)
    with pytest.raises(LandmarkError, match="no version 7 to go to. There are 0, 1, 2"):
        model.serve(7)


TRAINER = """
import sys
from auto3dlandmark.review.retraining import retrain
from auto3dlandmark.review.store import ReviewStore
from auto3dlandmark.review.versions import ServedModel
studies, folder, bundle = sys.argv[1:]
model = ServedModel(folder, [bundle])
retrain(model, ReviewStore(studies, model.names), 0.02)
"""


@pytest.mark.slow
def test_a_killed_retraining_leaves_a_whole_model(reviewed):
    """Killed at ten moments, from its start to beyond its end."""
    model, store = reviewed
    command = [sys.executable, "-c", TRAINER, str(store.studies), str(model.folder), str(model.given[0])]
    began = time.time()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.time() - began
    for share in np.linspace(0.3, 1.05, 10):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(share * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert retraining_status(model)["state"] in ("stopped", "promoted", "refused")
        served = model.current()
        assert all((bundle / "models" / "model.pt").is_file() for bundle in served.bundles)
    image = next(iter(store.images().values()))
    assert len(LandmarkPredictor(model.current().bundles).predict(image)) == len(model.names)
    assert store.labelled() == [case for case in store.images() if case in store.labelled()]
