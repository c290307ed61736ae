# SPDX-License-Identifier: Apache-2.0
"""Systems are small files: all that are built in can be planned, and a wrong one is told."""

from __future__ import annotations

import pytest

from auto3dlandmark import LandmarkError
from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.files import write_json
from auto3dlandmark.planning.fingerprint import compute_fingerprint
from auto3dlandmark.planning.systems import SYSTEMS, plan_system, read_system


@pytest.fixture(scope="module")
def fingerprint(demo_dataset):
    return compute_fingerprint(scan_folder(demo_dataset), progress=False)


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_built_in_says_what_it_is_and_can_be_planned(name, fingerprint):
    system = read_system(name)
    assert system.name == name and system.about
    assert system.source or name in ("auto3dlandmark", "no_image")
    if not system.trained:
        return
    plan = plan_system(fingerprint, system, "small")
    if system.resize:
        assert plan.patch_size == (128, 128, 128) and plan.coarse is None
        extent = [size * voxel for size, voxel in zip(fingerprint.shapes[0], fingerprint.spacings[0])]
        assert all(128 * voxel >= 0.99 * length for voxel, length in zip(plan.spacing, extent))


def test_a_file_is_a_system_of_its_own(tmp_path):
    write_json(tmp_path / "mine.json", {"recipe": "quick", "values": {"loss#distance_weight": 0}})
    system = read_system(tmp_path / "mine.json")
    assert (system.name, system.recipe, dict(system.values)) == ("mine", "quick", {"loss#distance_weight": 0})


@pytest.mark.parametrize(
    "content, sentence",
    [
        ({"nework": "small"}, r"mine\.json: sets nework\. A system has about,"),
        ([], r"mine\.json: sets no object"),
        ({"network": "huge"}, "network 'huge' is unknown"),
        ({"recipe": "slow"}, "recipe='slow' is unknown"),
    ],
)
def test_a_wrong_file_is_told(content, sentence, tmp_path):
    write_json(tmp_path / "mine.json", content)
    with pytest.raises(LandmarkError, match=sentence):
        read_system(tmp_path / "mine.json")


def test_an_unknown_name_is_told():
    with pytest.raises(LandmarkError, match="system 'h3d' is unknown. Choose of auto3dlandmark, h3de,"):
        read_system("h3d")


def test_a_network_that_takes_no_such_cube_is_told(fingerprint):
    import dataclasses

    system = dataclasses.replace(read_system("h3de"), resize=40)
    with pytest.raises(LandmarkError, match="h3de: the network takes no cube of 40 voxels, but"):
        plan_system(fingerprint, system, "small")
