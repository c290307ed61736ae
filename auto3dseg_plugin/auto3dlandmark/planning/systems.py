# SPDX-License-Identifier: Apache-2.0
"""Systems to compare: what is trained, and how, each as a small JSON file.

A system names a network (a preset, or any class by its ``_target_``), a recipe, and what it changes of the
recipe. Those of the papers are in ``systems/``; anybody's own is a file beside the data.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LandmarkError
from ..files import read_json
from .fingerprint import Fingerprint
from .plan import Plan
from .presets import PRESETS
from .recipes import read_recipe
from .stages import plan_stages

__all__ = ["SYSTEMS", "System", "plan_system", "read_system", "resized"]

FOLDER = Path(__file__).parent / "systems"
SYSTEMS = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


@dataclass(frozen=True)
class System:
    """
    One row of a benchmark.

    Args:
        name: of the row.
        about: a line for people.
        source: where it was published.
        departures: what is other than published.
        network: a preset; None: what suits this machine.
        network_def: MONAI config of another network, whose patch is planned as for the preset.
        recipe: as for :func:`auto3dlandmark.planning.recipes.read_recipe`; None: what suits the network.
        stages: 1 or 2 networks; None: what the data asks for.
        resize: sides of a cube, in voxels, that each image is seen in as a whole; None: patches.
        values: further values of train.json.
        trained: False: nobody looks at the image, and the mean position of the training cases is given.
    """

    name: str
    about: str = ""
    source: str = ""
    departures: tuple[str, ...] = ()
    network: str | None = None
    network_def: Mapping[str, Any] | None = None
    recipe: str | None = None
    stages: int | None = None
    resize: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = True


def read_system(name: str | os.PathLike) -> System:
    """
    A system of ``SYSTEMS`` by its name, or one of your own by the path of its file.

    Raises:
        LandmarkError: when there is none, or its file sets what a system does not have.
    """
    known = str(name) in SYSTEMS
    if not known and Path(name).stem in SYSTEMS:
        raise LandmarkError(f"{name}: has the name of a system that is built in. Rename the file.")
    path = FOLDER / f"{name}.json" if known else Path(name)
    if not path.is_file():
        raise LandmarkError(
            f"system {str(name)!r} is unknown. Choose of {', '.join(SYSTEMS)}, or give a JSON file."
        )
    content = read_json(path)
    fields = {one.name for one in dataclasses.fields(System)} - {"name"}
    unknown = sorted(set(content) - fields) if isinstance(content, dict) else ["no object"]
    if unknown:
        raise LandmarkError(f"{path}: sets {', '.join(unknown)}. A system has {', '.join(sorted(fields))}.")
    if isinstance(content.get("departures"), str):
        content["departures"] = [content["departures"]]
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
    system = System(path.stem, **values)
    if system.network is not None and system.network not in PRESETS:
        raise LandmarkError(
            f"{path}: the network {system.network!r} is unknown. Choose one of {', '.join(PRESETS)}."
        )
    if system.recipe is not None:
        read_recipe(system.recipe)
    return system


def plan_system(fingerprint: Fingerprint, system: System, network: str) -> Plan:
    """
    What a system trains on a dataset.

    Args:
        network: the preset for systems that name none.

    Raises:
        LandmarkError: as :func:`plan_stages` does, or when its network does not take the cube.
    """
    try:
        plan = plan_stages(
            fingerprint,
            system.network or network,
            network_def=system.network_def,
            stages=1 if system.resize else system.stages,
        )
        return plan if system.resize is None else resized(plan, fingerprint, system.resize)
    except LandmarkError as error:
        raise LandmarkError(f"{system.name}: {error}") from error


def resized(plan: Plan, fingerprint: Fingerprint, side: int) -> Plan:
    """
    The same plan for images that are seen whole, the largest of them in a cube of this many voxels a side.

    Voxels are as long along each axis as that takes, the same for all images: unlike with images that are
    each stretched to the cube, a millimetre is a millimetre.

    Raises:
        LandmarkError: when the network does not map such a cube to heatmaps of its size.
    """
    from .patch_fit import fit_patch  # torch, which planning needs for nothing else

    largest = (np.array(fingerprint.shapes) * np.array(fingerprint.spacings)).max(axis=0)
    cube, channels = (side,) * 3, len(fingerprint.modalities)
    fitted, _ = fit_patch(plan.network_def, plan.landmark_names, cube, channels)
    if fitted != cube:
        takes = " x ".join(map(str, fitted))
        raise LandmarkError(f"the network takes no cube of {side} voxels, but {takes}. Choose another size.")
    spacing = tuple(float(length) for length in np.round(largest / side, 6))
    cases = len(fingerprint.cases)
    return dataclasses.replace(
        plan,
        spacing=spacing,
        antialias=True,
        median_shape=tuple(float(side) for _ in cube),
        patch_size=cube,
        batch_size=min(plan.batch_size, 2),
        roi_size=cube,
        divisor=None,
        cached_gb=round(cases * side**3 * 4 * channels / 1e9, 3),
        thick_axis=None,
        notes=(f"Images are seen whole, in {side} x {side} x {side} voxels.",),
    )
