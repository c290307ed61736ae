# SPDX-License-Identifier: Apache-2.0
"""Predict the landmarks of images with one bundle, or with several whose heatmaps are averaged.

The steps are those of each bundle's inference.json; only the averaging is ours.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose
from tqdm import tqdm

from ..bundles.agreement import refuse_disagreement
from ..bundles.folder import BundleFolder, common_landmarks
from ..bundles.trust import refuse_foreign_code
from ..data.folder import prediction_path
from ..errors import LandmarkError, readable_error
from ..formats import write_landmarks
from ..frames.shape_frame import ShapeFrame
from ..frames.verdict import verdict
from ..inferers import AutocastInferer
from ..inferers.streamed import Looker, kept_heatmaps, streamed_peaks
from ..landmarks import LandmarkSet
from ..networks.weights import fill_network
from ..shapes.oddness import image_signs
from ..shapes.peaks import Peaks, merged
from ..transforms import FrameByShaped, HeatmapToLandmarksd, PosteriorLandmarksd, SaveLandmarksd
from ..transforms.decode import activate
from ..transforms.framing import POSE, SIGNS
from .fusion import Seen, fused_peaks, on_grid, voxel_volume
from .views import MOST_VIEWS, mean_over_views, tilted, views_of

__all__ = [
    "LandmarkPredictor",
    "predict_images",
]


# Bundles that agree in these see an image alike, so it is read once for all of them.
PREPROCESSING_KEYS = (
    "preprocessing_transforms",
    "channels",
    "framing",
    "spacing",
    "antialias",
    "resample",
    "clip_percentiles",
    "normalization",
)
LOOK_AGAIN = 0.15  # of the shape's size: a pose that is farther off than this


class LandmarkPredictor:
    """
    Trained bundles, loaded once, that turn an image file into landmarks.

    Args:
        bundles: folders of bundles that agree in their landmarks, such as the folds of one training.
        device: where to run; left out, what the bundle's config says: a GPU if there is one.
        tta: let networks look at the image turned a little, too, and in a mirror if it was trained with
            flips: six times the work.
        posterior: whether the landmarks decide together: ``auto``, ``on`` or ``off``; left out, what the
            config says.
        trust: run what the configs ask for, even if it is code from outside the template.

    Raises:
        LandmarkError: when a folder is no bundle, its weights are missing or damaged, or landmarks differ.
    """

    def __init__(
        self,
        bundles: Sequence[str | os.PathLike],
        device: str | None = None,
        trust: bool = False,
        posterior: str | None = None,
        tta: bool = False,
    ) -> None:
        self.tta = tta
        folders = [BundleFolder(path) for path in bundles]
        _refuse_device(device)
        self.names: list[str] = list(common_landmarks(folders))
        self.members = [_Member(folder, device, trust, posterior) for folder in folders]
        for member in self.members[1:]:
            if member.decode.activation != self.members[0].decode.activation:
                raise LandmarkError(
                    f"{member.bundle.path}: has {member.decode.activation} heatmaps, "
                    f"{self.members[0].bundle.path} has {self.members[0].decode.activation} ones. "
                    "Only bundles with the same kind can be averaged."
                )

    @property
    def holds_heatmaps(self) -> bool:
        """Whether heatmaps are there as a whole, which takes memory for each landmark."""
        return any(one.windows is None for one in self.members)

    def predict(self, image: str | os.PathLike) -> LandmarkSet:
        """
        Find the landmarks of one image.

        Returns:
            landmarks in RAS millimetres of the image's own frame, with scores in [0, 1].

        Raises:
            LandmarkError: when the image cannot be used.
        """
        return self.conclude(self.peaks(image))

    def peaks(self, image: str | os.PathLike, alone: int | None = None) -> Peaks:
        """
        The places at which each landmark of one image was found.

        Args:
            alone: of a published bundle, the one network that looks, such as that of a fold; left out, all
                do.

        Raises:
            LandmarkError: when the image cannot be used.
        """
        views = self._coarse(image, alone)
        if views is None:
            return self.peaks_in(image, None, alone)
        frame, coarse = self.members[0].frame, merged(views)
        poses = frame.poses(coarse)
        look = partial(self._found_in, image, alone, {})
        looks = [self._twice(look, pose) for pose in poses]
        off = [self._twice(look, pose) for pose in frame.a_level_off(poses[0])]
        best = verdict(frame, views, looks, off)
        return replace(best, signs={**best.signs, **frame.signs(coarse, best)})

    def peaks_in(
        self, image: str | os.PathLike, pose: np.ndarray | None = None, alone: int | None = None
    ) -> Peaks:
        """
        As :meth:`peaks`, from one look.

        Args:
            pose: of the landmarks, for bundles of two stages, shape (4, 4); left out, where each bundle's
                config says.
        """
        return self._found_in(image, alone, {}, pose)

    def views(self, image: str | os.PathLike, alone: int | None = None) -> list[Peaks]:
        """
        As :meth:`peaks`, of a bundle of one stage, from the image as it is and tilted to each side.
        """
        member = self.members[0]
        return [_found([member], [view], alone) for view in tilted(member.load(image))]

    def _twice(self, look: Callable[[np.ndarray], Peaks], pose: np.ndarray) -> Peaks:
        """What second stages find; they look again where they say that the landmarks lie in another pose, and
        what they find there counts if they still say so."""
        frame = self.members[0].frame
        seen = look(pose)
        better = frame.pose_as_found(seen)
        if frame.apart(pose, better) <= LOOK_AGAIN:
            return seen
        again = look(better)
        if frame.apart(better, frame.pose_as_found(again)) > LOOK_AGAIN:
            return seen
        return min(seen, again, key=frame.misfit)

    def _found_in(
        self, image: str | os.PathLike, alone: int | None, read: dict[str, Any], pose: np.ndarray | None
    ) -> Peaks:
        """What is found in one pose; ``read`` keeps what was read of the image for the next one."""
        members = self.members if alone is None else self.members[:1]
        grids = self._grids(image, pose, members, read)
        if alone is None and (self.tta or (len(members) > 1 and not _stream(members, grids))):
            if any(member.windows is None for member in members):
                return self.peaks_of(*self._mean(grids))
            return self._fused(grids)
        return _found(members, grids, alone)

    def _fused(self, grids: Sequence[MetaTensor]) -> Peaks:
        """What all members find together, whatever their grids and from all views, of their inputs."""
        finest, radius = self._finest(grids)
        count = (MOST_VIEWS if self.tta else 1) * len(grids)
        seen = [self._seen(member, grid, count) for member, grid in zip(self.members, grids)]
        first = self.members[0].decode
        return first.places(fused_peaks(seen, finest, first.activation, radius), finest)

    def _seen(self, member: _Member, grid: MetaTensor, count: int) -> list[Seen]:
        """What a member keeps of its heatmaps of each view; ``count`` of them are averaged in all."""
        own: list[int | None] = list(range(len(self.names)))
        views = views_of(grid, len(self.names), member.flip_groups) if self.tta else [(grid, own)]
        kind, radius, seen = member.decode.activation, member.decode.radius, []
        with torch.no_grad():
            for view, channels in views:
                image = view.as_tensor().to(member.device)
                kept = kept_heatmaps([member.looker()], [image], kind, radius, count)
                seen.append(Seen(kept, view.affine, channels))
        return seen

    def _finest(self, grids: Sequence[MetaTensor]) -> tuple[MetaTensor, int]:
        """The finest of the members' inputs, and the radius of the coarsest's peaks, in its voxels."""
        finest = min(grids, key=voxel_volume)
        coarser = [float((grid.pixdim / finest.pixdim).max()) for grid in grids]
        radii = [math.ceil(one.decode.radius * by - 1e-3) for one, by in zip(self.members, coarser)]
        return finest, max(radii)

    def _grids(
        self,
        image: str | os.PathLike,
        pose: np.ndarray | None,
        members: Sequence[_Member],
        read: dict[str, Any],
    ) -> list[MetaTensor]:
        """Each member's input; read once for those that see an image alike."""
        seen: dict[str, MetaTensor] = {}
        for one in members:
            if one.preprocessing_id not in seen:
                seen[one.preprocessing_id] = one.load(image, pose, read)
        return [seen[one.preprocessing_id] for one in members]

    def _coarse(self, image: str | os.PathLike, alone: int | None) -> list[Peaks] | None:
        """What the members' coarse stages find in each view; None where each member looks as its config
        says."""
        framing = [member.framing for member in self.members if member.framing is not None]
        if len(framing) < len(self.members) or any(
            not one.frame.is_like(framing[0].frame) for one in framing
        ):
            return None
        try:
            return [view for one in framing for view in one.found(image, alone)]
        except Exception as error:  # MONAI wraps whatever a reader raises
            raise readable_error(error, f"{image}: cannot be read as an image") from error

    def peaks_of(self, heatmaps: MetaTensor, radius: int) -> Peaks:
        """What :meth:`heatmaps` gave, as places."""
        return self.members[0].decode.peaks(heatmaps.as_tensor(), heatmaps, radius)

    def conclude(self, peaks: Peaks) -> LandmarkSet:
        """What the places are taken for: by all landmarks together, where the bundle says so."""
        return self.members[0].conclude(peaks)

    def points_of_each(self, image: str | os.PathLike) -> np.ndarray:
        """
        Where each network alone puts the landmarks: RAS millimetres, shape (networks, N, 3).

        Raises:
            LandmarkError: when the image cannot be used.
        """
        found: list[np.ndarray] = []
        for member in self.members:
            grid = member.load(image)
            found += [_found([member], [grid], alone).first for alone in range(len(member.networks))]
        return np.stack(found)

    def heatmaps(self, image: str | os.PathLike, pose: np.ndarray | None = None) -> tuple[MetaTensor, int]:
        """
        The mean of the members' heatmaps, in the world: on the finest of their grids.

        Args:
            pose: of the landmarks, for bundles of two stages, shape (4, 4); left out, the coarse stage's.

        Returns:
            heatmaps: values in [0, 1], shape (N, H, W, D), with that grid's affine and the image's meta data.
            radius: how far around a peak its mass may lie, in voxels of that grid: as far as for the coarsest
                member.
        """
        return self._mean(self._grids(image, pose, self.members, {}))

    def _mean(self, grids: Sequence[MetaTensor]) -> tuple[MetaTensor, int]:
        """What :meth:`heatmaps` gives, from each member's input."""
        finest, radius = self._finest(grids)
        total: torch.Tensor | float = 0.0
        for member, grid in zip(self.members, grids):
            total = total + on_grid(
                MetaTensor(self._look(member, grid), grid.affine), finest, member.decode.activation
            )
        return MetaTensor(total / len(self.members), meta=finest.meta), radius

    def _look(self, member: _Member, grid: MetaTensor) -> torch.Tensor:
        """A member's heatmaps, of the image alone or of several views of it."""
        if not self.tta:
            return member.heatmaps(grid)
        kind, count = member.decode.activation, len(self.names)
        return mean_over_views(member.heatmaps, grid, kind, count, member.flip_groups)


