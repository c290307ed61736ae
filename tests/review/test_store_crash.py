# SPDX-License-Identifier: Apache-2.0
"""A process that is killed in the middle of its writes leaves whole labels, and none that it acknowledged is
lost."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time

import pytest

from auto3dlandmark.landmarks import UNKNOWN
from auto3dlandmark.review.store import ReviewStore, checksum_of

NAMES = ("nose", "left_ear", "right_ear", "chin")

WRITER = """
import json, sys
from auto3dlandmark.review.store import ReviewStore
studies, template, start = sys.argv[1:]
store = ReviewStore(studies, ("nose", "left_ear", "right_ear", "chin"))
document = json.loads(open(template).read())
for number in range(int(start), int(start) + 10_000):
    document["number"] = number
    saved = store.save("a", json.dumps(document).encode(), reviewer=str(number))
    print(saved.checksum, flush=True)
"""


@pytest.mark.slow
def test_killed_writers_lose_no_acknowledged_label(write_dataset, tmp_path):
    """Twenty times."""
    folder, studies = write_dataset(("a",)), tmp_path / "studies"
    shutil.copytree(folder / "images", studies)
    shutil.copy(folder / "landmarks" / "a.mrk.json", tmp_path / "template.json")
    acknowledged = []
    for turn in range(20):
        command = [
            sys.executable,
            "-c",
            WRITER,
            str(studies),
            str(tmp_path / "template.json"),
            str(turn * 10_000),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        acknowledged.append(process.stdout.readline().strip())
        time.sleep(0.01 + 0.007 * turn)
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().split()
        process.wait()
        store = ReviewStore(studies, NAMES)
        kept = {checksum_of(path.read_bytes()) for path in (*store.history("a"), store.label("a"))}
        assert {line for line in acknowledged if len(line) == 64} <= kept
        assert not list((studies / "labels" / "final").glob("*.tmp"))
        assert (store.landmarks("a").status != UNKNOWN).all()
    assert len(acknowledged) > 40
