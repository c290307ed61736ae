# SPDX-License-Identifier: Apache-2.0
"""What gives the same each time is done once for each case, wherever it stands in the pipeline."""

from __future__ import annotations

import multiprocessing
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import psutil
import pytest
from monai.transforms import (
    Compose,
    MapTransform,
    NormalizeIntensityd,
    RandomizableTransform,
    Spacingd,
    Transform,
)
from tqdm import tqdm

from auto3dlandmark.errors import LandmarkError, readable_error
from auto3dlandmark.formats import write_landmarks
from auto3dlandmark.landmarks import LandmarkSet
from auto3dlandmark.store.chunked_image import ChunkedImage
from auto3dlandmark.training.prepared import PreparedCases, is_random
from auto3dlandmark.transforms import LoadChannelsd, LoadLandmarksd, RandPatchLandmarksd, VoxelLandmarksd
from auto3dlandmark.transforms.load import source_file

CASES = [{"value": 1.0}, {"value": 10.0}]


class Times(MapTransform):
    """Multiply, and count how often."""

    def __init__(self, factor: float) -> None:
        super().__init__("value")
        self.factor, self.calls = factor, 0

    def __call__(self, data):
        self.calls += 1
        return {**data, "value": data["value"] * self.factor}


class Shift(RandomizableTransform):
    """Add another number each time."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.calls = 0

    def __call__(self, data):
        self.calls += 1
        return {**data, "value": data["value"] + self.calls / 100}


@pytest.mark.parametrize("lazy", [True, False])
def test_steps_before_the_first_random_one_are_done_once(lazy):
    first, inside, after, shift = Times(2), Times(3), Times(5), Shift()
    cases = PreparedCases(CASES, Compose([first, Compose([inside]), shift, after], lazy=lazy))
    drawn = [cases[number]["value"] for number in (0, 1, 0, 1)]
    assert drawn == pytest.approx([30.05, 300.1, 30.15, 300.2])
    assert (first.calls, inside.calls, shift.calls, after.calls) == (2, 2, 4, 4)


def test_a_random_step_inside_others_is_drawn_each_time():
    first, shift = Times(2), Shift()
    cases = PreparedCases(CASES, Compose([first, Compose([Compose([shift])])]))
    assert [cases[0]["value"] for _ in range(2)] == pytest.approx([2.01, 2.02])
    assert (first.calls, shift.calls) == (2, 2)


def test_a_pipeline_that_draws_nothing_is_done_once():
    step = Times(2)
    cases = PreparedCases(CASES, Compose([Compose([step])]))
    assert [cases[1]["value"] for _ in range(3)] == [20.0] * 3
    assert step.calls == 2


def test_what_is_random_is_known_by_what_is_inside():
    assert is_random(Shift()) and is_random(Compose([Compose([Shift()])]))
    assert is_random(lambda data: data)  # nothing says what it does
    assert not is_random(Compose([Times(2), Compose([])])) and isinstance(Compose([]), Transform)


SIZES = ((30, 40, 50), (25, 44, 37))


@pytest.fixture
def images(tmp_path) -> list[dict[str, str]]:
    """Two images with landmarks, as training items."""
    items = []
    for number, shape in enumerate(SIZES):
        image, label = tmp_path / f"case.{number}.nii.gz", tmp_path / f"case.{number}.mrk.json"
        voxels = np.random.default_rng(number).normal(100, 20, size=shape).astype(np.float32)
        nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 1.0, 1.0, 1.0])), image)
        write_landmarks(label, LandmarkSet(("a", "b"), np.array([[20.0, 11.0, 12.0], [30, 20, 25]])))
        items.append({"image": str(image), "label": str(label)})
    return items


def pipeline(**patch) -> Compose:
    """Load, bring to 1 mm, and draw a patch."""
    steps = [
        LoadLandmarksd("label", ("a", "b")),
        LoadChannelsd("image"),
        Compose([Spacingd("image", (1.0, 1.0, 1.0))]),
        NormalizeIntensityd("image"),
    ]
    drawn = RandPatchLandmarksd("image", (16, 12, 20), rotation_deg=40, scale_range=(0.8, 1.3), **patch)
    return Compose([*steps, drawn, VoxelLandmarksd("landmarks")], lazy=True)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_patches_from_disk_are_those_from_memory(images, tmp_path, padding):
    memory, disk = (
        PreparedCases(images, pipeline(shift=9.0, padding_mode=padding), store)
        for store in (None, tmp_path / "store")
    )
    for dataset in (memory, disk):
        dataset.transform.set_random_state(seed=3)
    for number in (0, 1) * 8:
        one, other = memory[number], disk[number]
        np.testing.assert_array_equal(one["image"].affine, other["image"].affine)
        np.testing.assert_allclose(one["image"].numpy(), other["image"].numpy(), atol=3e-3)
        np.testing.assert_array_equal(one["landmarks_voxel"], other["landmarks_voxel"])
        np.testing.assert_array_equal(one["landmarks_status"], other["landmarks_status"])


def test_a_pipeline_that_draws_nothing_gets_whole_images_that_know_their_file(images, tmp_path):
    steps = Compose(pipeline().transforms[:4])
    stored, memory = PreparedCases(images, steps, tmp_path / "store"), PreparedCases(images, steps)
    np.testing.assert_allclose(stored[1]["image"].numpy(), memory[1]["image"].numpy(), atol=3e-3)
    np.testing.assert_array_equal(stored[1]["image"].affine, memory[1]["image"].affine)
    assert source_file(stored[1]["image"]) == images[1]["image"]


def prepared_files(folder) -> dict[str, int]:
    """What lies in a store, and when it was written."""
    return {path.name: path.stat().st_mtime_ns for path in sorted(folder.glob("*.b2nd"))}


def test_what_was_prepared_is_taken_and_another_image_landmark_or_step_is_prepared_anew(images, tmp_path):
    store = tmp_path / "store"
    steps = pipeline()
    PreparedCases(images, steps, store)
    first = prepared_files(store)
    # Steps note things when they are run, and those of a training and its validation are the same objects.
    PreparedCases(images, Compose(steps.transforms[:4], lazy=True), store)
    assert prepared_files(store) == first
    assert [name.rpartition(".b2nd")[0].rpartition(".")[0] for name in first] == ["case.0", "case.1"]
    PreparedCases(images, pipeline(shift=1.0).set_random_state(seed=1), store)  # drawn otherwise
    PreparedCases(images, Compose(pipeline().transforms[:4], lazy=True), store)  # not drawn at all
    assert prepared_files(store) == first
    moved = LandmarkSet(("a", "b"), np.array([[21.0, 11.0, 12.0], [30, 20, 25]]))
    write_landmarks(images[0]["label"], moved)
    cases = PreparedCases(images, pipeline(), store)
    assert len(prepared_files(store)) == 3 and prepared_files(store).items() > first.items()
    assert float(cases[0]["landmarks"][0, 0]) == 21.0
    other = pipeline()
    other.transforms[3].normalizer.nonzero = True
    PreparedCases(images, other, store)
    assert len(prepared_files(store)) == 5
    PreparedCases(images, other, store, made_by="another network")
    assert len(prepared_files(store)) == 7


def test_an_image_that_cannot_be_read_is_named_and_the_others_stay(images, tmp_path):
    Path(images[1]["image"]).write_bytes(b"broken")
    with pytest.raises((LandmarkError, RuntimeError)) as error:
        PreparedCases(images, pipeline(), tmp_path / "store")
    assert "case.1.nii.gz" in str(readable_error(error.value, "stopped"))


def test_too_full_a_disk_is_said_after_the_first_case(images, tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(LandmarkError, match=r"store: 1 prepared images need about .* --store"):
        PreparedCases(images, pipeline(), tmp_path / "store")
    assert len(prepared_files(tmp_path / "store")) == 1


def test_what_a_killed_process_left_is_removed(images, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    left = store / ".case.0.0123.b2nd.abc.tmp"
    left.write_bytes(b"half")
    PreparedCases(images, pipeline(), store)
    assert not left.exists() and len(prepared_files(store)) == 2


def fill(items, store) -> None:
    """In a process that will be killed, and then must not hold a lock of this one's progress bars."""
    tqdm.set_lock(threading.RLock())
    PreparedCases(items, pipeline(), store)


def test_killed_twenty_times_it_goes_on_and_no_case_is_ever_half(images, tmp_path):
    items = []
    for number in range(12):
        image = tmp_path / f"copy_{number}.nii.gz"
        shutil.copyfile(images[number % 2]["image"], image)
        items.append({"image": str(image), "label": images[number % 2]["label"]})
    store, random = tmp_path / "store", np.random.default_rng(0)
    fork = multiprocessing.get_context("fork")  # starts at once, so that what is killed is the filling
    seen: dict[str, int] = {}
    for _ in range(20):
        process = fork.Process(target=fill, args=(items, store))
        process.start()
        time.sleep(random.uniform(0.02, 0.12))
        process.kill()
        process.join()
        now = prepared_files(store)
        assert now.items() >= seen.items()  # what was there is not made again
        seen = now
        for name in now:
            kept = ChunkedImage(store / name)
            assert kept.box((0, 0, 0), kept.shape[1:]).shape == kept.shape
    cases = PreparedCases(items, pipeline(), store)
    assert len(cases) == len(prepared_files(store)) == 12
    assert prepared_files(store).items() >= seen.items() and not list(store.glob(".*.tmp"))
    assert all(cases[number]["image"].shape == (1, 16, 12, 20) for number in range(12))
