# SPDX-License-Identifier: Apache-2.0
"""A wheel carries every module, the template, the recipes, and the MONAI Label app with its Slicer module."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]
WEB = PROJECT / "apps" / "monailabel_landmarks" / "web"


def test_the_wheel_holds_everything(tmp_path):
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(PROJECT)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    root = PROJECT / "auto3dseg_plugin"
    for part in ("bundles/templates", "planning/recipes", "data/published"):
        files = [path for path in (root / "auto3dlandmark" / part).rglob("*") if path.is_file()]
        wanted = {path.relative_to(root).as_posix() for path in files if "__pycache__" not in path.parts}
        assert wanted and wanted <= shipped, wanted - shipped
    modules = {
        path.relative_to(root).as_posix() for path in root.rglob("*.py") if "templates" not in path.parts
    }
    app = PROJECT / "apps"
    kept = {"__pycache__", "bin", "logs", "model"}
    files = [path for path in (app / "monailabel_landmarks").rglob("*") if path.is_file()]
    files = [path for path in files if WEB not in path.parents or path.parent == WEB / "page"]
    wanted = modules | {path.relative_to(app).as_posix() for path in files if not kept & set(path.parts)}
    assert len(wanted) > 80 and wanted <= shipped, wanted - shipped
    assert not [name for name in shipped if name.startswith("tests/")]


def test_the_review_page_was_built_from_the_sources_beside_it():
    """As vite.config.ts says what it was built from."""
    single = [WEB / name for name in ("index.html", "package-lock.json", "vite.config.ts")]
    files = [*single, *(path for name in ("licenses", "src") for path in (WEB / name).iterdir())]
    built_from = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.relative_to(WEB).as_posix()):
        built_from.update(f"{path.relative_to(WEB).as_posix()}\n".encode() + path.read_bytes())
    kept = (WEB / "page" / "built_from.txt").read_text().strip()
    assert kept == built_from.hexdigest(), "web/page is stale: run 'make web', and commit what it builds"
