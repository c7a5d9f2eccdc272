"""Quantized models: what crosses a cut is int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from optimizer.onnx_model import load_graph
from tests.optimizer.onnx_builders import (
    constant,
    make_model,
    node,
    prepared_nodes,
    save,
    tensor,
)
from tests.optimizer.onnx_reading import input_names, load, operator, split_everywhere


def qdq(name: str, source: str, scale: str = "s", zero: str = "z") -> list[onnx.NodeProto]:
    return [
        node("QuantizeLinear", [source, scale, zero], [f"{name}_q"], name=f"{name}_quantize"),
        node("DequantizeLinear", [f"{name}_q", scale, zero], [f"{name}_d"], name=f"{name}_dequantize"),
    ]


def qdq_model() -> ModelProto:
    rng = np.random.default_rng(0)
    weights = [
        constant("s", 0.05, "float32"),
        constant("z", 0, "int8"),
        constant("ws", 0.02, "float32"),
        constant("w_q", rng.integers(-127, 128, (4, 3, 3, 3)), "int8"),
        constant("v_q", rng.integers(-127, 128, (4, 4, 1, 1)), "int8"),
    ]
    nodes = [
        *qdq("x", "x"),
        node("DequantizeLinear", ["w_q", "ws", "z"], ["w"]),
        node("Conv", ["x_d", "w"], ["a"], name="first", pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["a_r"], name="first_relu"),
        *qdq("a", "a_r"),
        node("DequantizeLinear", ["v_q", "ws", "z"], ["v"]),
        node("Conv", ["a_d", "v"], ["b"], name="second"),
        *qdq("b", "b"),
        node("Add", ["a_d", "b_d"], ["c"], name="add"),
        *qdq("c", "c"),
        node("GlobalAveragePool", ["c_d"], ["p"], name="pool"),
        *qdq("p", "p"),
        node("Identity", ["p_d"], ["y"], name="end"),
    ]
    return make_model(nodes, [tensor("x", 1, 3, 8, 8)], [tensor("y", 1, 4, 1, 1)], weights)


def test_a_qdq_model_sends_int8(tmp_path: Path) -> None:
    graph = load(qdq_model(), tmp_path)
    assert [op.name for op in graph.operators] == ["x_quantize", "first", "second", "add", "pool", "end"]
    between = [t for t in graph.tensors if t.producer is not None and not t.is_output]
    assert [t.name for t in between] == ["x_q", "a_q", "b_q", "c_q", "p_q"]
    assert {t.dtype for t in between} == {"int8"}
    assert graph.operator_by_name["first"].weight_bytes == 4 * 27 + 2 * 4 + 1
    assert graph.operator_by_name["first"].macs == 64 * 4 * 27
    assert input_names(graph, graph.operator_by_name["add"]) == ["a_q", "b_q"]
    split_everywhere(graph, tmp_path)


def test_a_dequantised_output_is_an_operator_and_its_other_readers_get_int8(tmp_path: Path) -> None:
    weights = [constant("s", 0.05, "float32"), constant("z", 0, "int8")]
    nodes = [*qdq("x", "x"), node("Relu", ["x_d"], ["y"], name="relu")]
    graph = load(make_model(nodes, [tensor("x", 1, 4)], [tensor("x_d", 1, 4), tensor("y", 1, 4)], weights), tmp_path)
    assert [op.name for op in graph.operators] == ["x_quantize", "x_dequantize", "relu"]
    assert input_names(graph, graph.operator_by_name["relu"]) == ["x_q"]
    split_everywhere(graph, tmp_path)


def test_quantized_operators_of_onnx_runtime(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = [
        constant("s", 0.05, "float32"),
        constant("z", 3, "uint8"),
        constant("w", rng.integers(0, 255, (4, 3, 1, 1)), "uint8"),
        constant("g", rng.integers(0, 255, (4, 5)), "uint8"),
    ]
    sz = ["s", "z"]
    ms = "com.microsoft"
    nodes = [
        node("QLinearConv", ["x", *sz, "w", *sz, *sz], ["a"]),
        node("QLinearAdd", ["a", *sz, "a", *sz, *sz], ["b"], domain=ms),
        node("QLinearConcat", [*sz, "a", *sz, "b", *sz], ["c"], domain=ms, axis=2),
        node("QLinearAveragePool", ["c", *sz, *sz], ["d"], domain=ms, kernel_shape=[2, 2]),
        node("QLinearGlobalAveragePool", ["d", *sz, *sz], ["e"], domain=ms),
        node("Flatten", ["e"], ["f"]),
        node("QGemm", ["f", *sz, "g", *sz, "", *sz], ["h"], domain=ms, transB=0, alpha=1.0),
        node("DequantizeLinear", ["h", *sz], ["y"]),
    ]
    u8 = TensorProto.UINT8
    # The domain com.microsoft is used without being imported, as some tools leave it.
    model = make_model(nodes, [tensor("x", 1, 3, 4, 4, dtype=u8)], [tensor("y", 1, 5)], weights)
    graph = load(model, tmp_path)
    shapes = {t.name: (t.shape, t.dtype) for t in graph.tensors}
    assert shapes["c"] == ((1, 4, 8, 4), "uint8")
    assert shapes["d"] == ((1, 4, 7, 3), "uint8")
    assert shapes["h"] == ((1, 5), "uint8")
    assert operator(graph, "QLinearConv").macs == 16 * 4 * 3
    assert operator(graph, "QGemm").macs == 4 * 5
    assert graph.warnings == ()
    model.opset_import.append(helper.make_opsetid(ms, 1))
    split_everywhere(load(model, tmp_path), tmp_path)


def test_the_same_file_gives_the_same_graph(tmp_path: Path) -> None:
    path = save(qdq_model(), tmp_path / "model.onnx")
    assert load_graph(path) == load_graph(str(path))
    assert prepared_nodes(path) == [n.op_type for n in qdq_model().graph.node]
