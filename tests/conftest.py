# SPDX-License-Identifier: Apache-2.0
"""What many tests share: four hand-written points, an affine to check by hand, a little dataset, the shared
data, a chain of levels."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from auto3dlandmark.formats import read_landmarks, write_landmarks
from auto3dlandmark.frames.shape_frame import ShapeFrame, frame_around
from auto3dlandmark.geometry import voxel_to_world
from auto3dlandmark.landmarks import ABSENT, PRESENT, UNKNOWN, LandmarkSet
from auto3dlandmark.shapes.model import fit_shape

SHARED = Path(__file__).parents[2] / "shared"
BUNDLES = [
    path.parents[1] for path in sorted(Path(__file__).parents[1].glob("bundles/*/configs/metadata.json"))
]
SMALL_NAMES = ("nose", "left_ear", "right_ear", "chin")
SMALL_VOXEL_POINTS = ((6, 6, 6), (16, 8, 8), (10, 4, 16), (18, 9, 18))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests come first, so that no core waits at the end for a long file."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def said_by(*words: object) -> str:
    """Run a command in this process; what it prints."""
    from auto3dlandmark.cli import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        main([str(word) for word in words])
    return said.getvalue()


@pytest.fixture
def data_dir() -> Path:
    """Small files written by hand."""
    return Path(__file__).parent / "data"


@pytest.fixture
def four_points() -> LandmarkSet:
    """The points of ``data/four_points.*``: two present, one absent, one unknown."""
    nan = [np.nan] * 3
    return LandmarkSet(
        names=("nose", "left ear", "tooth.36", "Größe_R"),
        points=np.array([[1.0, 2.0, 3.0], [-40.5, 0.0, 12.25], nan, nan]),
        status=np.array([PRESENT, PRESENT, ABSENT, UNKNOWN]),
    )


@pytest.fixture
def oblique_affine() -> np.ndarray:
    """Voxels of 2 x 3 x 5 mm, turned about z by the angle of the 3-4-5 triangle, and moved."""
    return np.array([[1.2, -2.4, 0, 10], [1.6, 1.8, 0, -20], [0, 0, 5, 30], [0, 0, 0, 1]])


@pytest.fixture
def assert_same() -> Callable[[LandmarkSet, LandmarkSet], None]:
    """Fails unless two sets agree in names, points, status and scores."""

    def check(found: LandmarkSet, expected: LandmarkSet) -> None:
        assert found.names == expected.names
        np.testing.assert_allclose(found.points, expected.points, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(found.status, expected.status)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-6)

    return check


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data beside the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the shared data is missing: {SHARED / 'data'}")
    return SHARED / "data"


@pytest.fixture
def golden_plans(data_dir: Path) -> list[dict]:
    """Plans made by nnU-Net, each with what it was made from; axes (z, y, x)."""
    content = json.loads((data_dir / "golden_plans.json").read_text(encoding="utf-8"))
    return [
        {**plan, "input": {**content["datasets"][plan["name"]], **plan["input"]}} for plan in content["plans"]
    ]


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., Path]:
    """
    Write images/ and landmarks/ for cases of these names, and give the folder.

    Each volume is half bright tissue (j < 14, where the four landmarks are), half dark tissue, and empty
    where i >= 24. World coordinates are about (100, 200, 50), so negated x and y are far away.
    """

    def write(cases: tuple[str, ...] = ("a", "b", "c"), folder: str = "dataset") -> Path:
        affine = np.array([[1, 0, 0, 100], [0, 1.5, 0, 200], [0, 0, 2, 50], [0, 0, 0, 1.0]])
        for part in ("images", "landmarks"):
            (tmp_path / folder / part).mkdir(parents=True)
        for seed, case in enumerate(cases):
            random = np.random.default_rng(seed)
            volume = np.zeros((32, 28, 24), dtype=np.int16)
            volume[:24, :14] = random.integers(120, 160, size=(24, 14, 24))
            volume[:24, 14:] = random.integers(40, 80, size=(24, 14, 24))
            nib.save(nib.Nifti1Image(volume, affine), tmp_path / folder / "images" / f"{case}.nii.gz")
            points = voxel_to_world(
                np.array(SMALL_VOXEL_POINTS) + random.uniform(-0.5, 0.5, size=(4, 3)), affine
            )
            write_landmarks(
                tmp_path / folder / "landmarks" / f"{case}.mrk.json", LandmarkSet(SMALL_NAMES, points)
            )
        return tmp_path / folder

    return write


@pytest.fixture
def studies(write_dataset: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder to review: three images without labels; one has dots in its name."""
    folder = write_dataset(("a", "C3HeB.FeJ_", "c"))
    shutil.copytree(folder / "images", tmp_path / "studies")
    return tmp_path / "studies"


@pytest.fixture
def store(studies: Path):
    """The store of that folder, for the landmarks of ``write_dataset``."""
    from auto3dlandmark.review.store import ReviewStore

    return ReviewStore(studies, SMALL_NAMES)


