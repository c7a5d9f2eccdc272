"""MACs of single operators against counts worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import NodeProto, TensorProto, ValueInfoProto

from optimizer.onnx_model import load_graph
from tests.optimizer.onnx_builders import constant, make_model, node, save, tensor, weight

U8 = TensorProto.UINT8
I32 = TensorProto.INT32
SZ = ["s", "z"]
MS = "com.microsoft"

CASES: dict[str, tuple[NodeProto, list[ValueInfoProto], ValueInfoProto, int]] = {
    "convolution, stride 2": (
        node("Conv", ["x", "w"], ["y"], strides=[2, 2]),
        [tensor("x", 1, 3, 9, 9), tensor("w", 8, 3, 3, 3)],
        tensor("y", 1, 8, 4, 4),
        16 * 8 * 27,
    ),
    "grouped convolution": (
        node("Conv", ["x", "w"], ["y"], group=4, pads=[0, 1, 2, 1]),
        [tensor("x", 2, 8, 5, 5), tensor("w", 12, 2, 3, 3)],
        tensor("y", 2, 12, 5, 5),
        2 * 25 * 12 * 18,
    ),
    "one-dimensional convolution": (
        node("Conv", ["x", "w"], ["y"]),
        [tensor("x", 1, 4, 10), tensor("w", 6, 4, 3)],
        tensor("y", 1, 6, 8),
        8 * 6 * 12,
    ),
    "transposed convolution": (
        node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
        [tensor("x", 1, 4, 5, 5), tensor("w", 4, 6, 2, 2)],
        tensor("y", 1, 6, 10, 10),
        25 * 4 * 6 * 4,
    ),
    "Gemm": (
        node("Gemm", ["x", "w"], ["y"], transB=1),
        [tensor("x", 3, 7), tensor("w", 5, 7)],
        tensor("y", 3, 5),
        3 * 5 * 7,
    ),
    "Gemm of a transposed matrix": (
        node("Gemm", ["x", "w"], ["y"], transA=1),
        [tensor("x", 7, 3), tensor("w", 7, 5)],
        tensor("y", 3, 5),
        3 * 5 * 7,
    ),
    "batched MatMul": (
        node("MatMul", ["x", "w"], ["y"]),
        [tensor("x", 2, 1, 3, 7), tensor("w", 4, 7, 5)],
        tensor("y", 2, 4, 3, 5),
        2 * 4 * 3 * 5 * 7,
    ),
    "MatMul of vectors": (
        node("MatMul", ["x", "w"], ["y"]), [tensor("x", 7), tensor("w", 7)], tensor("y"), 7
    ),
    "MatMulInteger": (
        node("MatMulInteger", ["x", "w"], ["y"]),
        [tensor("x", 3, 7, dtype=U8), tensor("w", 7, 5, dtype=U8)],
        tensor("y", 3, 5, dtype=I32),
        3 * 5 * 7,
    ),
    "ConvInteger": (
        node("ConvInteger", ["x", "w"], ["y"]),
        [tensor("x", 1, 3, 4, 4, dtype=U8), tensor("w", 2, 3, 2, 2, dtype=U8)],
        tensor("y", 1, 2, 3, 3, dtype=I32),
        9 * 2 * 12,
    ),
    "QLinearConv": (
        node("QLinearConv", ["x", *SZ, "w", *SZ, *SZ], ["y"]),
        [tensor("x", 1, 3, 4, 4, dtype=U8), tensor("w", 2, 3, 2, 2, dtype=U8)],
        tensor("y", 1, 2, 3, 3, dtype=U8),
        9 * 2 * 12,
    ),
    "QLinearMatMul": (
        node("QLinearMatMul", ["x", *SZ, "w", *SZ, *SZ], ["y"]),
        [tensor("x", 3, 7, dtype=U8), tensor("w", 7, 5, dtype=U8)],
        tensor("y", 3, 5, dtype=U8),
        3 * 5 * 7,
    ),
    "GRU, both directions": (
        node("GRU", ["x", "w", "r"], ["y"], hidden_size=4, direction="bidirectional"),
        [tensor("x", 5, 2, 3), tensor("w", 2, 12, 3), tensor("r", 2, 12, 4)],
        tensor("y", 5, 2, 2, 4),
        5 * 2 * 2 * 12 * (3 + 4),
    ),
    "Einsum as a batched product": (
        node("Einsum", ["x", "w"], ["y"], equation="bij, bjk -> bik"),
        [tensor("x", 2, 3, 7), tensor("w", 2, 7, 5)],
        tensor("y", 2, 3, 5),
        2 * 3 * 5 * 7,
    ),
    "Einsum with dots": (
        node("Einsum", ["x", "w"], ["y"], equation="...ij,jk->...ik"),
        [tensor("x", 2, 4, 3, 7), tensor("w", 7, 5)],
        tensor("y", 2, 4, 3, 5),
        2 * 4 * 3 * 5 * 7,
    ),
    "Einsum that only transposes": (
        node("Einsum", ["x"], ["y"], equation="ij->ji"), [tensor("x", 2, 3)], tensor("y", 3, 2), 0
    ),
    "Attention with separate heads": (
        node("Attention", ["x", "w", "v"], ["y"]),
        [tensor("x", 1, 2, 3, 8), tensor("w", 1, 2, 5, 8), tensor("v", 1, 2, 5, 4)],
        tensor("y", 1, 2, 3, 4),
        2 * 3 * 5 * (8 + 4),
    ),
    "Attention with joined heads": (
        node("Attention", ["x", "w", "v"], ["y"], q_num_heads=2, kv_num_heads=2),
        [tensor("x", 1, 3, 16), tensor("w", 1, 5, 16), tensor("v", 1, 5, 8)],
        tensor("y", 1, 3, 8),
        3 * 5 * (16 + 8),
    ),
    "FusedConv": (
        node("FusedConv", ["x", "w"], ["y"], domain=MS, activation="Relu"),
        [tensor("x", 1, 3, 4, 4), tensor("w", 2, 3, 2, 2)],
        tensor("y", 1, 2, 3, 3),
        9 * 2 * 12,
    ),
    "DynamicQuantizeMatMul": (
        node("DynamicQuantizeMatMul", ["x", "w", "s", "z"], ["y"], domain=MS),
        [tensor("x", 3, 7), tensor("w", 7, 5, dtype=U8)],
        tensor("y", 3, 5),
        3 * 5 * 7,
    ),
    "MatMulNBits": (
        node("MatMulNBits", ["x", "w", "s"], ["y"], domain=MS, K=32, N=5, bits=4, block_size=32),
        [tensor("x", 3, 32), tensor("w", 5, 1, 16, dtype=U8)],
        tensor("y", 3, 5),
        3 * 5 * 32,
    ),
    "pooling moves bytes only": (
        node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2]), [tensor("x", 1, 3, 4, 4)], tensor("y", 1, 3, 3, 3), 0
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_macs(case: str, tmp_path: Path) -> None:
    made, inputs, output, macs = CASES[case]
    scales = [constant("s", 0.5, "float32"), constant("z", 3, "uint8")]
    found = output.type.tensor_type
    open_output = tensor("y", *(f"d{axis}" for axis, _ in enumerate(found.shape.dim)), dtype=found.elem_type)
    model = make_model([made], inputs, [open_output], scales, opset=23, ir=11, domains={MS: 1})
    graph = load_graph(save(model, tmp_path / "m.onnx"))
    result = graph.tensors[graph.outputs[0]]
    assert list(result.shape) == [d.dim_value for d in found.shape.dim]
    assert graph.macs == macs
    assert graph.warnings == ()


def test_weights_that_are_computed_still_count(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["w"], ["wt"]), node("MatMul", ["x", "wt"], ["y"])]
    model = make_model(nodes, [tensor("x", 2, 8)], [tensor("y", 2, 3)], [weight("w", 3, 8)])
    graph = load_graph(save(model, tmp_path / "m.onnx"))
    assert [op.macs for op in graph.operators] == [2 * 3 * 8]
    assert graph.operators[0].weight_bytes == 96