class _Member:
    """One bundle, ready to run."""

    def __init__(self, bundle: BundleFolder, device: str | None, trust: bool, posterior: str | None) -> None:
        self.bundle = bundle
        config = bundle.read_config("inference")
        learnt = bundle.read_config("train") if bundle.config_path("train").is_file() else {}
        for one in (bundle, *bundle.coarse_stages()):
            refuse_foreign_code(one.read_config("inference"), one.config_path("inference"), trust)
        refuse_disagreement({**learnt, **config}, bundle.config_path("inference"))
        parser = ConfigParser(config)
        parser["bundle_root"] = str(bundle.path.resolve())
        if device is not None:
            parser["device"] = f"$torch.device({device!r})"
        self.device: torch.device = parser.get_parsed_content("device")
        self.network: torch.nn.Module = parser.get_parsed_content("network")
        fill_network(self.network, parser.get_parsed_content("ckpt_path"))
        self.network.eval()
        # A published bundle holds the networks of several folds as one.
        self.networks = list(getattr(self.network, "networks", None) or [self.network])
        self.lookers: dict[int | None, Looker] = {}
        self.preprocessing = parser.get_parsed_content("preprocessing")
        self.framed_by, self.framing = _the_framing(self.preprocessing)
        seen_as = [parser.get(key) for key in PREPROCESSING_KEYS]
        # Where a coarse stage points is its own affair.
        self.preprocessing_id = repr([seen_as, None if self.framing is None else str(bundle.path)])
        # What comes before an image is framed is alike in all folds.
        self.reading_id = repr(
            [parser.get("preprocessing_transforms", [])[: self.framed_by], parser.get("channels")]
        )
        self.inferer = parser.get_parsed_content("inferer")
        self.decode: HeatmapToLandmarksd = parser.get_parsed_content("decode")
        try:
            steps = parser.get_parsed_content("postprocessing").transforms
        except RuntimeError as error:  # MONAI wraps what a step says of its files
            raise readable_error(error, f"{bundle.path}: its postprocessing cannot be made") from error
        self.presence: SaveLandmarksd = _the_saver(steps, bundle)
        # Bundles of earlier versions do not name the step.
        asked = posterior or config.get("posterior", "auto")
        self.flip_groups: list[list[int]] = config.get("flip_pairs", [])
        self.posterior = PosteriorLandmarksd("pred", self.presence.names, bundle.models.shape, asked)

    @property
    def frame(self) -> ShapeFrame:
        """Where a second stage looks."""
        assert self.framing is not None
        return self.framing.frame

    def conclude(self, peaks: Peaks) -> LandmarkSet:
        """The landmarks that these places are taken for."""
        together = self.posterior.landmarks(peaks)
        if together is not None:
            return together
        points, scores = torch.from_numpy(peaks.first.copy()), torch.from_numpy(peaks.masses[:, 0])
        return self.presence.landmarks(points, scores.float())

    def load(
        self, image: str | os.PathLike, pose: np.ndarray | None = None, read: dict[str, Any] | None = None
    ) -> MetaTensor:
        """
        The network's input, shape (C, H, W, D), of a second stage in this pose.

        Args:
            read: what was read of this image already, by ``reading_id``; what is not there is added.
        """
        read = {} if read is None else read
        try:
            if self.reading_id not in read:
                read[self.reading_id] = self.preprocessing({"image": str(image)}, end=self.framed_by)
            data = read[self.reading_id]
            posed = data if pose is None else {**data, POSE: pose}
            prepared: MetaTensor = self.preprocessing(posed, start=self.framed_by)["image"]
        except Exception as error:  # MONAI wraps whatever a reader raises
            raise readable_error(error, f"{image}: cannot be read as an image") from error
        prepared.meta[SIGNS] = {**prepared.meta.get(SIGNS, {}), **image_signs(np.asarray(prepared.cpu()))}
        return prepared

    @property
    def windows(self) -> tuple[Any, ...] | None:
        """Which windows are laid over an image; None where they cannot be reduced as they come."""
        window = self.inferer.window if isinstance(self.inferer, AutocastInferer) else None
        if window is None:
            return None
        return tuple(window.roi_size), tuple(window.divisor or ()), window.overlap

    def looker(self, alone: int | None = None) -> Looker:
        """What looks at inputs of which windows can be reduced: all of its networks together, or one."""
        if alone not in self.lookers:
            self.lookers[alone] = Looker(self.chosen(alone), self.inferer, len(self.presence.names))
        return self.lookers[alone]

    def chosen(self, alone: int | None) -> torch.nn.Module:
        """One of its networks; None: all of them together."""
        return self.network if alone is None else self.networks[alone]

    def heatmaps(self, network_input: MetaTensor, network: torch.nn.Module | None = None) -> torch.Tensor:
        """Values in [0, 1], shape (N, H, W, D), on the CPU; of all its networks, or of one."""
        with torch.no_grad():
            logits = self.inferer(network_input.as_tensor()[None].to(self.device), network or self.network)[0]
            return activate(logits.float(), self.decode.activation).cpu()


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
        path = prediction_path(folder, image)
        write_landmarks(path, predictor.predict(image))
        written.append(path)
    return written


