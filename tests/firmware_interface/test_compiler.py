"""Sub-models as board images: kernels equal the integer reference bit for bit, and ONNX Runtime nearly so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from firmware_interface.compiler import compile_segment, lower
from optimizer.zoo import load_zoo_model, tiny_names
from tests.firmware_interface.compiled import from_wire, on_wire, random_input, run_on_board, run_on_kernels, run_ort
from tests.firmware_interface.kernel_host import KernelHost
from tests.firmware_interface.posix_board import PosixBoard, build
from tests.firmware_interface.record_machine import RecordMachine

INT8 = [name for name in tiny_names() if name.endswith("_int8")]
FLOAT = [name for name in tiny_names() if not name.endswith("_int8")]


@pytest.fixture(scope="module")
def host() -> Iterator[KernelHost]:
    with KernelHost() as running:
        yield running


@pytest.mark.parametrize("name", INT8)
def test_int8_networks_equal_the_integer_reference(host: KernelHost, name: str) -> None:
    model = load_zoo_model(name)
    segment, lowered = compile_segment(model, board=""), lower(model)
    values = random_input(np.random.default_rng(0), segment.inputs[0])
    data = [on_wire(values, segment.inputs[0])]
    made = run_on_kernels(host, lowered, data)
    assert made == RecordMachine(lowered).run(data)
    wanted = run_ort(model, {segment.inputs[0].name: values})[0]
    steps = np.abs(from_wire(made[0], segment.outputs[0]).astype(int) - wanted.astype(int))
    # Sixty operators between them: ONNX Runtime rounds halves to even and multiplies in float32.
    assert steps.max() <= (16 if "v2" in name else 1)


@pytest.mark.parametrize("name", FLOAT)
def test_float32_networks_are_within_1e5_of_the_largest_output(host: KernelHost, name: str) -> None:
    model = load_zoo_model(name)
    segment = compile_segment(model, board="")
    values = random_input(np.random.default_rng(0), segment.inputs[0])
    made = run_on_kernels(host, lower(model), [on_wire(values, segment.inputs[0])])
    wanted = run_ort(model, {segment.inputs[0].name: values})[0]
    np.testing.assert_allclose(from_wire(made[0], segment.outputs[0]), wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


def test_a_board_runs_the_image(tmp_path: Path) -> None:
    build("posix-sanitized")
    model = load_zoo_model("tiny_digits_int8")
    segment = compile_segment(model, board="posix")
    values = random_input(np.random.default_rng(1), segment.inputs[0])
    with PosixBoard(tmp_path) as board, board.client() as client:
        made = run_on_board(client, segment, [on_wire(values, segment.inputs[0])])
        assert len(client.operator_ticks()) == len(segment.records)
    assert made == RecordMachine(lower(model)).run([on_wire(values, segment.inputs[0])])


def test_records_belong_to_the_operators_of_the_plan() -> None:
    segment = compile_segment(load_zoo_model("tiny_digits_int8"), board="")
    assert segment.records == ("conv1", "pool1", "conv2", "pool2", "flatten", "classifier")