@pytest.fixture
def label(write_dataset: Callable[..., Path], tmp_path: Path) -> Callable[..., bytes]:
    """The bytes of a label for that store, moved by so many millimetres."""
    source = tmp_path / "dataset" / "landmarks" / "a.mrk.json"

    def make(shift: float = 0.0, **changes: Any) -> bytes:
        found = read_landmarks(source)
        moved = LandmarkSet(found.names, found.points + shift)
        path = tmp_path / "made.mrk.json"
        write_landmarks(path, moved)
        content = json.loads(path.read_text())
        content["markups"][0].update(changes)
        return json.dumps(content).encode()

    return make


@pytest.fixture(scope="session")
def demo_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six cases of the generated dataset; the second one lacks a landmark."""
    from auto3dlandmark.data.demo import make_demo_dataset

    return make_demo_dataset(tmp_path_factory.mktemp("demo") / "dataset", cases=6)


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The recipe ``quick`` cut down to eight steps."""
    from auto3dlandmark.files import write_json

    path = tmp_path_factory.mktemp("recipe") / "tiny.json"
    write_json(path, {"epochs": 2, "epoch_length": 4, "val_interval": 1, "num_workers": 0})
    return f"quick+{path}"


@pytest.fixture(scope="session")
def tiny_plan(demo_dataset: Path):
    """A plan for the demo dataset with a network that learns nothing, fast."""
    import dataclasses

    from auto3dlandmark.data.datalist import scan_folder
    from auto3dlandmark.planning.fingerprint import compute_fingerprint
    from auto3dlandmark.planning.planner import make_plan
    from auto3dlandmark.planning.presets import Preset, network_def

    plan = make_plan(
        compute_fingerprint(scan_folder(demo_dataset), progress=False), "small", spacing=(3, 3, 3)
    )
    preset = Preset(False, 4, 8, 1e6, 8, 0.05)
    strides = [(1, 1, 1), (2, 2, 2), (2, 2, 2)]
    network = network_def(preset, strides, [(3, 3, 3)] * 3, len(plan.landmark_names))
    return dataclasses.replace(
        plan, patch_size=(24, 24, 24), roi_size=(32, 32, 32), divisor=(4, 4, 4), network_def=network
    )


@pytest.fixture(scope="session")
def build_bundle() -> Callable[..., Path]:
    """A bundle as the step ``build`` makes it, of a plan that somebody wrote and a dataset's folder or
    datalist."""
    from auto3dlandmark.data.datalist import read_datalist, scan_folder, write_datalist
    from auto3dlandmark.planning.plan import write_plan
    from auto3dlandmark.workflow.work_folder import WorkFolder

    def build(work: Path, plan, dataset: Path, fold: int, recipe: str | None, **overrides) -> Path:
        folder = WorkFolder(work, say=lambda line: None)
        write_plan(folder.plan, plan)
        write_datalist(folder.datalist, read_datalist(dataset) if dataset.is_file() else scan_folder(dataset))
        folder.build(fold, recipe, **overrides)
        return folder.bundle(fold).path

    return build


@pytest.fixture(scope="session")
def tiny_bundle(
    build_bundle, tiny_plan, tiny_recipe: str, demo_dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A built bundle that nobody has trained."""
    return build_bundle(tmp_path_factory.mktemp("work"), tiny_plan, demo_dataset, 0, tiny_recipe)


@pytest.fixture(scope="session")
def trained_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny bundle after its eight steps."""
    from auto3dlandmark.training.run import train_here

    folder = tmp_path_factory.mktemp("trained") / "heatmap_0"
    shutil.copytree(tiny_bundle, folder)
    train_here(folder)
    return folder


@pytest.fixture(scope="module")
def ray_nodes():
    """A Ray cluster of two nodes with a core each, to which others may be added, and killed: they are missed
    within two seconds."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: the extra 'cluster' has it")
    from ray.cluster_utils import Cluster

    health = {"initial_delay_ms": 0, "period_ms": 500, "timeout_ms": 1000, "failure_threshold": 3}
    settings = {f"health_check_{name}": value for name, value in health.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": settings}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def chain_frame() -> tuple[ShapeFrame, np.ndarray]:
    """A frame of five levels of three landmarks, 30 mm apart, and where they are."""
    names = [f"L{level}_{part}" for level in range(1, 6) for part in ("centre", "front", "top")]
    level = np.array([[0, 0, 0], [0, 10, 0], [0, 0, 8.0]])
    chain = np.concatenate([level - (0, 0, 30 * number) for number in range(5)])
    random = np.random.default_rng(0)
    model = fit_shape(np.stack([chain + random.normal(size=chain.shape) for _ in range(8)]), names)
    return frame_around(model, (2, 2, 2), (20, 20, 80), noise_mm=1.0), chain
