"""Multiply-accumulate operations of single ONNX nodes, from the shapes of their tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from optimizer.onnx_contrib import KNOWN_CONTRIB
from optimizer.onnx_nodes import DEFAULT_DOMAINS, attribute, subgraphs
from optimizer.onnx_shapes import infer_body_types
from optimizer.onnx_types import TensorType

__all__ = ["is_known_operator", "node_macs"]

_Types = Mapping[str, TensorType]
_Count = Callable[[NodeProto, _Types], int]


def is_known_operator(node: NodeProto) -> bool:
    """Whether edgecut knows what the operator computes; if not, its cost is estimated by bytes alone."""
    if node.domain == "com.microsoft":
        return node.op_type in KNOWN_CONTRIB or node.op_type in _COUNTS
    return onnx.defs.has(node.op_type, "" if node.domain in DEFAULT_DOMAINS else node.domain)


def node_macs(node: NodeProto, types: _Types, model: ModelProto) -> int:
    """MACs of one run; 0 for what moves or transforms elements one by one, and where shapes are unknown.

    Control flow: If counts its dearest branch, Scan its body times the sequence length, Loop its body times
    the trip count where that is a constant, else once.
    """
    if any(True for _ in subgraphs(node)):
        return _control_flow(node, types, model)
    count = _COUNTS.get(node.op_type)
    return 0 if count is None else count(node, types)


def _shape(node: NodeProto, index: int, types: _Types) -> tuple[int, ...]:
    """Shape of an input; () where it is absent or unknown."""
    name = node.input[index] if index < len(node.input) else ""
    return (types[name].shape or ()) if name in types else ()


def _output(node: NodeProto, types: _Types) -> TensorType:
    return types.get(node.output[0], TensorType(0, None))


def _convolution(weight: int) -> _Count:
    def count(node: NodeProto, types: _Types) -> int:
        # The weight's second dimension is the input channels of one group, so groups are counted right.
        kernel = _shape(node, weight, types)
        return _output(node, types).elements * math.prod(kernel[1:]) if kernel else 0

    return count


def _transposed_convolution(node: NodeProto, types: _Types) -> int:
    data, kernel = _shape(node, 0, types), _shape(node, 1, types)
    return math.prod(data) * math.prod(kernel[1:]) if data and kernel else 0


def _matmul(node: NodeProto, types: _Types) -> int:
    inner = _shape(node, 0, types)
    transposed = attribute(node, "transA", 0) and len(inner) > 1
    return _output(node, types).elements * inner[-2 if transposed else -1] if inner else 0


def _recurrent(node: NodeProto, types: _Types) -> int:
    """LSTM, GRU, RNN: every step multiplies each weight matrix once per sample of the batch."""
    data, weights, recurrence = (_shape(node, i, types) for i in range(3))
    return math.prod(data[:2]) * (math.prod(weights) + math.prod(recurrence)) if data else 0


def _attention(node: NodeProto, types: _Types) -> int:
    """Standard Attention: scores and their product with the values; 3-d and 4-d layouts alike."""
    if node.domain not in DEFAULT_DOMAINS:
        return 0
    query, keys, past = _shape(node, 0, types), _shape(node, 1, types), _shape(node, 4, types)
    if len(keys) < 3:
        return 0
    length = keys[-2] + (past[-2] if len(past) > 2 else 0)
    return length * (math.prod(query) + _output(node, types).elements)


def _einsum(node: NodeProto, types: _Types) -> int:
    """Two or more operands: the product of all index sizes for each multiplication."""
    equation = attribute(node, "equation", b"").decode(errors="replace").replace(" ", "")
    sizes: dict[str, int] = {}
    for index, labels in enumerate(equation.split("->")[0].split(",")):
        shape = _shape(node, index, types)
        named = labels.replace("...", "")
        hidden = len(shape) - len(named)
        if hidden < 0 or (hidden > 0 and "..." not in labels):
            return 0
        # Axes under the dots are matched from the right; digits cannot be labels.
        dots = "".join(str(i) for i in range(hidden - 1, -1, -1))
        for label, size in zip(labels.replace("...", dots), shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    return math.prod(sizes.values()) * (len(node.input) - 1)


def _nbits(node: NodeProto, types: _Types) -> int:
    return _output(node, types).elements * int(attribute(node, "K", 0))


_COUNTS: Mapping[str, _Count] = {
    **dict.fromkeys(("Conv", "ConvInteger", "FusedConv"), _convolution(1)),
    "QLinearConv": _convolution(3),
    "DeformConv": _convolution(1),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm", "MatMul", "FusedMatMul", "MatMulInteger"), _matmul),
    **dict.fromkeys(("QLinearMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"), _matmul),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    "Attention": _attention,
    "Einsum": _einsum,
    "MatMulNBits": _nbits,
}


def _control_flow(node: NodeProto, types: _Types, model: ModelProto) -> int:
    bodies = [_body_macs(body, _body_inputs(node, body, types), model) for body in subgraphs(node)]
    return max(bodies) * _turns(node, types, model)


def _turns(node: NodeProto, types: _Types, model: ModelProto) -> int:
    if node.op_type == "Scan":
        return next((t.shape[0] for t in _scanned(node, types) if t.shape), 1)
    if node.op_type == "Loop" and node.input[0]:
        return _constant_scalar(node.input[0], model) or 1
    return 1


def _constant_scalar(name: str, model: ModelProto) -> int | None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            return int(np.ravel(numpy_helper.to_array(tensor))[0])
    for node in model.graph.node:
        if name in node.output and node.op_type == "Constant":
            value = attribute(node, "value", None)
            return int(np.ravel(numpy_helper.to_array(value))[0]) if value is not None else None
    return None


def _scanned(node: NodeProto, types: _Types) -> list[TensorType]:
    count = int(attribute(node, "num_scan_inputs", 0))
    return [types[n] for n in list(node.input)[len(node.input) - count :] if n in types]


def _body_inputs(node: NodeProto, body: GraphProto, types: _Types) -> dict[str, TensorType]:
    """Types by name in the body: everything outside, and the body's own inputs."""
    given = dict(types)
    scanned = int(attribute(node, "num_scan_inputs", 0)) if node.op_type == "Scan" else 0
    for index, value in enumerate(body.input):
        declared = value.type.tensor_type
        outer = node.input[index] if index < len(node.input) else ""
        known = types.get(outer, TensorType(declared.elem_type, None))
        if node.op_type == "Loop" and index < 2:
            known = TensorType(declared.elem_type, ())
        elif index >= len(body.input) - scanned and known.shape:
            known = TensorType(known.elem_type, known.shape[1:])
        given[value.name] = known
    return given


def _body_macs(body: GraphProto, given: dict[str, TensorType], model: ModelProto) -> int:
    if not any(inner.op_type in _COUNTS or any(True for _ in subgraphs(inner)) for inner in body.node):
        return 0
    inside = {**given, **infer_body_types(model, body, given)}
    return sum(node_macs(inner, inside, model) for inner in body.node)
