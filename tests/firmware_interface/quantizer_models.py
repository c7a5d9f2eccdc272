"""Small networks as exporters make them, quantized by ONNX Runtime's quantizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

__all__ = ["attention", "convolution_1d", "normalized", "parts", "quantized"]

Floats = npt.NDArray[np.float32]
IMAGE = (1, 3, 8, 8)


def _random(*shape: int) -> Floats:
    return (0.3 * np.random.default_rng(len(shape)).standard_normal(shape)).astype(np.float32)


def _model(
    nodes: Sequence[NodeProto], constants: Mapping[str, Floats], shape: Sequence[int], result: Sequence[int]
) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)]
    kept = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "small", inputs, outputs, kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def normalized() -> onnx.ModelProto:
    """A convolution with a batch normalization behind it, and a head."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["n"], name="norm"),
        node("Relu", ["n"], ["r"], name="relu"),
        node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        node("Flatten", ["p"], ["f"], name="flat"),
        node("Gemm", ["f", "v", "b"], ["y"], name="head", transB=1),
    ]
    constants = {"w": _random(8, 3, 3, 3), "gamma": np.abs(_random(8)) + 0.5, "beta": _random(8), "mean": _random(8),
                 "variance": np.abs(_random(8)) + 0.5, "v": _random(4, 8), "b": _random(4)}  # fmt: skip
    return _model(nodes, constants, IMAGE, (1, 4))


def parts() -> onnx.ModelProto:
    """A convolution whose channels are split and multiplied again."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"], name="relu"),
        node("Split", ["r"], ["s", "t"], name="split", axis=1),
        node("Sigmoid", ["t"], ["u"], name="gate"),
        node("Mul", ["s", "u"], ["m"], name="product"),
        node("GlobalAveragePool", ["m"], ["y"], name="pool"),
    ]
    return _model(nodes, {"w": _random(8, 3, 3, 3), "b": _random(8)}, IMAGE, (1, 4, 1, 1))


def attention() -> onnx.ModelProto:
    """Products of two computed matrices."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["q"], name="query"),
        node("Transpose", ["x"], ["t"], name="turn", perm=[0, 2, 1]),
        node("MatMul", ["q", "t"], ["s"], name="scores"),
        node("Softmax", ["s"], ["a"], name="softmax"),
        node("MatMul", ["a", "x"], ["y"], name="mix"),
    ]
    return _model(nodes, {"w": _random(8, 8)}, (1, 6, 8), (1, 6, 8))


def convolution_1d() -> onnx.ModelProto:
    """A convolution over one axis."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1]),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    return _model(nodes, {"w": _random(8, 3, 3), "b": _random(8)}, (1, 3, 32), (1, 8, 32))


def quantized(model: onnx.ModelProto, path: Path, *, unsigned: bool) -> onnx.ModelProto:
    """The model in QDQ form, activations in uint8 or int8, weights in int8 by channel; also written to ``path``."""
    plain = path.with_suffix(".float.onnx")
    onnx.save(model, plain)
    kind = QuantType.QUInt8 if unsigned else QuantType.QInt8
    quantize_static(plain, path, _Pictures(model), per_channel=True, activation_type=kind, weight_type=QuantType.QInt8)
    return onnx.load(path)


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, model: onnx.ModelProto) -> None:
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        rng = np.random.default_rng(5)
        self._left: Iterator[Floats] = iter([rng.standard_normal(shape).astype(np.float32) for _ in range(8)])

    def get_next(self) -> dict[str, Floats] | None:
        values = next(self._left, None)
        return None if values is None else {"x": values}
