# SPDX-License-Identifier: Apache-2.0
"""Several views of an image, averaged on its own grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from auto3dlandmark.geometry import voxel_to_world, world_to_voxel
from auto3dlandmark.inference.views import mean_over_views, tilted


@pytest.fixture
def image():
    volume = torch.zeros(1, 20, 20, 20)
    volume[0, 5:8, 9:12, 9:12] = 1.0
    volume[0, 13:15, 9:12, 9:12] = 0.5
    return MetaTensor(volume, affine=torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64)))


def brightest(seen):
    """A "network" that finds the bright block in its first channel and the dim one in its second."""
    volume = seen.as_tensor() if isinstance(seen, MetaTensor) else seen
    return torch.cat([(volume - 0.6).clamp(0), ((volume - 0.2).clamp(0, 0.3) * (volume < 0.6))])


def middle(heatmap):
    places = torch.stack(torch.meshgrid(*[torch.arange(size * 1.0) for size in heatmap.shape], indexing="ij"))
    return ((places * heatmap).sum(dim=(1, 2, 3)) / heatmap.sum()).numpy()


def test_what_is_found_in_turned_images_lies_where_it_is(image):
    heatmaps = mean_over_views(brightest, image, "sigmoid", 2)
    assert np.abs(middle(heatmaps[0]) - (6, 10, 10)).max() < 0.3
    assert heatmaps.shape == (2, 20, 20, 20)


def test_in_a_mirror_left_is_called_right(image):
    """In the mirror this network calls left what lies left: the pair must be exchanged back."""

    def left_and_right(seen):
        volume = seen.as_tensor()[0]
        left, right = volume.clone(), volume.clone()
        left[10:], right[:10] = 0, 0
        return torch.stack([left, right])

    heatmaps = mean_over_views(left_and_right, image, "sigmoid", 2, [[0, 1]])
    assert abs(middle(heatmaps[0])[0] - 6) < 0.5 and abs(middle(heatmaps[1])[0] - 13.5) < 0.5
    alone = mean_over_views(
        left_and_right, image, "sigmoid", 2, [[0], [1]]
    )  # no partner: the mirror says nothing
    assert abs(middle(alone[0])[0] - 6) < 0.5 and float(alone[0].sum()) > 0


def test_in_every_tilted_view_things_lie_where_they_are(image):
    views = list(tilted(image))
    assert len(views) == 7 and views[0] is image
    for view in views:
        place = np.append(middle(brightest(view)[0]), 1.0)
        assert np.abs((view.affine.numpy() @ place)[:3] - (12, 20, 20)).max() < 0.6
    assert len({tuple(np.round(view.affine.numpy().ravel(), 3)) for view in views}) == 7


def test_a_tilted_view_of_a_thin_image_holds_all_of_it():
    image = MetaTensor(torch.zeros(1, 4, 30, 60), affine=torch.diag(torch.tensor([3.0, 1, 1, 1]).double()))
    corners = np.array(list(np.ndindex(2, 2, 2))) * (3, 29, 59)
    for view in tilted(image):
        places = world_to_voxel(voxel_to_world(corners, image.affine.numpy()), view.affine.numpy())
        assert (places > -0.5).all() and (places < np.array(view.shape[1:]) - 0.5).all()
