# SPDX-License-Identifier: Apache-2.0
"""Registration by elastix (the package itk-elastix, extra ``register``): affine, then free-form."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import LandmarkError
from ..geometry import lps_to_ras, voxel_spacing
from .pose_search import Volume

__all__ = ["Registered", "elastix_is_there", "refuse_without_elastix", "register"]

AFFINE_ITERATIONS, RESOLUTIONS = 200, 3
MOST_VOXELS = 160  # a side
# Along a cube of the image's volume: one control point for so many voxels, but never fewer than LEAST_GRIDS.
GRID_VOXELS, LEAST_GRIDS = 16.0, 6.0
# For so few control points; more of them take more iterations, and samples of the images.
ITERATIONS, SAMPLES = 150, 1500


@dataclass(frozen=True)
class Registered:
    """
    Where points of the fixed image lie in the moving one, RAS millimetres.

    Args:
        affine: after the affine registration, shape (N, 3).
        free: after the free-form one.
    """

    affine: np.ndarray
    free: np.ndarray


def elastix_is_there() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("itk.itkElastixRegistrationMethodPython") is not None


def refuse_without_elastix() -> None:
    """
    Raises:
        LandmarkError: when the package is not installed.
    """
    if not elastix_is_there():
        raise LandmarkError(
            "registration needs the package itk-elastix. Install it: pip install 'auto3dlandmark[register]'"
        )


def register(
    fixed: Volume, moving: Volume, pose: np.ndarray, points: np.ndarray, threads: int = 1
) -> Registered:
    """
    Lay one image onto another, and points with it.

    Args:
        fixed: the annotated image.
        moving: another one.
        pose: from millimetres of ``fixed`` to those of ``moving``, a similarity, to begin with; shape (4, 4).
        points: of the fixed image, RAS millimetres, shape (N, 3), none of them NaN.
        threads: that elastix may take.
    """
    import itk

    fixed, moving = fixed.coarser(MOST_VOXELS), moving.coarser(MOST_VOXELS)
    # The moving image is told to lie as the fixed one; nothing is resampled for it.
    laid = Volume(moving.values, np.linalg.inv(pose) @ moving.affine)
    images = [_itk_image(itk, one) for one in (fixed, laid)]
    extent = float(np.prod(voxel_spacing(fixed.affine) * fixed.values.shape) ** (1 / 3))
    grids = max(LEAST_GRIDS, fixed.values.size ** (1 / 3) / GRID_VOXELS)
    parameters = itk.ParameterObject.New()
    for step in (_affine(itk), _free_form(itk, extent / grids, grids / LEAST_GRIDS)):
        parameters.AddParameterMap(step)
    method = itk.ElastixRegistrationMethod.New(*images)
    method.SetParameterObject(parameters)
    method.SetLogToConsole(False)
    method.SetNumberOfThreads(threads)
    method.Update()
    both = method.GetTransformParameterObject()
    affine = itk.ParameterObject.New()
    affine.AddParameterMap(both.GetParameterMap(0))
    found = [_moved(itk, images[1], one, points) for one in (affine, both)]
    back = [np.asarray(one @ pose[:3, :3].T + pose[:3, 3]) for one in found]
    return Registered(*back)


def _itk_image(itk: Any, volume: Volume) -> Any:
    """With its geometry, in LPS; a similarity leaves axes at right angles."""
    image = itk.image_from_array(np.ascontiguousarray(volume.values.transpose(2, 1, 0)))
    spacing = voxel_spacing(volume.affine)
    image.SetSpacing(spacing)
    image.SetOrigin(lps_to_ras(volume.affine[:3, 3]))
    flip = np.diag([-1.0, -1.0, 1.0])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(flip @ (volume.affine[:3, :3] / spacing))))
    return image


def _affine(itk: Any) -> Any:
    return _parameters(itk, "affine", AFFINE_ITERATIONS, SAMPLES)


def _free_form(itk: Any, grid_mm: float, finer: float) -> Any:
    """
    Args:
        grid_mm: between control points.
        finer: how many times as many of them there are along a side as there are at least.
    """
    values = _parameters(itk, "bspline", round(ITERATIONS * finer), round(SAMPLES * finer**2))
    values["Metric"] = ["AdvancedMattesMutualInformation"]  # bending energy takes five times as long
    values["FinalGridSpacingInPhysicalUnits"] = [f"{grid_mm:.3f}"]
    for key in ("Metric0Weight", "Metric1Weight"):
        if key in values:
            del values[key]
    values["Registration"] = ["MultiResolutionRegistration"]
    return values


def _parameters(itk: Any, kind: str, iterations: int, samples: int) -> Any:
    values = itk.ParameterObject.New().GetDefaultParameterMap(kind, RESOLUTIONS)
    values["NumberOfSpatialSamples"] = [str(samples)]
    values["MaximumNumberOfIterations"] = [str(iterations)]
    values["WriteResultImage"] = ["false"]
    values["AutomaticTransformInitialization"] = ["false"]
    return values


def _moved(itk: Any, moving: Any, parameters: Any, points: np.ndarray) -> np.ndarray:
    """Points of the fixed image where the transform puts them, RAS millimetres."""
    mesh = itk.Mesh[itk.F, 3].New()
    for number, point in enumerate(lps_to_ras(points)):
        mesh.SetPoint(number, [float(value) for value in point])
    step = itk.TransformixFilter.New(moving)
    step.SetTransformParameterObject(parameters)
    step.SetInputMesh(mesh)
    step.Update()
    out = step.GetOutputMesh()
    return lps_to_ras(np.array([list(out.GetPoint(number)) for number in range(len(points))]))
