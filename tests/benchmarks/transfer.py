# SPDX-License-Identifier: Apache-2.0
"""What registration gives from one, three and five annotated images: error, time, and what it says of itself.

    python tests/benchmarks/transfer.py DATASET --targets 12 --seed 0

Targets and templates are drawn at random. Each template is registered to each target once; a row fuses the
first so many. With three templates or more they are also laid onto each other, as ``transfer`` does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import fire
import numpy as np
from scipy.stats import spearmanr

from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.geometry import radial_error
from auto3dlandmark.registration.templates import (
    Transfer,
    fused,
    ratios_of,
    read_template,
    transferred,
)
from auto3dlandmark.shapes.alignment import size_mm

FAILED = 0.35  # of the landmarks' size: a case whose mean error is larger


def main(dataset: str, targets: int = 12, counts: Sequence[int] = (1, 3, 5), seed: int = 0) -> None:
    """
    Print the table.

    Args:
        dataset: annotated cases.
        targets: how many cases are transferred to.
        counts: of templates.
        seed: of the draw.
    """
    listed = scan_folder(dataset)
    order = np.random.default_rng(seed).permutation(len(listed.training))
    most = max(counts)
    templates = [read_template(listed.training[number], listed.landmark_names) for number in order[:most]]
    size = float(np.median([size_mm(one.landmarks.points[one.landmarks.present]) for one in templates]))
    between: list[list[Transfer | None]] = [
        [None if one is other else transferred(other, one.volume) for other in templates] for one in templates
    ]
    cases = [listed.training[number] for number in order[most : most + targets]]
    began, said = time.process_time(), []
    for case in cases:
        target = read_template(case, listed.landmark_names)
        said.append((target, [transferred(one, target.volume) for one in templates]))
    seconds = (time.process_time() - began) / len(cases) / most
    print(f"{dataset}: {len(cases)} targets, {seconds:.1f} s of CPU a pair, size {size:.1f} mm")
    head = f"{'K':>2} {'mean':>6} {'median':>6} {'95 %':>6} {'rho':>6} "
    print(head + f"{'in 95 %':>8} {'failed':>7} {'flagged':>8} {'wrongly':>8}")
    for count in counts:
        ratios = ratios_of(templates[:count], [row[:count] for row in between[:count]])
        errors, radii, failed, odd = [], [], [], []
        for target, answers in said:
            found = fused(templates[:count], answers[:count], target.volume, ratios)
            assert found.estimates is not None
            error = radial_error(found.points, target.landmarks.points)
            errors.append(error)
            radii.append(found.estimates.radii_mm[:, 2])
            failed.append(np.nanmean(error) > FAILED * size)
            odd.append(found.estimates.unusual > 1)
        all_errors, all_radii = np.concatenate(errors), np.concatenate(radii)
        both = np.isfinite(all_errors) & np.isfinite(all_radii)
        bad, told = np.array(failed), np.array(odd)
        known = all_errors[np.isfinite(all_errors)]
        rho = spearmanr(all_radii[both], all_errors[both]).statistic
        inside = 100 * np.mean(all_errors[both] <= all_radii[both])
        row = f"{count:>2} {known.mean():6.2f} {np.median(known):6.2f} {np.percentile(known, 95):6.2f} "
        row += f"{rho:6.2f} {inside:7.0f}% {bad.sum():7d} {(bad & told).sum():8d} {(~bad & told).sum():8d}"
        print(row, flush=True)


if __name__ == "__main__":
    fire.Fire(main)
