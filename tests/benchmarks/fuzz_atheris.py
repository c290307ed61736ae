# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of what reads strangers' files; any error but LandmarkError ends the run.

    pip install atheris
    python tests/benchmarks/fuzz_atheris.py markups -runs=1000000 -max_len=4096
    python tests/benchmarks/fuzz_atheris.py nrrd CORPUS_FOLDER -runs=1000000

Readers: markups, fcsv, table, nrrd, metaimage, nifti (their headers), submission. libFuzzer prints inputs per
second and coverage; what it finds lies in crash-*. Seeds are the files of tests/data, and small images.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["auto3dlandmark"]):
    from auto3dlandmark.data.headers import check_header
    from auto3dlandmark.errors import LandmarkError
    from auto3dlandmark.formats import read_landmarks
    from auto3dlandmark.review.submission import check_submission, parse_parameters

DATA = Path(__file__).parents[1] / "data"
NRRD = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nencoding: raw\nendian: little\n\n" + bytes(16)
META = b"NDims = 3\nDimSize = 2 2 2\nElementType = MET_SHORT\nElementDataFile = LOCAL\n" + bytes(16)
# Suffix of the file, what reads it, and a good one to begin with.
READERS = {
    "markups": (".mrk.json", read_landmarks, (DATA / "four_points.mrk.json").read_bytes()),
    "fcsv": (".fcsv", read_landmarks, (DATA / "four_points.fcsv").read_bytes()),
    "table": (".csv", read_landmarks, (DATA / "four_points.csv").read_bytes()),
    "nrrd": (".nrrd", check_header, NRRD),
    "metaimage": (".mha", check_header, META),
    "nifti": (".nii", check_header, bytes(352)),
}


def main() -> None:
    name = sys.argv.pop(1)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    (folder / "seeds").mkdir()
    suffix, read, seed = READERS.get(name, ("", None, (DATA / "four_points.mrk.json").read_bytes()))
    (folder / "seeds" / "good").write_bytes(seed)
    path = folder / f"case{suffix}"

    def one_input(content: bytes) -> None:
        try:
            if read is None:
                check_submission(content, ("nose", "left ear", "tooth.36", "Größe_R"))
                parse_parameters(content.decode("utf-8", "replace"))
            else:
                path.write_bytes(content)
                read(path)
        except LandmarkError:
            pass

    atheris.Setup([*sys.argv, str(folder / "seeds")], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
