# SPDX-License-Identifier: Apache-2.0
"""Make tests/data/golden_plans.json, plans that nnU-Net made, from the longer file they came in.

    python tests/benchmarks/slim_golden_plans.py ../shared/golden/plans.json

The long file is a list of ``{name, planner, input, output}``, one for each of nnU-Net's planners (default,
ResEncM, ResEncL) and each made-up dataset. Three things make it short: a dataset is written once and not once
for each planner, only what the tests read is kept, and a dataset or a plan is one line. No number is changed.
Axes stay (z, y, x), as nnU-Net reads images; what was planned is in the order of ``transpose_forward``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import fire

SHORT = Path(__file__).parents[1] / "data" / "golden_plans.json"
# Of the dataset, and what may differ from planner to planner.
DATASET = (
    "spacings",
    "shapes_after_crop",
    "channels",
    "n_landmarks",
    "numTraining",
    "median_relative_size_after_cropping",
)
WISHES = ("gpu_memory_target_gb", "overwrite_target_spacing")
LOWRES = ("spacing", "patch_size", "batch_size", "strides", "kernel_sizes")
PLANNED = (
    *LOWRES,
    "median_image_size_in_voxels",
    "n_stages",
    "features_per_stage",
    "n_blocks_per_stage",
    "n_conv_per_stage",
    "n_conv_per_stage_decoder",
    "architecture",
    "conv_bias",
    "norm_op",
    "normalization_schemes",
    "use_mask_for_norm",
    "transpose_forward",
    "transpose_backward",
    "vram_estimate_final",
    "lowres_created",
)


def kept(values: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """The values of these keys; a key that is missing is an error."""
    return {key: values[key] for key in keys}


def slim(cases: list[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """
    Datasets by name, and one short plan for each case, in the order of the cases.

    Raises:
        ValueError: when two cases of one name have different datasets.
    """
    datasets: dict[str, Any] = {}
    plans = []
    for case in cases:
        dataset, golden = kept(case["input"], DATASET), case["output"]
        if datasets.setdefault(case["name"], dataset) != dataset:
            raise ValueError(f"{case['name']}: two different datasets have this name. Rename one.")
        output = kept(golden, PLANNED)
        output["separate_z"] = [kept(row, ("axis",)) for row in golden["separate_z"]]
        output["lowres"] = golden["lowres"] and kept(golden["lowres"], LOWRES)
        plans.append(
            {**kept(case, ("name", "planner")), "input": kept(case["input"], WISHES), "output": output}
        )
    return datasets, plans


def main(long: str, short: str = str(SHORT)) -> None:
    """
    Write the short file and say how large it is.

    Args:
        long: the file to read.
        short: the file to write.
    """
    datasets, plans = slim(json.loads(Path(long).read_text(encoding="utf-8")))
    described = [f"{json.dumps(name)}: {_line(dataset)}" for name, dataset in datasets.items()]
    text = '{"datasets": {\n' + ",\n".join(described) + '\n},\n"plans": [\n'
    text += ",\n".join(map(_line, plans)) + "\n]}\n"
    Path(short).write_text(text, encoding="utf-8")
    print(f"{short}: {len(plans)} plans of {len(datasets)} datasets, {len(text) / 1000:.0f} kB")


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    fire.Fire(main)
