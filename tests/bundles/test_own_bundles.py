# SPDX-License-Identifier: Apache-2.0
"""The bundles that come with the project are small, and good on real images; test_publish.py checks what
they hold."""

from __future__ import annotations

import numpy as np
import pytest
from test_publish import BUNDLES

from auto3dlandmark import read_landmarks
from auto3dlandmark.cli import main
from auto3dlandmark.geometry import radial_error

MOST_BYTES = 20 * 10**6


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_a_bundle_is_small(bundle):
    assert sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) < MOST_BYTES


def test_the_hippocampus_bundle_finds_the_landmarks_of_a_real_image(shared_data, tmp_path):
    data = shared_data / "hippocampus"
    (bundle,) = (path for path in BUNDLES if path.name == "hippocampus_mri_landmarks")
    main(["predict", str(bundle), str(data / "images" / "hippocampus_014.nii.gz"), str(tmp_path)])
    found = read_landmarks(tmp_path / "hippocampus_014.mrk.json")
    truth = read_landmarks(data / "landmarks" / "hippocampus_014.mrk.json").select(found.names)
    assert radial_error(found.points, truth.points).mean() < 2.5
    assert np.all((found.scores > 0) & (found.scores <= 1))
