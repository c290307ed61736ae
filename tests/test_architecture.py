# SPDX-License-Identifier: Apache-2.0
"""The house keeps its order: rooms in layers, imports lead down, nothing goes in circles, lower floors need
no torch."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import auto3dlandmark

PACKAGE = Path(auto3dlandmark.__file__).parent
ROOT = PACKAGE.name
# Bottom to top. A name stands for a room; ROOT for the few files beside the rooms, which all of them use.
LAYERS = (
    (ROOT,),
    ("conventions", "formats", "shapes"),
    ("bids", "data", "data.published", "checks", "frames", "registration", "store"),
    ("networks", "transforms", "inferers", "losses", "metrics", "planning"),
    ("bundles", "training", "inference"),
    ("evaluation", "few_shot", "reports", "workflow"),
    ("auto3dseg", "cluster", "review"),
    ("cli",),
)
ALONE = {
    "losses",
    "metrics",
}  # files beside the rooms that are rooms of their own: configs name them so for good
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
ENTRANCES = {"", "__main__"}  # they open the house, and may import from any room
MOVED = "moved"  # old names, which nothing of ours uses
HEAVY = {"torch", "monai", "ignite"}
MOST_FILES = 12
# What other modules call something else, or what means nothing by itself.
NAMELESS = {"utils", "util", "helpers", "helper", "misc", "common", "base", "core", "tools", "lib"}
AMBIGUOUS = {"notes", "layout", "content", "shape", "steps", "scoring", "served", "serving", "opinions", "io"}


def module_name(path: Path) -> str:
    """Dotted name inside the package: ``formats/table.py`` is ``formats.table``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if "templates" not in path.parts}


def room(name: str) -> str:
    """The folder a module lies in."""
    path = FILES[name]
    if name in ALONE:
        return name
    parts = path.parent.relative_to(PACKAGE).parts
    return ".".join(parts) or ROOT


LIVED_IN = [name for name in FILES if room(name) != MOVED]


def imports_of(name: str) -> set[str]:
    """All a module imports, at its top or inside a function, as full dotted names."""
    package = [ROOT, *name.split(".")] if name else [ROOT]
    if FILES[name].name != "__init__.py":
        package = package[:-1]
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            found |= {f"{source}.{alias.name}" for alias in node.names}
    return found


def ours(imported: set[str]) -> set[str]:
    """Those of our own modules that are among the imported names."""
    found = set()
    for name in imported:
        first, *rest = name.split(".")
        if first == ROOT:
            while ".".join(rest) not in FILES:
                rest = rest[:-1]
            found.add(".".join(rest))
    return found


GRAPH = {name: ours(imports_of(name)) - {name} for name in FILES}
ROOMS: dict[str, set[str]] = {}
for module in LIVED_IN:
    if module not in ENTRANCES:
        beside = {room(imported) for imported in GRAPH[module] - ENTRANCES}
        ROOMS.setdefault(room(module), set()).update(beside - {room(module)})


def test_the_imports_are_read_as_they_are_written():
    assert {"files", "geometry", "landmarks"} <= GRAPH["formats.markups"]
    assert {"formats.markups", "formats.table"} <= GRAPH["formats"]
    assert GRAPH["__main__"] == {"cli"}
    assert "workflow.work_folder" in GRAPH["cli.main_job"]  # inside a function
    assert "torch" in {name.split(".")[0] for name in imports_of("losses")}


def test_every_room_has_a_layer_and_every_layer_its_rooms():
    assert set(ROOMS) == set(LAYER)


def test_no_import_leads_upwards():
    upwards = [f"{name} -> {below}" for name in ROOMS for below in ROOMS[name] if LAYER[below] > LAYER[name]]
    assert upwards == []


def test_neither_files_nor_rooms_go_in_circles():
    order = list(graphlib.TopologicalSorter(GRAPH).static_order())  # raises CycleError, naming the circle
    assert set(order) == set(FILES)
    assert set(graphlib.TopologicalSorter(ROOMS).static_order()) == set(LAYER)


def test_no_room_is_crowded():
    sizes = Counter(room(name) for name in LIVED_IN)
    assert {name: size for name, size in sizes.items() if size > MOST_FILES} == {}


def test_each_file_has_a_name_of_its_own():
    names = Counter(FILES[name].stem for name in LIVED_IN if FILES[name].name != "__init__.py")
    # A dataset's folder and a bundle's are named in their rooms: data.folder, bundles.folder.
    assert {name: count for name, count in names.items() if count > 1} == {"folder": 2}


def test_no_name_means_nothing_or_several_things():
    assert [name for name in LIVED_IN if (NAMELESS | AMBIGUOUS).intersection(name.split("."))] == []


def test_old_names_are_for_others_alone_and_say_until_when():
    assert [name for name in LIVED_IN if any(room(one) == MOVED for one in GRAPH[name])] == []
    for name in FILES:
        if room(name) == MOVED and name != MOVED:
            assert "until version 1.0" in FILES[name].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in LIVED_IN if LAYER[room(name)] in (1, 2)])
def test_points_and_datasets_import_no_torch_and_no_monai(name):
    assert HEAVY.isdisjoint(imported.split(".")[0] for imported in imports_of(name))


def loaded_by(*modules: str) -> set[str]:
    """The top-level packages in memory after importing these modules in a fresh Python."""
    code = f"import sys, {', '.join(modules)}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_importing_the_package_is_light():
    loaded = loaded_by(ROOT)
    assert {ROOT, "numpy"} <= loaded
    assert loaded.isdisjoint({"torch", "monai", "nibabel", "scipy", "itk", "ignite", "tqdm", "fire"})


def test_looking_at_a_dataset_and_planning_load_no_torch():
    modules = ("checks.dataset", "data.datalist", "data.demo", "planning.fingerprint", "planning.planner")
    named = [f"{ROOT}.{name}" for name in (*modules, "bundles.folder", "cli")]
    assert loaded_by(*named).isdisjoint(HEAVY | {"itk"})


def test_nothing_in_the_package_imports_monai_label():
    guilty = [
        name for name in FILES if any(imported.startswith("monailabel") for imported in imports_of(name))
    ]
    assert guilty == []


@pytest.mark.parametrize("name", FILES)
def test_every_module_names_its_licence_and_its_idea(name):
    text = FILES[name].read_text(encoding="utf-8")
    assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    assert ast.get_docstring(ast.parse(text))


def test_tests_mirror_the_rooms():
    folders = {path.parent.name for path in Path(__file__).parent.glob("*/test_*.py")}
    assert folders - {"label"} <= {name.rpartition(".")[2] for name in ROOMS}
