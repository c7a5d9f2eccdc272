"""Output types of common operators outside the ONNX standard, as ONNX Runtime's tools write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, shape_inference

from optimizer.onnx_nodes import attribute
from optimizer.onnx_types import TensorType

__all__ = ["KNOWN_CONTRIB", "contrib_types"]

_Types = Mapping[str, TensorType]
_Rule = Callable[[NodeProto, _Types], TensorType | None]


def contrib_types(node: NodeProto, types: _Types) -> Mapping[str, TensorType] | None:
    """Type of the node's first output; None where the operator is not one of ours. Its inputs are known."""
    rule = _RULES.get(node.op_type) if node.domain == "com.microsoft" else None
    found = rule(node, types) if rule else None
    return None if found is None else {node.output[0]: found}


def _like_first(node: NodeProto, types: _Types) -> TensorType:
    return types[node.input[0]]


def _quantize(node: NodeProto, types: _Types) -> TensorType:
    zero_point = node.input[2] if len(node.input) > 2 else ""
    elem_type = types[zero_point].elem_type if zero_point else TensorProto.UINT8
    return TensorType(elem_type, types[node.input[0]].shape)


def _dequantize(node: NodeProto, types: _Types) -> TensorType:
    return TensorType(types[node.input[1]].elem_type, types[node.input[0]].shape)


def _broadcast(node: NodeProto, types: _Types) -> TensorType:
    """QLinearAdd, QLinearMul: a, a_scale, a_zero_point, b, ..."""
    first, second = types[node.input[0]], types[node.input[3]]
    return TensorType(first.elem_type, np.broadcast_shapes(first.shape or (), second.shape or ()))


def _qlinear_concat(node: NodeProto, types: _Types) -> TensorType:
    """y_scale, y_zero_point, then x, x_scale, x_zero_point for each part."""
    parts = [types[name] for name in node.input[2::3]]
    shape = list(parts[0].shape or ())
    axis = attribute(node, "axis", 0)
    shape[axis] = sum((part.shape or ())[axis] for part in parts)
    return TensorType(parts[0].elem_type, tuple(shape))


def _global_pool(node: NodeProto, types: _Types) -> TensorType:
    first = types[node.input[0]]
    shape = first.shape or ()
    ones = (1,) * (len(shape) - 2)
    last = bool(attribute(node, "channels_last", 0))
    return TensorType(first.elem_type, (shape[0], *ones, shape[-1]) if last else (*shape[:2], *ones))


def _qgemm(node: NodeProto, types: _Types) -> TensorType:
    """a, a_scale, a_zero_point, b, ..., c, y_scale, y_zero_point; without y_scale the result is float."""
    a, b = types[node.input[0]], types[node.input[3]]
    rows = (a.shape or ())[1 if attribute(node, "transA", 0) else 0]
    columns = (b.shape or ())[0 if attribute(node, "transB", 0) else 1]
    quantized = len(node.input) > 7 and bool(node.input[7])
    return TensorType(a.elem_type if quantized else TensorProto.FLOAT, (rows, columns))


def _matmul_nbits(node: NodeProto, types: _Types) -> TensorType:
    first = types[node.input[0]]
    return TensorType(first.elem_type, (*(first.shape or ())[:-1], attribute(node, "N", 0)))


def _attention(node: NodeProto, types: _Types) -> TensorType:
    first, weights = types[node.input[0]], types[node.input[1]]
    sizes = attribute(node, "qkv_hidden_sizes", None)
    hidden = sizes[2] if sizes else (weights.shape or ())[-1] // 3
    return TensorType(first.elem_type, (*(first.shape or ())[:-1], hidden))


def _multi_head_attention(node: NodeProto, types: _Types) -> TensorType:
    query = types[node.input[0]]
    value = types[node.input[2]] if len(node.input) > 2 and node.input[2] else query
    return TensorType(query.elem_type, (*(query.shape or ())[:-1], (value.shape or ())[-1]))


def _as_standard(op_type: str, inputs: tuple[int, ...], elem_type: int | None = None) -> _Rule:
    """The shape that a standard operator makes of some inputs; element type of the first, or as given."""

    def rule(node: NodeProto, types: _Types) -> TensorType | None:
        schema = onnx.defs.get_schema(op_type)
        names = [node.input[i] for i in inputs]
        plain = helper.make_node(op_type, names, [node.output[0]])
        plain.attribute.extend(a for a in node.attribute if a.name in schema.attributes)
        # The shape does not depend on the element type, and quantized ones are not allowed in every operator.
        given = {n: helper.make_tensor_type_proto(TensorProto.FLOAT, types[n].shape) for n in names}
        try:
            inferred = shape_inference.infer_node_outputs(schema, plain, given)
        except (onnx.checker.ValidationError, shape_inference.InferenceError, RuntimeError, ValueError):
            return None
        dims = inferred[node.output[0]].tensor_type.shape.dim
        shape = tuple(d.dim_value for d in dims)
        return TensorType(types[names[0]].elem_type if elem_type is None else elem_type, shape)

    return rule


_FLOAT = TensorProto.FLOAT
_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(("BiasGelu", "FastGelu", "Gelu", "QuickGelu", "SkipLayerNormalization"), _like_first),
    **dict.fromkeys(("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"), _like_first),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _broadcast),
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "QLinearConcat": _qlinear_concat,
    "QLinearGlobalAveragePool": _global_pool,
    "QLinearAveragePool": _as_standard("AveragePool", (0,)),
    "QGemm": _qgemm,
    "FusedConv": _as_standard("Conv", (0, 1)),
    "FusedGemm": _as_standard("Gemm", (0, 1)),
    "DynamicQuantizeMatMul": _as_standard("MatMul", (0, 1), _FLOAT),
    "MatMulIntegerToFloat": _as_standard("MatMul", (0, 1), _FLOAT),
    "MatMulNBits": _matmul_nbits,
    "Attention": _attention,
    "MultiHeadAttention": _multi_head_attention,
}

KNOWN_CONTRIB = frozenset(_RULES)
"""Operators of the domain com.microsoft that are known here."""
