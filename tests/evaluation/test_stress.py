# SPDX-License-Identifier: Apache-2.0
"""The stress test measures what it says: errors of points that are in the image, on cases not trained on."""

from __future__ import annotations

import csv
import shutil

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from auto3dlandmark import LandmarkError, LandmarkSet, read_landmarks
from auto3dlandmark.bundles.folder import BundleFolder
from auto3dlandmark.cli import main
from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.data.images import read_image
from auto3dlandmark.estimates import Estimates
from auto3dlandmark.evaluation import stress
from auto3dlandmark.evaluation.disturbances import DISTURBANCES
from auto3dlandmark.evaluation.stress import look_at, stress_bundle
from auto3dlandmark.evaluation.stress_figures import Look, StressTest, stress_table, write_stress
from auto3dlandmark.evaluation.tables import summary_text
from auto3dlandmark.files import read_json, write_json, write_text
from auto3dlandmark.geometry import radial_error
from auto3dlandmark.inference.predictor import LandmarkPredictor
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN

NAN = [np.nan] * 3
NAMES = ("A", "B", "C", "D", "E")


@pytest.fixture(scope="module")
def stressed(trained_bundle, demo_dataset, tmp_path_factory):
    """One case of the demo's held-out ones, from the command line."""
    out = tmp_path_factory.mktemp("stress")
    main(["stress", str(trained_bundle), str(demo_dataset), str(out), "--cases", "1"])
    return out


@pytest.fixture
def bundle(trained_bundle, tmp_path):
    return BundleFolder(shutil.copytree(trained_bundle, tmp_path / "bundle"))


@pytest.fixture
def knowing(monkeypatch):
    """A predictor that finds every landmark where it is, 1 mm to the right; of two networks, when asked."""
    asked = []

    class Knowing:
        published = False

        def __init__(self, bundles, trust=False):
            self.names = list(BundleFolder(bundles[0]).landmark_names())
            self.members = [type("Member", (), {"networks": [None] * (2 if self.published else 1)})]

        def predict(self, image):
            assert not self.published
            return self.conclude(image)

        def peaks(self, image, alone):
            assert self.published and alone == 0
            return image

        def conclude(self, image):
            asked.append(read_image(image))
            truth = read_landmarks(self.dataset / "landmarks" / f"{image.stem}.mrk.json").select(self.names)
            return LandmarkSet(truth.names, truth.points + (1, 0, 0), truth.status)

    Knowing.asked = asked
    monkeypatch.setattr(stress, "LandmarkPredictor", Knowing)
    return Knowing


def test_an_undisturbed_image_gives_the_error_of_the_image_itself(stressed, trained_bundle, demo_dataset):
    content = read_json(stressed / "stress.json")
    (case,) = content["cases"]
    predictor = LandmarkPredictor([trained_bundle])
    found = predictor.predict(demo_dataset / "images" / f"{case}.nii.gz")
    truth = read_landmarks(demo_dataset / "landmarks" / f"{case}.mrk.json").select(predictor.names)
    first = content["rows"][0]
    assert first["disturbance"] == "undisturbed" and first["severity"] == 0
    assert first["mean_mm"] == pytest.approx(np.nanmean(radial_error(found.points, truth.points)), abs=1e-3)
    stored = [row for row in content["rows"] if row["disturbance"] == "storage order"]
    assert [row["mean_mm"] for row in stored] == pytest.approx([first["mean_mm"]] * 3, abs=1e-2)


