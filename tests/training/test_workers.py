# SPDX-License-Identifier: Apache-2.0
"""Beside a GPU, the cores make batches; beside a CPU that trains, one process does."""

from __future__ import annotations

import os

import pytest

from auto3dlandmark.training.workers import data_workers


@pytest.mark.parametrize(
    "device, cores, together, expected",
    [
        ("cpu", 16, 1, 1),
        ("cuda:0", 16, 1, 12),
        ("cuda:0", 8, 1, 7),
        ("cuda:1", 16, 2, 7),
        ("cuda:0", 1, 1, 1),
    ],
)
def test_workers_are_as_many_as_there_are_cores_for(monkeypatch, device, cores, together, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    monkeypatch.setenv("WORLD_SIZE", str(together))
    assert data_workers(device) == expected
