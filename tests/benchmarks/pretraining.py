# SPDX-License-Identifier: Apache-2.0
"""Whether it pays to pretrain on images without landmarks: the same minutes with and without.

    python tests/benchmarks/unlabelled.py DATASET WORK --annotated 3 --unlabelled 150 --minutes 20
    python tests/benchmarks/pretraining.py WORK --minutes 10

A network learns to fill in cubes blanked out of the images without landmarks, for a share of the minutes,
and goes on with the annotated ones; another one learns from those alone. WORK is that of unlabelled.py, which
drew the cases.
"""

from __future__ import annotations

import time
from pathlib import Path

import fire
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader
from monai.transforms import Compose, RandFlipd, RandSpatialCropd, SelectItemsd, SpatialPadd

from auto3dlandmark.bundles.folder import BundleFolder
from auto3dlandmark.data.datalist import scan_folder
from auto3dlandmark.data.folder import find_images
from auto3dlandmark.evaluation.compare import evaluate
from auto3dlandmark.inference.predictor import LandmarkPredictor, predict_images
from auto3dlandmark.workflow.work_folder import WorkFolder

CUBE = 8  # voxels a side
BLANKED = 0.6  # of all cubes


def main(work: str, minutes: float = 10, share: float = 0.4, seeds: int = 2) -> None:
    """
    Print both errors.

    Args:
        work: of unlabelled.py.
        minutes: of each of the trainings, pretraining included.
        share: of them for the pretraining.
        seeds: how often.
    """
    top = Path(work)
    hidden = scan_folder(top / "hidden")
    cases = list(hidden.training)
    for seed in range(seeds):
        for name in ("without", "with"):
            folder = WorkFolder(top / f"pretraining_{minutes:g}" / f"{name}_{seed}")
            folder.check(top / "annotated")
            folder.analyze()
            folder.make_plan()
            first = {"minutes": minutes, "seed": seed}
            folder.build(None, **first)
            if name == "with":
                weights = folder.folder / "pretrained.pt"
                if not weights.is_file():
                    _pretrain(
                        folder.bundle(None), find_images(top / "unlabelled"), weights, minutes * share, seed
                    )
                folder.build(None, minutes=minutes * (1 - share), seed=seed, initial_weights=str(weights))
            folder.train(None)
            predictor = LandmarkPredictor([folder.bundle(None).path], trust=True)
            predict_images(predictor, [case.image for case in cases], folder.folder / "found", progress=False)
            errors = evaluate(cases, hidden.landmark_names, folder.folder / "found").errors_mm
            known = errors[np.isfinite(errors)]
            print(
                f"RESULT {name:8} seed {seed} mean {known.mean():.2f} median {np.median(known):.2f}",
                flush=True,
            )


def _pretrain(bundle: BundleFolder, images: list[Path], weights: Path, minutes: float, seed: int) -> None:
    torch.manual_seed(seed)
    parser = ConfigParser(bundle.read_config("inference"))
    network = parser.get_parsed_content("network_def")
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    size = bundle.read_config("train")["patch_size"]
    steps = [
        *parser.get_parsed_content("preprocessing_transforms"),
        SpatialPadd("image", size),
        RandSpatialCropd("image", size, random_size=False),
        *(RandFlipd("image", prob=0.5, spatial_axis=axis) for axis in range(3)),
        SelectItemsd("image"),
    ]
    dataset = CacheDataset([{"image": str(image)} for image in images], Compose(steps))
    loader = DataLoader(dataset, batch_size=2, shuffle=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    began, done, losses = time.time(), 0, []
    while time.time() - began < 60 * minutes:
        for batch in loader:
            share = (time.time() - began) / (60 * minutes)
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * max(0.0, 1 - share) ** 0.9
            image = torch.as_tensor(batch["image"])
            coarse = (torch.rand(len(image), 1, *(-(-n // CUBE) for n in size)) < BLANKED).float()
            blank = torch.nn.functional.interpolate(coarse, scale_factor=CUBE, mode="nearest")
            blank = blank[:, :, : size[0], : size[1], : size[2]]
            with torch.autocast("cpu", torch.bfloat16):
                found = network(image * (1 - blank))[:, :1]
            loss = (blank * (found.float() - image[:, :1]) ** 2).sum() / blank.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
            done += 1
            if time.time() - began > 60 * minutes:
                break
    print(
        f"pretraining: {done} steps, loss {np.mean(losses[:50]):.3f} -> {np.mean(losses[-50:]):.3f}",
        flush=True,
    )
    trained = network.state_dict()
    torch.save({name: fresh[name] if "seg_layers" in name else trained[name] for name in trained}, weights)


if __name__ == "__main__":
    fire.Fire(main)
