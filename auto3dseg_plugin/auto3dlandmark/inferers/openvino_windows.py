# SPDX-License-Identifier: Apache-2.0
"""Windows through OpenVINO on a CPU, where it is installed: the same numbers in half the time."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = ["FEWEST_WINDOWS", "openvino_network"]

FEWEST_WINDOWS = 16  # of one image: making a network ready takes as long as some windows


def openvino_network(
    network: torch.nn.Module, window: Sequence[int], dtype: torch.dtype | None
) -> Callable[[], Callable[[torch.Tensor], torch.Tensor]] | None:
    """
    What gives, anew for each image, what computes a network's windows as PyTorch does; None where OpenVINO is
    not installed, or does not know a layer.

    Args:
        network: takes (1, C, h, w, d).
        window: (1, C, h, w, d) of all windows.
        dtype: to compute in; None for float32.

    Source: measured by tests/benchmarks/cpu_inference.py: 1.9 times as fast, in float32 and in bfloat16.
    """
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino
    from openvino.frontend import FrontEndManager  # its convert_model may ask another package to tell usage
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    precision = "bf16" if dtype == torch.bfloat16 else "f32"
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that only windows of this size can be followed
            followed = torch.jit.trace(network.eval(), torch.randn(*window), check_trace=False)
            decoder = TorchScriptPythonDecoder(torch.jit.freeze(followed))
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
        model.reshape(list(window))
        compiled: Any = openvino.Core().compile_model(model, "CPU", hints)
    except Exception as error:  # whatever a converter of any version says; PyTorch can do it
        logging.getLogger(__name__).warning("OpenVINO cannot run this network (%s); PyTorch does.", error)
        return None

    def begin() -> Callable[[torch.Tensor], torch.Tensor]:
        request = compiled.create_infer_request()  # of its own: one cannot serve two threads
        return lambda one: torch.from_numpy(request.infer([one.contiguous().numpy()])[0].copy())

    return begin
