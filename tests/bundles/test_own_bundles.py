# SPDX-License-Identifier: Apache-2.0
"""The bundles that come with the project: small, good on real images, and found the same points ever
since."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import BUNDLES

from auto3dlandmark import read_landmarks
from auto3dlandmark.cli import main
from auto3dlandmark.files import read_json
from auto3dlandmark.geometry import radial_error
from auto3dlandmark.inference import LandmarkPredictor

MOST_BYTES = 20 * 10**6


@pytest.fixture
def hippocampus_bundle():
    """The published bundle, whose configs name classes where version 0.1 had them."""
    (bundle,) = (path for path in BUNDLES if path.name == "hippocampus_mri_landmarks")
    return bundle


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_a_bundle_is_small(bundle):
    assert sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) < MOST_BYTES


def test_the_hippocampus_bundle_finds_the_landmarks_of_a_real_image(
    hippocampus_bundle, shared_data, tmp_path
):
    data = shared_data / "hippocampus"
    main(["predict", str(hippocampus_bundle), str(data / "images" / "hippocampus_014.nii.gz"), str(tmp_path)])
    found = read_landmarks(tmp_path / "hippocampus_014.mrk.json")
    truth = read_landmarks(data / "landmarks" / "hippocampus_014.mrk.json").select(found.names)
    assert radial_error(found.points, truth.points).mean() < 2.5
    assert np.all((found.scores > 0) & (found.scores <= 1))


def test_the_hippocampus_bundle_finds_the_points_of_its_version(hippocampus_bundle, shared_data, data_dir):
    predictor = LandmarkPredictor([hippocampus_bundle], "cpu")
    for case, points in read_json(data_dir / "hippocampus_bundle_points.json").items():
        found = predictor.predict(shared_data / "hippocampus" / "images" / f"{case}.nii.gz")
        # A tenth of a voxel: processors without bfloat16 compute more exactly.
        np.testing.assert_allclose(found.points, [points[name] for name in found.names], atol=0.1)
