# SPDX-License-Identifier: Apache-2.0
"""The house keeps its order: imports lead down, nothing goes in circles, and the lower floors need no torch."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import auto3dlandmark

PACKAGE = Path(auto3dlandmark.__file__).parent
ROOT = PACKAGE.name
# Bottom to top. A name stands for a module or a folder of modules; the empty one for the package itself.
LAYERS = (
    ("", "geometry", "landmarks", "files", "formats", "biometry"),
    (
        "images",
        "layout",
        "review",
        "cases",
        "datalist",
        "datasets",
        "shape",
        "findings",
        "content",
        "checks",
        "fingerprint",
    ),
    (
        "transforms",
        "losses",
        "networks",
        "metrics",
        "inferers",
        "averaging",
        "distributed",
        "weights",
        "schedule",
        "handlers",
        "inference",
    ),
    ("topology", "planner"),
    (
        "steps",
        "workfolder",
        "recipes",
        "bundle",
        "nnlandmark_models",
        "training",
        "algo",
        "ensemble",
        "served",
    ),
    (
        "evaluation",
        "preview",
        "check_report",
        "report",
        "pipeline",
        "publish",
        "retraining",
        "scoring",
        "serving",
        "ablation",
        "arguments",
        "data_commands",
        "cli",
        "__main__",
    ),
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
HEAVY = {"torch", "monai", "ignite"}


def module_name(path: Path) -> str:
    """Dotted name inside the package: ``formats/table.py`` is ``formats.table``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if "templates" not in path.parts}


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


def layer(name: str) -> int:
    return LAYER[name.split(".")[0]]


def test_the_imports_are_read_as_they_are_written():
    assert {"files", "geometry", "landmarks"} <= GRAPH["formats.markups"]
    assert {"formats.markups", "formats.table"} <= GRAPH["formats"]
    assert GRAPH["__main__"] == {"cli"}
    assert "pipeline" in GRAPH["cli"]  # inside a function
    assert "torch" in {name.split(".")[0] for name in imports_of("losses")}


def test_every_module_has_a_layer():
    assert [name for name in FILES if name.split(".")[0] not in LAYER] == []


def test_no_import_leads_upwards():
    upwards = [
        f"{name} -> {imported}" for name in GRAPH for imported in GRAPH[name] if layer(imported) > layer(name)
    ]
    assert upwards == []


def test_no_import_goes_in_circles():
    order = list(graphlib.TopologicalSorter(GRAPH).static_order())  # raises CycleError, naming the circle
    assert set(order) == set(FILES)


@pytest.mark.parametrize("name", [name for name in FILES if layer(name) <= 1])
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
    modules = [
        f"{ROOT}.{name}" for name in ("checks", "fingerprint", "datalist", "datasets.demo", "planner", "cli")
    ]
    assert loaded_by(*modules).isdisjoint(HEAVY | {"itk"})


def test_nothing_in_the_package_imports_monai_label():
    guilty = [
        name for name in FILES if any(imported.startswith("monailabel") for imported in imports_of(name))
    ]
    assert guilty == []


def test_no_module_is_named_after_nothing():
    nameless = {"utils", "util", "helpers", "helper", "misc", "common"}
    assert [name for name in FILES if nameless.intersection(name.split("."))] == []


@pytest.mark.parametrize("name", FILES)
def test_every_module_names_its_licence_and_its_idea(name):
    text = FILES[name].read_text(encoding="utf-8")
    assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    assert ast.get_docstring(ast.parse(text))
