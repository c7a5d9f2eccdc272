"""Models as ONNX Runtime's quantizer leaves them: run on the kernels, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from firmware_interface.compiler import compile_segment, lower
from optimizer.mcu_coverage import uncovered
from tests.firmware_interface.compiled import from_wire, on_wire, random_input, run_on_kernels, run_ort
from tests.firmware_interface.kernel_host import KernelHost
from tests.firmware_interface.planned import board_of, planned, problem_over, row_of
from tests.firmware_interface.quantizer_models import attention, convolution_1d, normalized, parts, quantized

Build = Callable[[], onnx.ModelProto]


@pytest.mark.parametrize("unsigned", [False, True], ids=["int8", "uint8"])
@pytest.mark.parametrize("build", [normalized, parts])
def test_kernels_compute_what_onnx_runtime_does(tmp_path: Path, build: Build, unsigned: bool) -> None:
    model = quantized(build(), tmp_path / "m.onnx", unsigned=unsigned)
    segment = compile_segment(model, board="")
    values = {t.name: random_input(np.random.default_rng(2), t) for t in segment.inputs}
    with KernelHost() as host:
        made = run_on_kernels(host, lower(model), [on_wire(values[t.name], t) for t in segment.inputs])
    wanted = run_ort(model, values)[0]
    step = float(np.diff(np.unique(wanted)).min())
    assert np.abs(from_wire(made[0], segment.outputs[0]) - wanted).max() <= 2.01 * step


@pytest.mark.parametrize("boards", [1, 2, 3])
@pytest.mark.parametrize("unsigned", [False, True], ids=["int8", "uint8"])
@pytest.mark.parametrize("build", [normalized, parts])
def test_images_are_as_large_as_planned(tmp_path: Path, build: Build, unsigned: bool, boards: int) -> None:
    """Floats come in and go out; uint8 that crosses between boards is changed on both."""
    quantized(build(), tmp_path / "m.onnx", unsigned=unsigned)
    found = planned(tmp_path / "m.onnx", board_of("posix", 1 << 20, 1 << 20), boards)
    crossing = {found.problem.graph.tensors[t.tensor].dtype for t in found.plan.transfers}
    assert crossing == {"float32"} | ({"uint8" if unsigned else "int8"} if boards > 1 else set())
    for name, image in found.images.items():
        use = found.plan.score.memory_bytes[name]
        assert (use.flash_bytes, use.arena_bytes) == (image.flash_bytes, image.ram_bytes)
        entering = {t.name: t.size_bytes for t in found.plan.transfers if name in t.boards}
        assert all(entering[t.name] == t.size_bytes for t in (*image.inputs, *image.outputs))


@pytest.mark.parametrize("unsigned", [False, True], ids=["int8", "uint8"])
@pytest.mark.parametrize(
    ("build", "named", "takes"),
    [
        (attention, ("MatMul 'scores', 'mix' (int8)",), "by a constant matrix"),
        (convolution_1d, ("Conv 'conv' (int8)",), "as one of height 1"),
    ],
)
def test_what_no_kernel_takes_is_named(
    tmp_path: Path, build: Build, named: tuple[str, ...], takes: str, unsigned: bool
) -> None:
    quantized(build(), tmp_path / "m.onnx", unsigned=unsigned)
    _, problem = problem_over(tmp_path / "m.onnx", row_of(board_of("posix", 1 << 20, 1 << 20), 2))
    found = uncovered(problem)
    assert found is not None
    (clash,) = found.clashes
    assert all(name in clash.text for name in named)
    assert takes in clash.help
