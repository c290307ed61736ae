# SPDX-License-Identifier: Apache-2.0
"""The images to annotate first are those that the others are most like."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from test_pose_search import phantom

from auto3dlandmark.registration.choosing import medoids, representative


def test_each_group_has_its_own_medoid():
    random = np.random.default_rng(0)
    places = np.concatenate([random.normal(middle, 0.5, (6, 2)) for middle in (0, 10, 30)])
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    chosen = medoids(distances, 3)
    assert sorted(number // 6 for number in chosen) == [0, 1, 2]
    best = min(distances[group * 6 : group * 6 + 6, group * 6 + k].sum() for group in [0] for k in range(6))
    own = next(number for number in chosen if number < 6)
    assert distances[:6, own].sum() == pytest.approx(best)
    assert medoids(distances, 99) == list(range(18))


def test_a_kind_of_image_that_is_common_is_chosen_before_a_rare_one(tmp_path):
    paths = []
    for number in range(5):
        volume, _ = phantom()
        values = volume.values + np.random.default_rng(number).normal(0, 0.05, volume.values.shape)
        if number == 4:
            values = np.random.default_rng(9).random(volume.values.shape)  # nothing like the others
        paths.append(tmp_path / f"{number}.nii.gz")
        nib.save(nib.Nifti1Image(values.astype(np.float32), volume.affine), paths[-1])
    (first, stands_for), *_ = representative(paths, 1, progress=False)
    assert first != 4 and stands_for == 5
    assert {number for number, _ in representative(paths, 2, progress=False)} >= {4}
