"""Types of all tensors: ONNX's own inference first, and node by node where that gives up.

The second pass knows some operators outside the standard (quantized ones of ONNX Runtime), computes values
that are fixed by the shapes (arithmetic on Shape results that ONNX's data propagation does not cover), and
falls back on the types that the file declares.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import (
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
    helper,
    numpy_helper,
    shape_inference,
)

from optimizer.errors import ModelError
from optimizer.onnx_contrib import contrib_types
from optimizer.onnx_nodes import DEFAULT_DOMAINS, RANDOM_OPERATORS, attribute, node_uses
from optimizer.onnx_types import TensorType

__all__ = ["infer_body_types", "infer_types"]

_VALUE_ELEMENTS = 4096
"""Largest value that is computed ahead: shapes, axes and indices are far smaller."""

_NOT_EVALUATED = (
    ArithmeticError,  # Range whose step is zero
    LookupError,  # Gather beyond the end; Cast to a type that NumPy has not
    MemoryError,  # a shape that no machine holds, where inference gave none to be warned by
    RuntimeError,  # its own complaints: a missing attribute, types that differ, no such operator
    TypeError,  # a form of the operator that it lacks: Unsqueeze with axes as an attribute, say
    ValueError,  # shapes that do not fit each other
)
"""What ONNX's reference implementation is seen to raise where it lacks a case, or the case makes no sense."""

_Values = dict[str, npt.NDArray[np.generic]]


def infer_types(skeleton: ModelProto) -> dict[str, TensorType]:
    """Types by tensor name; a tensor that cannot be inferred has no shape or is missing.

    ``skeleton`` is sorted and has fixed input shapes; it is not changed. Types that its ``value_info`` and
    outputs declare are used only where inference gives up, because files carry stale ones.
    """
    bare = ModelProto()
    bare.CopyFrom(skeleton)
    del bare.graph.value_info[:]
    for value in bare.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    types = _whole_model(bare)
    if _is_open(bare, types):
        declared = {v.name: v for v in (*skeleton.graph.value_info, *skeleton.graph.output)}
        _node_by_node(bare, types, declared)
    return types


def infer_body_types(
    model: ModelProto, body: onnx.GraphProto, given: Mapping[str, TensorType]
) -> dict[str, TensorType]:
    """Types inside a body of If, Loop or Scan, from those of its inputs and captured tensors."""
    inner = ModelProto(ir_version=model.ir_version)
    inner.opset_import.extend(model.opset_import)
    inner.graph.CopyFrom(body)
    del inner.graph.input[:]
    local = {t.name for t in body.initializer}
    inner.graph.input.extend(_value_info(n, t) for n, t in given.items() if n not in local)
    return _whole_model(inner)


def _whole_model(model: ModelProto) -> dict[str, TensorType]:
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError) as e:
        raise ModelError(
            "shape inference fails",
            where=model.graph.name,
            expected="a valid ONNX graph",
            got=" ".join(str(e).split())[:300],
            hint="Check the file with `onnx.checker.check_model(path, full_check=True)`.",
        ) from e
    # An output may be an input too; the output's declaration was stripped of its shape.
    declared = (*inferred.output, *inferred.value_info, *inferred.input)
    types = {value.name: _tensor_type(value.type) for value in declared}
    types.update((t.name, TensorType(t.data_type, tuple(t.dims))) for t in inferred.initializer)
    return types


def _is_open(model: ModelProto, types: Mapping[str, TensorType]) -> bool:
    return any(name and not _is_known(types, name) for node in model.graph.node for name in node.output)


def _is_known(types: Mapping[str, TensorType], name: str) -> bool:
    return name in types and types[name].shape is not None and types[name].elem_type != 0