def test_its_files_have_a_row_for_each_disturbance_and_severity(stressed, trained_bundle):
    content = read_json(stressed / "stress.json")
    kinds = [("undisturbed", "0")]
    kinds += [(one.name, str(number)) for one in DISTURBANCES for number in (1, 2, 3)]
    for name, key in (("stress", "rows"), ("stress_cases", "case_rows")):
        with open(stressed / f"{name}.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [(row["disturbance"], row["severity"]) for row in rows] == kinds  # of one case
        assert [row["missed"] for row in rows] == [str(row["missed"]) for row in content[key]]
    assert content["bundle"] == str(trained_bundle)
    with Image.open(stressed / "stress.png") as picture:
        assert picture.size[1] / picture.size[0] == len(DISTURBANCES) / 3


def test_it_says_which_cases_it_took_and_the_summary(trained_bundle, demo_dataset, tmp_path, capsys, knowing):
    knowing.dataset = demo_dataset
    main(["stress", str(trained_bundle), str(demo_dataset), str(tmp_path / "out"), "--cases", "1"])
    said = capsys.readouterr().out
    held_out = [case.id for case in scan_folder(demo_dataset).held_out(0)]
    assert f"cases: the first 1 of {len(held_out)} held out in fold 0; --cases N takes more" in said
    assert read_json(tmp_path / "out" / "stress.json")["cases"] == held_out[:1]
    assert "median 1.00 mm, mean 1.00 mm, 95 % within 1.00 mm" in said
    assert "no mean over a case is above 3.00 mm" in said
    main(
        ["stress", str(trained_bundle), str(demo_dataset), str(tmp_path / "all"), "--unseen", "--cases", "9"]
    )
    assert "cases: all 6 not trained on" in capsys.readouterr().out


def test_all_channels_are_disturbed_and_predicted(demo_dataset, trained_bundle, knowing, tmp_path):
    (tmp_path / "images").mkdir()
    shutil.copytree(demo_dataset / "landmarks", tmp_path / "landmarks")
    image = nib.load(demo_dataset / "images" / "demo_00.nii.gz")
    both = np.stack([np.asarray(image.dataobj)] * 2, axis=-1)
    nib.save(nib.Nifti1Image(both, image.affine), tmp_path / "images" / "demo_00.nii.gz")
    for path in sorted((tmp_path / "landmarks").iterdir())[1:]:
        path.unlink()
    knowing.dataset = tmp_path
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    cases = scan_folder(tmp_path).training
    test = stress_bundle(BundleFolder(trained_bundle), cases, tmp_path.parent / "p.png", progress=False)
    assert {array.shape[3] for array, _ in knowing.asked} == {2} and len(knowing.asked) == 34
    assert {row["mean_mm"] for row in test.rows()} == {1.0}
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_of_a_published_bundle_the_network_looks_that_has_not_seen_the_case(
    demo_dataset, trained_bundle, knowing, tmp_path
):
    knowing.dataset, knowing.published = demo_dataset, True
    cases = scan_folder(demo_dataset).held_out(0)[:1]
    stress_bundle(BundleFolder(trained_bundle), cases, tmp_path / "p.png", fold=0, progress=False)
    assert len(knowing.asked) == 34  # which network, is asserted there


def test_an_image_that_cannot_be_predicted_is_told_and_stops_nothing(
    demo_dataset, trained_bundle, knowing, tmp_path, monkeypatch
):
    knowing.dataset, said = demo_dataset, []
    predict = knowing.predict

    def refuse(self, image):
        if min(read_image(image)[0].shape) < 10:
            raise LandmarkError("too thin")
        return predict(self, image)

    monkeypatch.setattr(knowing, "predict", refuse)
    cases = scan_folder(demo_dataset).training[:1]
    test = stress_bundle(
        BundleFolder(trained_bundle), cases, tmp_path / "p.png", say=said.append, progress=False
    )
    rows = {(row["disturbance"], row["severity"]): row for row in test.rows()}
    assert "demo_00, thick slices 3: too thin" in said
    assert rows["thick slices", 3]["no_prediction"] == 1 and rows["thick slices", 3]["mean_mm"] is None
    assert len(test.to_json()["no_prediction"]) == len(said)


def test_a_landmark_outside_the_image_has_no_error_and_may_be_claimed():
    """In a cube of 10 mm: A is found 5 mm off, B is missed, C and D lie outside, E is absent."""
    truth = LandmarkSet(NAMES, [[1, 1, 1], [2, 2, 2], [20, 1, 1], [20, 2, 2], NAN], [PRESENT] * 4 + [ABSENT])
    found = LandmarkSet(
        NAMES, [[4, 5, 1], NAN, [9, 1, 1], [19, 2, 2], [3, 3, 3]], [PRESENT, ABSENT] + [PRESENT] * 3
    )
    look = look_at("a", "tight crop", 3, (10, 10, 10), np.eye(4), truth, found)
    assert np.array_equal(look.errors_mm, [5, *[np.nan] * 4], equal_nan=True)
    assert (look.missed, look.false, look.outside, look.outside_claimed) == (1, 1, 2, 1)
    assert np.isnan(look.unusual) and np.isnan(look.radii95_mm).all()


def test_an_unknown_landmark_is_neither_missed_nor_false():
    truth = LandmarkSet(NAMES[:2], [NAN, NAN], [UNKNOWN, UNKNOWN])
    found = LandmarkSet(NAMES[:2], [[1, 1, 1], NAN], [PRESENT, ABSENT], None, Estimates.unknown(2))
    look = look_at("a", "noise", 1, (10, 10, 10), np.eye(4), truth, found)
    assert (look.missed, look.false, look.outside) == (0, 0, 0)


@pytest.fixture
def figures():
    """
    Errors of 1 mm everywhere, but in one of two cases 12 mm when turned by 45 degrees, which is flagged, and
    in the other 4 mm under noise, which is not.
    """
    ones, radii = np.ones(4), np.full(4, 2.0)
    looks = [Look(case, "undisturbed", 0, ones, radii, unusual=0.5) for case in "ab"]
    for name, number in [(one.name, number) for one in DISTURBANCES for number in (1, 2, 3)]:
        turned, noisy = (name, number) == ("rotation", 3), (name, number) == ("noise", 3)
        looks.append(
            Look("a", name, number, ones * (12 if turned else 1), radii, unusual=1.5 if turned else 0)
        )
        looks.append(Look("b", name, number, ones * (4 if noisy else 1), radii, unusual=0.9))
    return StressTest("work/heatmap_0", ("a", "b"), tuple(looks))


def test_figures_are_those_of_the_points_and_failing_cases_are_three_times_worse(figures):
    assert figures.failing_mm == 3
    row = figures.rows()[-1]
    assert (row["disturbance"], row["severity"], row["amount"]) == ("rotation", 3, 45)
    assert (row["points"], row["mean_mm"], row["median_mm"], row["p95_mm"]) == (8, 6.5, 6.5, 12)
    assert (row["above_10mm_percent"], row["in_radius95_percent"], row["flagged_percent"]) == (50, 50, 50)
    assert (row["failing_cases"], row["failing_cases_flagged"]) == (1, 1)
    first, second = figures.case_rows()[-2:]
    assert (first["case"], first["mean_mm"], first["unusual"]) == ("a", 12, 1.5)
    assert (second["case"], second["mean_mm"], second["failing_cases"]) == ("b", 1, 0)


def test_the_summary_names_the_worst_and_who_noticed(figures):
    assert figures.summary() == (
        "stress: 1.00 mm -> rotation 6.50, noise 2.50, gamma 1.00 (median, severest); "
        "1 of 2 failing cases flagged"
    )
    table = stress_table(figures).splitlines()
    assert table[-1].startswith("rotation") and " 6.50 / 6.50 " in table[-1]
    assert len({len(line) for line in table[3:]}) == 1  # aligned


def test_a_bundle_that_flags_nothing_says_so(figures):
    looks = tuple(
        Look(look.case, look.disturbance, look.severity, look.errors_mm, look.radii95_mm)
        for look in figures.looks
    )
    test = StressTest("b", ("a", "b"), looks)
    assert "2 failing cases, none of which this bundle can flag: calibrate it" in test.summary()
    assert test.rows()[0]["failing_cases_flagged"] is None


def test_the_evaluation_beside_it_tells_the_summary(figures, tmp_path):
    write_stress(tmp_path, figures)
    metrics = {"cases": 1, "points_compared": 0, "mre_mm": None, "std_mm": None, "median_mm": None}
    presence = dict.fromkeys(("present_missed", "absent_recognised", "absent_but_predicted"), 0)
    write_json(tmp_path / "metrics.json", {**metrics, "presence": presence})
    write_text(tmp_path / "per_landmark.csv", "landmark,mre_mm,std_mm,median_mm,max_mm\nA,,,,\n")
    assert figures.summary() in summary_text(tmp_path, "held-out cases").splitlines()


@pytest.mark.parametrize("datalist", ["nowhere.json", "of others"])
def test_without_held_out_cases_it_says_what_to_do(datalist, bundle, demo_dataset, write_dataset, tmp_path):
    config = bundle.read_config("train")
    if datalist == "of others":
        datalist = tmp_path / "others.json"
        content = read_json(config["datalist"])
        entries = [
            {**item, "image": f"other_{number}.nii.gz"} for number, item in enumerate(content["training"])
        ]
        write_json(datalist, {**content, "training": entries})
    bundle.write_config("train", {**config, "datalist": str(datalist)})
    with pytest.raises(SystemExit, match=r"bundle: no case of .* is known to be held out .* say --unseen"):
        main(["stress", str(bundle.path), str(demo_dataset), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_into_the_dataset_or_a_file(bundle, demo_dataset, write_dataset, tmp_path):
    with pytest.raises(SystemExit, match=r"stress: is in the dataset\. Name another folder"):
        main(["stress", str(bundle.path), str(demo_dataset), str(demo_dataset / "stress")])
    write_text(tmp_path / "file", "")
    with pytest.raises(SystemExit, match="file: is a file, not a folder"):
        main(["stress", str(bundle.path), str(demo_dataset), str(tmp_path / "file")])
    with pytest.raises(SystemExit, match="nowhere: cannot be written"):
        main(["stress", str(bundle.path), str(demo_dataset), "/proc/nowhere"])
    with pytest.raises(SystemExit, match="has none of the landmarks that .* finds"):
        main(["stress", str(bundle.path), str(write_dataset()), str(tmp_path / "out")])
