"""A network behind the commands of a benchmark runner: the same numbers as the ordinary firmware makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from firmware_interface.compiler import compile_segment
from firmware_interface.eembc import BenchmarkClient, Inference
from firmware_interface.eembc_network import build_benchmark_firmware, network_source
from firmware_interface.errors import CompileError
from optimizer.zoo import load_zoo_model
from tests.firmware_interface.posix_board import BUILD, PosixBoard, build
from tests.needs import needs_program

KIND = "posix-sanitized"
Int8 = npt.NDArray[np.int8]


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    needs_program("make", "apt-get install make")
    build(KIND)


def scale(model: onnx.ModelProto, node: onnx.NodeProto) -> tuple[float, int]:
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return float(constants[node.input[1]]), int(constants[node.input[2]])


def outputs_of(model: onnx.ModelProto, values: Int8, folder: Path) -> npt.NDArray[np.float64]:
    """By the ordinary firmware, dequantized."""
    compiled = compile_segment(model, board="")
    with PosixBoard(folder) as board, board.client() as client:
        client.load(client.write_image(compiled.image).sha256)
        client.write_input(0, values.tobytes())
        client.run()
        made = client.read_output(0, compiled.outputs[0].size_bytes)
    factor, zero = scale(model, model.graph.node[-1])
    return (np.frombuffer(made, np.int8).astype(float) - zero) * factor


def inferred(task: str, model: onnx.ModelProto, stimulus: bytes, folder: Path) -> Inference:
    """By the firmware for runners: two inferences, so that the input outlives the first."""
    program = build_benchmark_firmware(BUILD, [KIND], task, model) / KIND / "board"
    with PosixBoard(folder, program=program) as board, BenchmarkClient(board.port(), KIND) as client:
        client.handshake()
        assert client.identify().profile == "edgecut: int8 network by its own kernels"
        client.load(stimulus)
        return client.infer(2, 1, 120.0)


def test_class_scores_are_those_of_the_ordinary_firmware(tmp_path: Path) -> None:
    model = load_zoo_model("tiny_dscnn_int8")
    values = np.random.default_rng(1).integers(-128, 128, 490, dtype=np.int8)
    found = inferred("kws01", model, values.tobytes(), tmp_path)
    expected = outputs_of(model, values, tmp_path)
    assert len(found.results) == 12
    assert len({round(v, 3) for v in expected}) > 1
    np.testing.assert_allclose(found.results, expected, atol=0.00051)


def test_pixels_are_taken_as_bytes(tmp_path: Path) -> None:
    model = load_zoo_model("tiny_resnet8_int8")
    pixels = np.random.default_rng(2).integers(0, 256, 3072, dtype=np.uint8)
    found = inferred("ic01", model, pixels.tobytes(), tmp_path)
    expected = outputs_of(model, (pixels.astype(int) - 128).astype(np.int8), tmp_path)
    np.testing.assert_allclose(found.results, expected, atol=0.00051)


def test_anomaly_score_is_the_mean_squared_error_of_the_floats(tmp_path: Path) -> None:
    model = load_zoo_model("tiny_autoencoder_int8")
    real = np.random.default_rng(3).normal(0, 2, 640).astype(np.float32)
    factor, zero = scale(model, model.graph.node[0])
    values = np.clip(np.rint(real / factor) + zero, -128, 127).astype(np.int8)
    found = inferred("ad01", model, real.tobytes(), tmp_path)
    expected = float(np.mean((real - outputs_of(model, values, tmp_path)) ** 2))
    assert found.results == pytest.approx([expected], rel=2e-3)


def test_a_model_of_another_shape_is_refused() -> None:
    with pytest.raises(CompileError, match="for ic01"):
        network_source(load_zoo_model("tiny_dscnn_int8"), "ic01")
    with pytest.raises(CompileError, match="for kws01"):
        network_source(load_zoo_model("tiny_dscnn"), "kws01")
