"""Every operator that boards run, alone: right on the kernels, and as large as the planner says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from firmware_interface.compiler import compile_segment, lower
from tests.firmware_interface.compiled import from_wire, on_wire, random_input, run_on_kernels, run_ort
from tests.firmware_interface.kernel_host import KernelHost
from tests.firmware_interface.one_operator import CASES, OneOperator, build_model
from tests.firmware_interface.planned import board_of, planned
from tests.firmware_interface.record_machine import RecordMachine

INT8 = [c for c in CASES if c.int8]
FLOAT = [c for c in CASES if c.float32]


@pytest.fixture(scope="module")
def host() -> Iterator[KernelHost]:
    with KernelHost() as running:
        yield running


def named(case: OneOperator) -> str:
    return case.name


@pytest.mark.parametrize("unsigned", [False, True], ids=["int8", "uint8"])
@pytest.mark.parametrize("case", INT8, ids=named)
def test_integers_are_within_one_step_of_onnx_runtime(host: KernelHost, case: OneOperator, unsigned: bool) -> None:
    model = build_model(case, quantized=True, unsigned=unsigned)
    segment, lowered = compile_segment(model, board=""), lower(model)
    rng = np.random.default_rng(1)
    values = {t.name: random_input(rng, t) for t in segment.inputs}
    data = [on_wire(values[t.name], t) for t in segment.inputs]
    made = run_on_kernels(host, lowered, data)
    assert made == RecordMachine(lowered).run(data)
    for tensor, raw, wanted in zip(segment.outputs, made, run_ort(model, values), strict=True):
        assert np.abs(from_wire(raw, tensor).astype(int) - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize("case", FLOAT, ids=named)
def test_float32_is_within_1e5_of_the_largest_output(host: KernelHost, case: OneOperator) -> None:
    model = build_model(case, quantized=False)
    segment = compile_segment(model, board="")
    rng = np.random.default_rng(1)
    values = {t.name: random_input(rng, t) for t in segment.inputs}
    made = run_on_kernels(host, lower(model), [on_wire(values[t.name], t) for t in segment.inputs])
    for tensor, raw, wanted in zip(segment.outputs, made, run_ort(model, values), strict=True):
        np.testing.assert_allclose(from_wire(raw, tensor), wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_planner_knows_what_an_operator_takes(tmp_path: Path, case: OneOperator, dtype: str) -> None:
    if not (case.float32 if dtype == "float32" else case.int8):
        return
    path = tmp_path / "one.onnx"
    onnx.save(build_model(case, quantized=dtype != "float32", unsigned=dtype == "uint8"), path)
    found = planned(path, board_of("posix", 1 << 20, 1 << 20))
    use, image = found.plan.score.memory_bytes["b0"], found.images["b0"]
    assert (use.flash_bytes, use.arena_bytes) == (image.flash_bytes, image.ram_bytes)
    assert image.scratch_in_arena == (image.scratch_bytes > 0)
