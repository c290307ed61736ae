# SPDX-License-Identifier: Apache-2.0
"""Weights are written whole or not at all, and reading them runs no code."""

from __future__ import annotations

import os
import pickle

import pytest
import torch

from auto3dlandmark import LandmarkError
from auto3dlandmark.networks.weights import load_weights, save_atomically


def test_what_was_saved_is_loaded(tmp_path):
    save_atomically({"a": torch.arange(3)}, tmp_path / "models" / "model.pt")
    assert load_weights(tmp_path / "models" / "model.pt")["a"].tolist() == [0, 1, 2]
    assert os.listdir(tmp_path / "models") == ["model.pt"]


def test_a_failed_save_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    save_atomically({"a": 1}, path)

    def full_disk(state, target):
        target.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file: No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(LandmarkError, match=r"model\.pt.*cannot be written.*free space"):
        save_atomically({"a": 2}, path)
    assert load_weights(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["model.pt"]


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04broken"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(LandmarkError, match=r"model\.pt: is damaged"):
        load_weights(tmp_path / "model.pt")


def test_a_truncated_file_is_named(tmp_path):
    save_atomically({"a": torch.zeros(1000)}, tmp_path / "model.pt")
    whole = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LandmarkError, match="is damaged"):
        load_weights(tmp_path / "model.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LandmarkError, match="no such file.*Train the bundle"):
        load_weights(tmp_path / "model.pt")


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "hacked"),)

    (tmp_path / "model.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(LandmarkError, match="is damaged or holds no weights"):
        load_weights(tmp_path / "model.pt")
    assert not (tmp_path / "hacked").exists()
