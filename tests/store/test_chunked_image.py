# SPDX-License-Identifier: Apache-2.0
"""An image in chunks gives back every box of itself, and a damaged or unwritable file is a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.store.chunked_image import ChunkedImage, write_chunked

AFFINE = np.array([[1.0, 0, 0, -7], [0, 2, 0, 8], [0, 0, 3, 9], [0, 0, 0, 1]])


@pytest.fixture
def image() -> np.ndarray:
    """Two channels, larger than a chunk along one axis and smaller along another."""
    return np.random.default_rng(0).normal(size=(2, 70, 33, 9)).astype(np.float32)


def test_any_box_is_that_part_of_the_image(tmp_path, image):
    write_chunked(tmp_path / "a.b2nd", image, AFFINE, b"more")
    kept = ChunkedImage(tmp_path / "a.b2nd")
    assert kept.shape == image.shape and kept.more == b"more"
    np.testing.assert_array_equal(kept.affine, AFFINE)
    for low, high in (((0, 0, 0), (70, 33, 9)), ((62, 31, 3), (66, 33, 4)), ((5, 6, 7), (6, 7, 8))):
        part = kept.box(low, high)
        assert part.dtype == np.float32
        expected = image[(slice(None), *map(slice, low, high))]
        np.testing.assert_allclose(part, expected, rtol=2**-11, atol=1e-6)


def test_values_beyond_half_precision_are_kept_in_single(tmp_path, image):
    write_chunked(tmp_path / "a.b2nd", image * 1e6, AFFINE)
    np.testing.assert_array_equal(ChunkedImage(tmp_path / "a.b2nd").box((0, 0, 0), (70, 33, 9)), image * 1e6)


def test_a_file_that_lost_its_end_is_a_sentence(tmp_path, image):
    write_chunked(tmp_path / "a.b2nd", image, AFFINE)
    data = (tmp_path / "a.b2nd").read_bytes()
    for size in (0, 10, len(data) // 2):
        (tmp_path / "a.b2nd").write_bytes(data[:size])
        with pytest.raises(LandmarkError, match="a.b2nd: a prepared image cannot be read.*Remove this file"):
            ChunkedImage(tmp_path / "a.b2nd").box((0, 0, 0), (70, 33, 9))


def test_a_place_that_cannot_be_written_to_is_a_sentence_and_stays_as_it_was(tmp_path, image):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(LandmarkError, match="cannot be written"):
        write_chunked(tmp_path / "file" / "a.b2nd", image, AFFINE)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
