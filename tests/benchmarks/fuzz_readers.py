# SPDX-License-Identifier: Apache-2.0
"""Throw broken landmark files at every reader, and count what comes of it; anything but LandmarkError ends
the run.

    python tests/benchmarks/fuzz_readers.py --seconds 60

Each input is a good file with a few pieces cut, doubled, overwritten or swapped for tokens that break
parsers.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from pathlib import Path

import fire

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
from test_properties import TOKENS, read_or_refuse, valid_files


def broken(content: bytes, chance: random.Random) -> bytes:
    """A file with one to five things wrong."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 5)):
        start = chance.randint(0, len(changed))
        end = min(len(changed), start + chance.choice([0, 1, 1, 2, 5, 20, 200]))
        piece = bytes(changed[start:end])
        kind = chance.randrange(5)
        new = [b"", piece * 2, chance.randbytes(chance.randint(1, 6)), chance.choice(TOKENS), piece[::-1]][
            kind
        ]
        changed[start:end] = new
    return bytes(changed)


def main(seconds: float = 60, seed: int = 0) -> None:
    """
    Args:
        seconds: for each format.
        seed: the same seed tries the same inputs, as far as the time allows.
    """
    for suffix, content in valid_files().items():
        chance, counts, end = random.Random(seed), Counter[str](), time.monotonic() + seconds
        while time.monotonic() < end:
            data = broken(content, chance)
            try:
                counts["read" if read_or_refuse(suffix, data) else "refused"] += 1
            except Exception as error:
                print(f"{suffix}: {type(error).__name__}: {error}\ninput: {data!r}")
                raise
        print(
            f"{suffix}: {counts.total()} inputs, {counts['read']} read, {counts['refused']} refused, 0 "
            "crashes"
        )


if __name__ == "__main__":
    fire.Fire(main)
