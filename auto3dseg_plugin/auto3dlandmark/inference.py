# SPDX-License-Identifier: Apache-2.0
"""Predict the landmarks of images with one bundle, or with several whose heatmaps are averaged.

The steps are those of each bundle's inference.json; only the averaging is ours.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from tqdm import tqdm

from .files import read_json
from .formats import write_landmarks
from .images import case_id
from .landmarks import LandmarkError, LandmarkSet
from .transforms import HeatmapToLandmarksd, predicted_landmarks
from .transforms.decode import activate
from .weights import load_weights

__all__ = ["LandmarkPredictor", "predict_images"]


class LandmarkPredictor:
    """
    Trained bundles, loaded once, that turn an image file into landmarks.

    Args:
        bundles: folders of bundles that agree in their landmarks, such as the folds of one training.
        device: where to run; left out, what the bundle's config says: a GPU if there is one.

    Raises:
        LandmarkError: when a folder is no bundle, its weights are missing or damaged, or landmarks differ.
    """

    def __init__(self, bundles: Sequence[str | os.PathLike], device: str | None = None) -> None:
        if not bundles:
            raise LandmarkError("no bundle given. Name at least one folder of a trained bundle.")
        self.members = [_Member(Path(folder), device) for folder in bundles]
        self.names: list[str] = self.members[0].names
        for member in self.members[1:]:
            if member.names != self.names:
                different = sorted(set(member.names) ^ set(self.names)) or ["the order"]
                raise LandmarkError(
                    f"{member.folder}: finds other landmarks than {self.members[0].folder} ({', '.join(different[:5])} "
                    "differ). Only bundles of the same landmarks can be averaged."
                )

    def predict(self, image: str | os.PathLike) -> LandmarkSet:
        """
        Find the landmarks of one image.

        Returns:
            landmarks in RAS millimetres of the image's own frame, with scores in [0, 1].

        Raises:
            LandmarkError: when the image cannot be used.
        """
        first, *others = self.members
        grid = first.load(image)
        inputs = {first.preprocessing_id: grid}
        total = first.heatmaps(grid)
        for member in others:
            if member.preprocessing_id not in inputs:
                inputs[member.preprocessing_id] = member.load(image)
            network_input = inputs[member.preprocessing_id]
            if not _same_grid(network_input, grid):
                raise LandmarkError(
                    f"{member.folder}: has another spacing than {first.folder}, so they cannot be averaged."
                )
            total += member.heatmaps(network_input)
        points, scores = first.decode.decode(total / len(self.members), grid.affine)
        return predicted_landmarks(self.names, points, scores, first.may_be_absent)


class _Member:
    """One bundle, ready to run."""

    def __init__(self, folder: Path, device: str | None) -> None:
        self.folder = folder
        config = folder / "configs" / "inference.json"
        if not config.is_file():
            raise LandmarkError(
                f"{folder}: is not a bundle, it has no configs/inference.json. Name a folder made by 'build'."
            )
        parser = ConfigParser(read_json(config))
        parser["bundle_root"] = str(folder.resolve())
        if device is not None:
            parser["device"] = f"$torch.device({device!r})"
        self.names: list[str] = list(parser.get_parsed_content("landmark_names"))
        self.may_be_absent = set(parser.get_parsed_content("may_be_absent"))
        self.device: torch.device = parser.get_parsed_content("device")
        path = parser.get_parsed_content("ckpt_path")
        weights = load_weights(path)
        self.network: torch.nn.Module = parser.get_parsed_content("network")
        try:
            self.network.load_state_dict(weights)
        except (RuntimeError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise LandmarkError(
                f"{path}: does not fit the network of this bundle ({reason}). Train it again."
            ) from error
        self.network.eval()
        self.preprocessing = parser.get_parsed_content("preprocessing")
        self.preprocessing_id = repr(
            [parser.get(key) for key in ("preprocessing_transforms", "spacing", "antialias", "normalization")]
        )
        self.inferer = parser.get_parsed_content("inferer")
        self.decode: HeatmapToLandmarksd = parser.get_parsed_content("decode")

    def load(self, image: str | os.PathLike) -> MetaTensor:
        """The network's input, shape (C, H, W, D)."""
        try:
            return self.preprocessing({"image": str(image)})["image"]
        except Exception as error:  # MONAI wraps whatever a reader raises
            raise readable_error(error, f"{image}: cannot be read as an image") from error

    def heatmaps(self, network_input: MetaTensor) -> torch.Tensor:
        """Values in [0, 1], shape (N, H, W, D), on the CPU."""
        with torch.no_grad():
            logits = self.inferer(network_input.as_tensor()[None].to(self.device), self.network)[0]
            return activate(logits.float(), self.decode.activation).cpu()


def readable_error(error: BaseException, context: str) -> LandmarkError:
    """
    The LandmarkError somewhere behind an exception, or one that gives the innermost reason.
    """
    innermost: Any = error
    while innermost is not None:
        if isinstance(innermost, LandmarkError):
            return innermost
        last, innermost = innermost, innermost.__cause__ or innermost.__context__
    reason = (str(last).strip() or type(last).__name__).splitlines()[0]
    return LandmarkError(f"{context} ({type(last).__name__}: {reason[:200]}).")


def _same_grid(first: MetaTensor, second: MetaTensor) -> bool:
    return first.shape == second.shape and torch.allclose(first.affine, second.affine, atol=1e-4)


def predict_images(
    predictor: LandmarkPredictor,
    images: Iterable[str | os.PathLike],
    folder: str | os.PathLike,
    progress: bool = True,
) -> list[Path]:
    """
    Write the landmarks of each image to ``<folder>/<case>.mrk.json``.

    Returns:
        the files, in the order of ``images``.

    Raises:
        LandmarkError: for the first image that cannot be used; files of the images before it are there.
    """
    written = []
    for image in tqdm(list(images), desc="predict", unit="image", disable=not progress):
        path = Path(folder) / f"{case_id(image) or Path(image).name}.mrk.json"
        write_landmarks(path, predictor.predict(image))
        written.append(path)
    return written
