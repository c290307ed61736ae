# SPDX-License-Identifier: Apache-2.0
"""A wheel carries the template and the recipes."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def test_the_wheel_holds_every_file_of_the_template_and_the_recipes(tmp_path):
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(PROJECT)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    root = PROJECT / "auto3dseg_plugin"
    for part in ("templates", "recipes"):
        files = [path for path in (root / "auto3dlandmark" / part).rglob("*") if path.is_file()]
        wanted = {path.relative_to(root).as_posix() for path in files if "__pycache__" not in path.parts}
        assert wanted and wanted <= shipped, wanted - shipped
    assert "auto3dlandmark/cli.py" in shipped
    assert not [name for name in shipped if name.startswith("tests/")]