def _node_by_node(model: ModelProto, types: dict[str, TensorType], declared: Mapping[str, ValueInfoProto]) -> None:
    values: _Values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        outputs = [name for name in node.output if name]
        if not all(_is_known(types, name) for name in outputs):
            for name, inferred in _node_types(model, node, types, values).items():
                if not _is_known(types, name):
                    types[name] = inferred
        # After the types: they say which values are too large to be computed.
        found = _values(model, node, types, values)
        values.update(found)
        for name, value in found.items():
            types[name] = TensorType(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name in outputs:
            if not _is_known(types, name) and name in declared:
                types[name] = _tensor_type(declared[name].type)


def _node_types(
    model: ModelProto, node: NodeProto, types: Mapping[str, TensorType], values: _Values
) -> Mapping[str, TensorType]:
    uses = node_uses(node)
    if not all(_is_known(types, name) for name in uses):
        return {}
    by_rule = contrib_types(node, types)
    if by_rule is not None:
        return by_rule
    if node.op_type == "Loop" and node.domain in DEFAULT_DOMAINS:
        return _loop_types(model, node, types)
    version = next((o.version for o in model.opset_import if o.domain == node.domain), 0)
    if not onnx.defs.has(node.op_type, version, node.domain):
        return {}
    try:
        inferred = shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, version, node.domain),
            node,
            {name: _value_info(name, types[name]).type for name in uses},
            {n: numpy_helper.from_array(values[n], n) for n in node.input if n in values},
            opset_imports=list(model.opset_import),
            ir_version=model.ir_version,
        )
    except (onnx.checker.ValidationError, shape_inference.InferenceError, RuntimeError, ValueError):
        return {}  # left open: whoever needs the type reports it with the name of the tensor
    return {name: _tensor_type(found) for name, found in inferred.items()}


def _loop_types(model: ModelProto, node: NodeProto, types: Mapping[str, TensorType]) -> Mapping[str, TensorType]:
    """Carried tensors whose type one turn does not change. (ONNX leaves them open, since a turn could.)"""
    body = attribute(node, "body", None)
    carried = list(node.input)[2:]
    given = {name: types[name] for name in node_uses(node)}
    given.update(zip((v.name for v in body.input[2:]), (types[name] for name in carried), strict=False))
    given.update((v.name, TensorType(v.type.tensor_type.elem_type, ())) for v in body.input[:2])
    inside = infer_body_types(model, body, given)
    kept = zip(node.output, carried, body.output[1:], strict=False)
    return {out: types[first] for out, first, last in kept if inside.get(last.name) == types[first]}


def _values(model: ModelProto, node: NodeProto, types: Mapping[str, TensorType], values: _Values) -> _Values:
    """The node's outputs where they are small and fixed by constants and shapes."""
    standard = node.domain in DEFAULT_DOMAINS
    if standard and node.op_type in ("Shape", "Size"):
        known = types.get(node.input[0])
        if known is None or known.shape is None:
            return {}
        if node.op_type == "Size":
            return {node.output[0]: np.array(known.elements, dtype=np.int64)}
        part = known.shape[attribute(node, "start", 0) : attribute(node, "end", None)]
        return {node.output[0]: np.array(part, dtype=np.int64)}
    if not standard or node.op_type in RANDOM_OPERATORS or any(name not in values for name in node_uses(node)):
        return {}
    sizes = [types[name].elements for name in node.output if _is_known(types, name)]
    if any(size > _VALUE_ELEMENTS for size in sizes):
        return {}
    return _evaluate(model, node, values)


def _evaluate(model: ModelProto, node: NodeProto, values: _Values) -> _Values:
    from onnx.reference import ReferenceEvaluator  # slow to import, needed for few models

    opsets = {o.domain: o.version for o in model.opset_import}
    try:
        with np.errstate(all="ignore"):  # a division by zero in somebody's file is no news for who plans it
            results = ReferenceEvaluator(node, opsets=opsets).run(None, {n: values[n] for n in node_uses(node)})
    except _NOT_EVALUATED:
        return {}  # its type may still be inferred
    found = {n: np.asarray(r) for n, r in zip(node.output, results, strict=False) if n}
    return {n: v for n, v in found.items() if v.size <= _VALUE_ELEMENTS and v.dtype != object}


def _tensor_type(proto: TypeProto) -> TensorType:
    if not proto.HasField("tensor_type"):
        return TensorType(0, None)
    tensor = proto.tensor_type
    if not tensor.HasField("shape"):
        return TensorType(tensor.elem_type, None)
    dims = tensor.shape.dim
    if not all(d.HasField("dim_value") and d.dim_value >= 0 for d in dims):
        return TensorType(tensor.elem_type, None)
    return TensorType(tensor.elem_type, tuple(d.dim_value for d in dims))


def _value_info(name: str, known: TensorType) -> ValueInfoProto:
    shape = None if known.shape is None else list(known.shape)
    return helper.make_tensor_value_info(name, known.elem_type or TensorProto.UNDEFINED, shape)
