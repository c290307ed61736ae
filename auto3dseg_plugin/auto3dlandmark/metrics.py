# SPDX-License-Identifier: Apache-2.0
"""Radial error, for MONAI's engines."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric

__all__ = ["RadialErrorMetric"]


class RadialErrorMetric(CumulativeIterationMetric):
    """
    Mean radial error (MRE) in millimetres over all cases and landmarks that have a true point.

    ``__call__(y_pred, y)`` takes lists of points, RAS millimetres, shape (N, 3), one per case; NaN in ``y``
    marks what is not annotated and does not count.
    """

    def _compute_tensor(
        self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        if y is None or y_pred.shape != y.shape:
            shapes = f"{tuple(y_pred.shape)} and {None if y is None else tuple(y.shape)}"
            raise ValueError(f"predicted and true points differ in shape: {shapes}.")
        offset = y_pred.double() - y.to(y_pred.device).double()
        errors: torch.Tensor = torch.linalg.vector_norm(offset, dim=-1)
        return errors

    def aggregate(self) -> torch.Tensor:
        """
        The MRE as a 0-dimensional tensor; infinity when no landmark of any case is annotated.
        """
        errors = self.get_buffer()
        if not isinstance(errors, torch.Tensor):
            raise ValueError("there are no errors to average yet: call the metric on some cases first.")
        known = errors[~errors.isnan()]
        return known.mean() if known.numel() else torch.tensor(float("inf"))
