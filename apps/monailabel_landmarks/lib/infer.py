# SPDX-License-Identifier: Apache-2.0
"""Inference for MONAI Label: the same steps as ``auto3dlandmark predict``, so the same points."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from auto3dlandmark.data.images import read_geometry
from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.formats import write_landmarks
from auto3dlandmark.inference.confidence import confidence_of
from auto3dlandmark.landmarks import LandmarkSet
from monailabel_landmarks.lib.predictor import Predictors, end_with
from monailabel_landmarks.lib.spheres import spheres_of

logger = logging.getLogger(__name__)

SPHERES = "landmark_spheres"


class LandmarkInferTask(InferTask):
    """
    Landmarks as a point list, or for clients that know only segments, as a label map of small balls.

    Args:
        predictor: shared by both forms.
        spheres: give the label map.
    """

    def __init__(self, predictor: Predictors, spheres: bool = False) -> None:
        # Slicer's stock plugin offers these two types, and opens a .json as markups.
        kind = InferType.SEGMENTATION if spheres else InferType.DETECTION
        what = "small balls around the landmarks" if spheres else "the landmarks as a point list"
        labels = {name: number for number, name in enumerate(predictor.model.names, start=1)}
        super().__init__(kind, labels, 3, f"Gives {what}")
        self.predictor, self.spheres = predictor, spheres

    def is_valid(self) -> bool:
        return True

    def info(self) -> dict[str, Any]:
        return {**super().info(), "version": self.predictor.model.current().version}

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """
        Args:
            request: ``image``, the path of an image.

        Returns:
            a temporary file, the caller's to remove, and what it says as JSON.
        """
        file, answer, _ = self.run(Path(request["image"]))
        return file, answer

    def run(self, image: Path) -> tuple[str, dict[str, Any], LandmarkSet]:
        """As a call; and the landmarks."""
        began = time.time()
        landmarks, version = self.predictor.predict(str(image))
        suffix = ".nii.gz" if self.spheres else ".mrk.json"
        with tempfile.NamedTemporaryFile(prefix="landmarks-", suffix=suffix, delete=False) as file:
            path = Path(file.name)
        try:
            if self.spheres:
                shape, affine = read_geometry(image)
                nib.save(nib.Nifti1Image(spheres_of(landmarks, shape, affine), affine), path)
            else:
                write_landmarks(path, landmarks)
        except Exception:
            path.unlink(missing_ok=True)
            raise
        said = {
            "confidence": confidence_of(landmarks),
            "version": version,
            "seconds": round(time.time() - began, 3),
        }
        return str(path), {"label_names": self.labels, "landmarks": _plain(landmarks), **said}, landmarks


def _plain(landmarks: LandmarkSet) -> list[dict[str, Any]]:
    """The landmarks as JSON: the keys of the table predictions.csv, and those of version 0.1."""
    columns = landmarks.columns()
    found = []
    for name, point, values in zip(landmarks.names, landmarks.points, zip(*columns.values())):
        row = {"name": name, "position_ras_mm": point.tolist() if np.isfinite(point).all() else None}
        told = zip(columns, values)
        found.append(row | {key: one if isinstance(one, str) else _number(one) for key, one in told})
    return found


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


class LandmarkBatchTask(BatchInferTask):
    """Predict many images; one that cannot be read is named, and the others go on."""

    def __call__(self, request: dict[str, Any], datastore: Any, infer: Callable) -> dict[str, Any]:
        end_with(os.getppid())
        results: dict[str, Any] = {}
        images = sorted(self.get_images(request, datastore))
        for number, image in enumerate(images, start=1):
            try:
                found = infer({"model": request.get("model"), "image": image, "save_label": True}, datastore)
                Path(found.pop("file")).unlink(missing_ok=True)
                results[image] = found["params"]
                logger.info("%d of %d: %s", number, len(images), image)
            except LandmarkError as error:
                results[image] = {"error": str(error)}
                logger.warning("%d of %d: %s: left out: %s", number, len(images), image, error)
        return results
