# SPDX-License-Identifier: Apache-2.0
"""Seconds of a window on a CPU by what computes it: PyTorch as it is, and OpenVINO.

    pip install openvino nncf && python tests/benchmarks/cpu_inference.py

The network is ``small`` with weights that have learnt nothing; 8 bits are calibrated on noise. Errors are of
the logits, as a share of their spread, against PyTorch in float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import fire
import numpy as np
import torch
from monai.bundle import ConfigParser

from auto3dlandmark.inferers.autocast import AutocastInferer
from auto3dlandmark.networks.norm import keep_layout
from auto3dlandmark.planning.nnunet_rules import configure
from auto3dlandmark.planning.presets import PRESETS, network_def

Run = Callable[[torch.Tensor], np.ndarray]


def small(window: Sequence[int], landmarks: int) -> torch.nn.Module:
    """The network of a plan for images of this size."""
    size = np.array(window, dtype=float)
    shape = configure(PRESETS["small"], np.ones(3), size, 1000, landmarks, 8)
    definition = network_def(PRESETS["small"], shape.strides, shape.kernel_sizes, landmarks)
    torch.manual_seed(0)
    parser = ConfigParser({"imports": ["$import torch"], "network_def": definition})
    network: torch.nn.Module = parser.get_parsed_content("network_def")
    return network.eval()


def in_torch(network: torch.nn.Module, half: bool) -> Run:
    """As predictions are made, in bfloat16 where the machine has it, or in float32."""
    ready = keep_layout(network).to(memory_format=torch.channels_last_3d)
    inferer = AutocastInferer(enabled=half)

    def run(window: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(inferer(window, ready))

    return run


def in_openvino(network: torch.nn.Module, window: torch.Tensor, precision: str) -> Run:
    """By OpenVINO, in the precision f32, bf16 or int8."""
    import openvino

    model = openvino.convert_model(network, example_input=window, input=[tuple(window.shape)])
    if precision == "int8":
        import nncf

        samples = [torch.randn_like(window).numpy() for _ in range(4)]
        model = nncf.quantize(model, nncf.Dataset(samples))
    hint = {"INFERENCE_PRECISION_HINT": "f32" if precision == "f32" else "bf16"}
    compiled = openvino.Core().compile_model(model, "CPU", hint)
    return lambda one: np.asarray(compiled(one.numpy())[0])


def main(window: Sequence[int] = (96, 96, 80), landmarks: int = 45, repeats: int = 5) -> None:
    """
    Print the table.

    Args:
        window: voxels.
        landmarks: channels of the network.
        repeats: of which the fastest counts.
    """
    noise = torch.randn(1, 1, *window)
    ways: dict[str, Callable[[], Run]] = {
        "PyTorch float32": lambda: in_torch(small(window, landmarks), False),
        "PyTorch as it predicts": lambda: in_torch(small(window, landmarks), True),
        "OpenVINO float32": lambda: in_openvino(small(window, landmarks), noise, "f32"),
        "OpenVINO bfloat16": lambda: in_openvino(small(window, landmarks), noise, "bf16"),
        "OpenVINO 8 bits": lambda: in_openvino(small(window, landmarks), noise, "int8"),
    }
    print(
        f"a window of {'x'.join(map(str, window))}, {landmarks} landmarks, {torch.get_num_threads()} threads"
    )
    exact = None
    for name, make in ways.items():
        try:
            run = make()
        except ImportError as error:
            print(f"{name:24} {error}")
            continue
        found = run(noise)
        seconds = []
        for _ in range(repeats):
            began = time.perf_counter()
            run(noise)
            seconds.append(time.perf_counter() - began)
        exact = found if exact is None else exact
        error = float(np.abs(found - exact).mean() / exact.std())
        print(f"{name:24}{min(seconds):8.3f} s   error {100 * error:.2f} %", flush=True)


if __name__ == "__main__":
    fire.Fire(main)