def _refuse_device(device: str | None) -> None:
    """Stop at a device that is no name of one, or that this machine does not have."""
    try:
        kind = torch.device(device or "cpu").type
    except RuntimeError:
        kind = ""
    if not kind or (kind == "cuda" and not torch.cuda.is_available()):
        raise LandmarkError(f"device={device!r} is not to be had here. Use cpu, or leave it out.")


def _stream(members: Sequence[_Member], grids: Sequence[MetaTensor]) -> bool:
    """Whether the windows of members can be reduced as they come."""
    windows = {one.windows for one in members}
    return len(windows) == 1 and None not in windows and all(_same_grid(grid, grids[0]) for grid in grids)


def _found(members: Sequence[_Member], grids: Sequence[MetaTensor], alone: int | None) -> Peaks:
    """What one member finds, or several together whose windows can be reduced; with all networks, or one."""
    first = members[0]
    if first.windows is None:
        return first.decode.peaks(first.heatmaps(grids[0], first.chosen(alone)), grids[0])
    radius = max(one.decode.radius for one in members)
    images = [grid.as_tensor().to(one.device) for one, grid in zip(members, grids)]
    with torch.no_grad():
        found = streamed_peaks(
            [one.looker(alone) for one in members], images, first.decode.activation, radius
        )
    return first.decode.places(found, grids[0])


def _same_grid(one: MetaTensor, other: MetaTensor) -> bool:
    """Whether two inputs have the same voxels at the same millimetres."""
    return one.shape[1:] == other.shape[1:] and torch.allclose(one.affine, other.affine, atol=1e-4)


def _the_framing(preprocessing: Compose) -> tuple[int, FrameByShaped | None]:
    """The step that a second stage finds its frame by, and which of all steps holds it."""
    for number, step in enumerate(preprocessing.transforms):
        for one in Compose([step]).flatten().transforms:
            if isinstance(one, FrameByShaped):
                return number, one
    return 0, None


def _the_saver(steps: Iterable[object], bundle: BundleFolder) -> SaveLandmarksd:
    """The step that decides which points are there, and writes them when stock MONAI runs the bundle."""
    for step in steps:
        if isinstance(step, SaveLandmarksd):
            return step
    raise LandmarkError(
        f"{bundle.config_path('inference')}: its postprocessing has no SaveLandmarksd, which decides what is "
        "absent."
    )
