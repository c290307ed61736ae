# SPDX-License-Identifier: Apache-2.0
"""Auto3DSeg's ensemble, for landmarks: fuse the heatmaps of several trained algorithms, then decode once."""

from __future__ import annotations

from typing import Any

from monai.apps.auto3dseg import AlgoEnsembleBestByFold
from monai.utils.enums import AlgoKeys

from ..data.folder import prediction_path
from ..errors import LandmarkError
from ..formats import write_landmarks
from ..inference.predictor import LandmarkPredictor
from ..landmarks import LandmarkSet

__all__ = ["LandmarkEnsemble"]


class LandmarkEnsemble(AlgoEnsembleBestByFold):
    """
    The best algorithm of each fold, fused into one prediction of points in RAS millimetres, with scores.

    For ``AlgoEnsembleBuilder.set_ensemble_method``. Networks of different spacings and patches are fused in
    the
    world: their heatmaps are averaged on the finest of their grids.

    Args:
        n_fold: the number of folds; those without a trained algorithm are left out.
    """

    def collect_algos(self) -> None:
        """
        Choose the algorithm with the best score in each fold.

        Raises:
            LandmarkError: when none is trained.
        """
        super().collect_algos()
        self.algo_ensemble = [algo for algo in self.algo_ensemble if algo is not None]
        if not self.algo_ensemble:
            raise LandmarkError("no fold has a trained algorithm. Train at least one before ensembling.")

    def __call__(self, pred_param: dict[str, Any] | None = None) -> list[LandmarkSet]:
        """
        Predict the landmarks of every image.

        Args:
            pred_param: ``infer_files`` and ``files_slices`` as for MONAI's ensembles; ``output_dir``, where
                one ``<case>.mrk.json`` each is written; ``device``.

        Returns:
            the landmarks of each image, in the order of the files.
        """
        param = {} if pred_param is None else dict(pred_param)
        files = param.get("infer_files", self.infer_files)[param.get("files_slices", slice(None))]
        folders = [algo[AlgoKeys.ALGO].get_output_path() for algo in self.algo_ensemble]
        predictor = LandmarkPredictor(folders, param.get("device"), trust=True)
        results = []
        for file in files:
            image = file["image"] if isinstance(file, dict) else file
            results.append(predictor.predict(image))
            if "output_dir" in param:
                write_landmarks(prediction_path(param["output_dir"], image), results[-1])
        return results
