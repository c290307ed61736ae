# SPDX-License-Identifier: Apache-2.0
"""Names that bundles, work folders and other people's configs hold: each of them leads somewhere for good."""

from __future__ import annotations

import json
import pkgutil
import re
from pathlib import Path

import pytest

import auto3dlandmark

PUBLISHED = json.loads(Path(__file__).with_name("published_paths.json").read_text(encoding="utf-8"))
PROJECT = Path(__file__).parents[1]
OURS = re.compile(r"(?<![\w/.])auto3dlandmark(?:\.\w+)+")


def configs() -> list[Path]:
    """Every file of the project that names our classes by their dotted path."""
    package = Path(auto3dlandmark.__file__).parent
    return [*package.rglob("*.json"), *(PROJECT / "bundles").rglob("*.json"), PROJECT / "README.md"]


@pytest.mark.parametrize("path", PUBLISHED)
def test_a_published_path_leads_to_an_object(path):
    assert pkgutil.resolve_name(path) is not None


def test_what_configs_name_today_can_be_found():
    named = {name for path in configs() for name in OURS.findall(path.read_text(encoding="utf-8"))}
    assert len(named) > 20
    for name in named:
        assert pkgutil.resolve_name(name) is not None
