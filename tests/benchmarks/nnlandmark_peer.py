# SPDX-License-Identifier: Apache-2.0
"""nnLandmark's own prediction by a network of ours, in windows of the same size, to be measured beside ours.

It is on no registry: clone https://github.com/MIC-DKFZ/nnLandmark, and put the clone and what it imports
(acvl-utils<0.3, batchgenerators, batchgeneratorsv2, SimpleITK, scikit-image and others) on ``PYTHONPATH``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from auto3dlandmark.inference.predictor import LandmarkPredictor

__all__ = ["is_installed", "predict"]

CONFIGURATION = "3d_fullres"
RESAMPLED = {"is_seg": False, "order_z": 0, "force_separate_z": None}


def is_installed() -> bool:
    return importlib.util.find_spec("nnlandmark") is not None


def predict(predictor: LandmarkPredictor, image: Path, out: Path) -> None:
    """
    Read an image, find its landmarks and write them, as ``nnLandmark_predict`` does in one process, without
    mirrored images.

    Args:
        out: the file to write, without its suffix.
    """
    from nnlandmark.inference.nnLandmark.predict_from_raw_data import nnUNetPredictor
    from nnlandmark.utilities.plans_handling.plans_handler import PlansManager

    (member,) = predictor.members
    plans = PlansManager(_plans(member.bundle.read_plan()))
    labels = {"background": 0, **{name: number + 1 for number, name in enumerate(predictor.names)}}
    dataset = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": 8, "file_ending": ".nii"}
    theirs = nnUNetPredictor(
        use_mirroring=False, perform_everything_on_device=False, device=member.device, allow_tqdm=False
    )
    network = member.network
    theirs.manual_initialization(
        network, plans, plans.get_configuration(CONFIGURATION), [network.state_dict()], dataset, "", None
    )
    theirs.predict_from_files_sequential([[str(image)]], [str(out)])


def _plans(plan: Any) -> dict[str, Any]:
    """Its plans.json for a plan of ours; its axes are in the order z, y, x."""
    window, spacing = list(plan.roi_size)[::-1], list(plan.spacing)[::-1]
    resampling = "resample_data_or_seg_to_shape"
    configuration = {
        "data_identifier": "peer",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": plan.batch_size,
        "patch_size": window,
        "median_image_size_in_voxels": window,
        "spacing": spacing,
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": resampling,
        "resampling_fn_data_kwargs": {**RESAMPLED, "order": 3},
        "resampling_fn_seg": resampling,
        "resampling_fn_seg_kwargs": {**RESAMPLED, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": resampling,
        "resampling_fn_probabilities_kwargs": {**RESAMPLED, "order": 1},
        "architecture": {},
        "batch_dice": False,
    }
    return {
        "dataset_name": "peer",
        "plans_name": "peer",
        "original_median_spacing_after_transp": spacing,
        "original_median_shape_after_transp": window,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {CONFIGURATION: configuration},
    }
