# SPDX-License-Identifier: Apache-2.0
"""A review that begins without a bundle: annotated cases are registered until a network is as good."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark import LandmarkError, LandmarkSet, read_landmarks, write_landmarks
from auto3dlandmark.cli import main
from auto3dlandmark.formats.markups import markups_bytes
from auto3dlandmark.registration.elastix import elastix_is_there
from auto3dlandmark.review import retraining
from auto3dlandmark.review.answering import ByNetworks, answering
from auto3dlandmark.review.retraining import Agreement, learnt_from, retrain, worth_training
from auto3dlandmark.review.store import ORIGINAL, ReviewStore
from auto3dlandmark.review.versions import ReviewedCases, ServedModel
from auto3dlandmark.review.waiting import predict_waiting

pytestmark = pytest.mark.skipif(not elastix_is_there(), reason="the extra 'register' is not installed")


def moved(number):
    return np.array([2.0, -1.0, 3.0]) * number


@pytest.fixture
def studies(demo_dataset, tmp_path):
    """The same coarse image at six places, the first one annotated; and where the landmarks of each lie."""
    image = nib.load(demo_dataset / "images" / "demo_00.nii.gz").slicer[::2, ::2, ::2]
    landmarks = read_landmarks(demo_dataset / "landmarks" / "demo_00.mrk.json")
    folder, truth = tmp_path / "studies", {}
    folder.mkdir()
    for number in range(6):
        affine = image.affine.copy()
        affine[:3, 3] += moved(number)
        nib.save(nib.Nifti1Image(image.dataobj, affine), folder / f"case_{number}.nii.gz")
        points = landmarks.points + moved(number)
        truth[f"case_{number}"] = LandmarkSet(landmarks.names, points, landmarks.status)
    write_landmarks(folder / "labels" / "final" / "case_0.mrk.json", truth["case_0"])
    return folder, truth


def served_model(folder):
    return ServedModel(folder / "review" / "models" / "landmarks", [], templates=ReviewedCases(folder))


def test_what_was_annotated_first_is_registered(studies):
    folder, truth = studies
    model = served_model(folder)
    store = ReviewStore(folder, model.names)
    assert model.names == truth["case_0"].names
    seen = [[case.id for case in model.current().templates]]
    for case in ("case_5", "case_2", "case_3"):
        store.save(case, markups_bytes(truth[case]), ORIGINAL)
        store.save(case, markups_bytes(truth[case]))
        seen.append([case.id for case in model.current().templates])
    assert seen[0] == ["case_0"] and seen[1] == ["case_0", "case_5"]
    assert seen[2] == seen[3] == ["case_0", "case_5", "case_2"]
    before = model.current()
    assert before == model.current() and before.bundles == () and before.version == 0
    other = LandmarkSet(truth["case_5"].names, truth["case_5"].points + 0.25, truth["case_5"].status)
    store.save("case_5", markups_bytes(other))
    assert model.current() != before


def test_waiting_cases_are_predicted_by_registration(studies):
    folder, truth = studies
    model = served_model(folder)
    store = ReviewStore(folder, model.names)
    for case in ("case_3", "case_4", "case_5"):
        store.remove_image(case)
    found = predict_waiting(model, store, say=lambda line: None)
    assert set(found) == {"case_1", "case_2"}
    for case, values in found.items():
        shown = store.landmarks(case, ORIGINAL)
        np.testing.assert_allclose(shown.points, truth[case].points, atol=0.5)
        assert values["gain"] > 0 and values["confidence"] is None and values["disagreement"] is None
        assert store.notes()[case]["version"] == 0
    assert predict_waiting(model, store) == {}
    with pytest.raises(LandmarkError, match="is the template"):
        answering(model, model.current()).predict(folder / "case_0.nii.gz")


@pytest.mark.slow
@pytest.mark.parametrize("network, state", [(1.0, "promoted"), (9.0, "refused")])
def test_the_first_network_has_to_be_as_good_as_registration(studies, monkeypatch, network, state):
    folder, truth = studies
    model = served_model(folder)
    store = ReviewStore(folder, model.names)
    for case in ("case_1", "case_2", "case_3"):
        store.save(case, markups_bytes(truth[case]))
    asked = []

    def agreement(answers, names, cases, place, tolerance_mm):
        asked.append((type(answers), [answers.predict(case.image).names for case in cases]))
        return Agreement(2.0, network if isinstance(answers, ByNetworks) else 2.0, 0)

    monkeypatch.setattr(retraining, "_agreement", agreement)
    outcome = retrain(model, store, 0.05, say=lambda line: None)
    assert outcome["state"] == state and learnt_from(outcome) == 4
    assert [kind.__name__ for kind, _ in asked] == ["ByRegistration", "ByNetworks"]
    again = served_model(folder).current()
    assert again.version == (state == "promoted") and len(again.bundles) == again.version
    assert [one["version"] for one in model.versions()] == [1] * again.version
    if again.bundles:
        found = answering(model, again).predict(folder / "case_5.nii.gz")
        assert found.names == truth["case_0"].names
        assert retrain(model, store, 0.05, say=lambda line: None)["state"] in ("promoted", "refused")


def test_trainings_begin_as_reviewed_cases_become_many_more():
    assert next(number for number in range(60) if worth_training(number, 0)) == 6
    assert not worth_training(8, 6) and worth_training(9, 6) and not worth_training(44, 30)


def test_the_effort_is_told_case_by_case(studies, capsys):
    folder, truth = studies
    store = ReviewStore(folder, truth["case_0"].names)
    with pytest.raises(SystemExit, match="no case was reviewed"):
        main(["effort", str(folder)])
    shown = truth["case_1"].points.copy()
    shown[0] += [3, 0, 4]
    store.save("case_1", markups_bytes(LandmarkSet(store.names, shown)), ORIGINAL, details={"version": 2})
    store.save("case_1", markups_bytes(truth["case_1"]), reviewer="=1+1 <b>")
    store.save("case_2", markups_bytes(truth["case_2"]))
    other = LandmarkSet(store.names, truth["case_2"].points + 1, truth["case_2"].status)
    store.save("case_2", markups_bytes(other))  # again: does not count
    main(["effort", str(folder)])
    assert f"2 cases reviewed, {1 + len(store.names)} of {2 * len(store.names)}" in capsys.readouterr().out
    table = (folder / "review" / "effort.csv").read_text().splitlines()
    assert table[0].startswith("case,time,reviewer,model,corrections,placed,moved,removed,moved_mm,landmarks")
    assert ",2,1,0,1,0,5.0," in table[1] and table[1].startswith("case_1,") and len(table) == 3
    page = (folder / "review" / "effort.html").read_text()
    assert "effort of the review" in page and page.count("<svg") == 2 and "1 <b>" not in page


def test_without_annotated_cases_there_is_nothing_to_begin_with(studies):
    folder, _ = studies
    (folder / "labels" / "final" / "case_0.mrk.json").unlink()
    with pytest.raises(LandmarkError, match="landmark"):
        served_model(folder)
