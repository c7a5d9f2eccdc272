"""ONNX files as the planner's Graph: ``load_graph`` is the way in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto

from optimizer.errors import ModelError
from optimizer.graph import BITS_PER_ELEMENT, Graph, Initializer, Operator, Tensor
from optimizer.onnx_file import OnnxModel, dtype_name, load_onnx, tensor_bytes
from optimizer.onnx_forms import operator_form
from optimizer.onnx_macs import is_known_operator, node_macs
from optimizer.onnx_nodes import DEFAULT_DOMAINS, attribute, body_weights
from optimizer.onnx_prepare import Prepared, prepare, standard_opset
from optimizer.onnx_units import Unit, group_nodes

__all__ = ["OnnxModel", "build_graph", "load_graph", "load_onnx", "model_input"]

# fmt: off
_ELEMENTWISE = frozenset({
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Clip", "Cos", "Cosh", "Elu",
    "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Neg", "Not",
    "PRelu", "QuickGelu", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh",
    "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Add", "And", "Div", "Max",
    "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Xor", "Dropout", "Flatten", "Identity",
    "Reshape", "Squeeze", "Unsqueeze",
})
# fmt: on
"""Each element of the result depends on the element at the same place, so it may overwrite it."""


def load_graph(model: str | Path, batch: int = 1) -> Graph:
    """Read a model (a path or "zoo:NAME") for planning; weights are sized, not loaded.

    Raises ModelError for a file that cannot be read, or a graph that cannot be planned.
    """
    loaded = load_onnx(model, weights=False)
    try:
        return build_graph(prepare(loaded, batch))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as e:
        # A valid model must not end here; of an invalid one the user wants to hear what is wrong with it.
        _require_valid(loaded, e)
        raise


def _require_valid(model: OnnxModel, cause: Exception) -> None:
    try:
        onnx.checker.check_model(model.proto)
    except (onnx.checker.ValidationError, TypeError, ValueError) as e:
        raise ModelError(
            "the model is not valid ONNX",
            where=model.source,
            expected="a model that passes onnx.checker",
            got=" ".join(str(e).split())[:300],
            hint="The file is damaged or was written by a faulty tool; export the model again.",
        ) from cause


def build_graph(prepared: Prepared) -> Graph:
    """The planner's view of a prepared model."""
    units = group_nodes(prepared)
    source = prepared.model.source
    if not units:
        raise ModelError(
            "the model has no operators", where=source, expected="at least one node that leads to an output",
            got="none", hint="There is nothing to plan; check that this is the right file.",
        )  # fmt: skip
    tensors = _tensors(prepared, units)
    tensor_index = {t.name: i for i, t in enumerate(tensors)}
    initializers, index_of = _initializers(prepared, units)
    operators = tuple(
        _operator(prepared, unit, index, tensors, tensor_index, initializers, index_of)
        for index, unit in enumerate(units)
    )
    path = prepared.model.path
    return Graph(
        name=source.removeprefix("zoo:") if path is None else path.stem,
        source=source,
        sha256=prepared.model.sha256,
        batch=prepared.batch,
        opset=standard_opset(prepared.skeleton) or 0,
        operators=operators,
        tensors=tensors,
        initializers=initializers,
        inputs=tuple(i for i, t in enumerate(tensors) if t.producer is None),
        outputs=tuple(tensor_index[name] for name in prepared.outputs),
        warnings=(*prepared.warnings, *_warnings(prepared, units, tensor_index)),
        tensor_index=tensor_index,
    )


def _tensors(prepared: Prepared, units: list[Unit]) -> tuple[Tensor, ...]:
    consumers: dict[str, list[int]] = {}
    for index, unit in enumerate(units):
        for name in unit.inputs:
            consumers.setdefault(name, []).append(index)
    producers: dict[str, int | None] = {n: None for n in prepared.inputs if n in consumers or n in prepared.outputs}
    producers.update({name: index for index, unit in enumerate(units) for name in unit.outputs})
    return tuple(
        _tensor(prepared, name, producer, tuple(consumers.get(name, ()))) for name, producer in producers.items()
    )


def model_input(prepared: Prepared, name: str) -> Tensor:
    """One of the model's inputs by itself, whether or not the graph has it."""
    return _tensor(prepared, name, None, ())


def _tensor(prepared: Prepared, name: str, producer: int | None, consumers: tuple[int, ...]) -> Tensor:
    where = f"{prepared.model.source}, tensor {name!r}"
    known = prepared.types.get(name)
    if known is None or known.shape is None or known.elem_type == 0:
        raise ModelError(
            "its shape cannot be inferred",
            where=where,
            expected="a dense tensor of fixed shape",
            got="a shape that depends on values, or an operator that is not known",
            hint="Declare its shape in the model's value_info, or cut the model before it.",
        )
    dtype = dtype_name(known.elem_type, where)
    size_bytes = (known.elements * BITS_PER_ELEMENT[dtype] + 7) // 8
    is_output = name in prepared.outputs
    return Tensor(name, known.shape, dtype, size_bytes, producer, consumers, is_output)


def _initializers(prepared: Prepared, units: list[Unit]) -> tuple[tuple[Initializer, ...], Mapping[str, int]]:
    """Weights that operators use, once each: initializers, Constant nodes, and what bodies contain."""
    stored = prepared.model.initializers
    constants = {n.output[0]: n for n in prepared.nodes if n.op_type == "Constant"}
    found: dict[str, Initializer] = {}
    for unit in units:
        for name in unit.constants:
            if name in constants:
                found[name] = _constant(name, constants[name], prepared)
            elif name not in found:
                found[name] = _initializer(name, stored[name])
        main = prepared.nodes[unit.main]
        for number, tensor in enumerate(body_weights(main)):
            name = _body_weight_name(main, number)
            found[name] = _initializer(name, tensor)
    return tuple(found.values()), {name: index for index, name in enumerate(found)}


def _initializer(name: str, tensor: TensorProto) -> Initializer:
    if tensor.data_type == TensorProto.STRING:
        return Initializer(name, tensor_bytes(tensor), "uint8")
    return Initializer(name, tensor_bytes(tensor), dtype_name(tensor.data_type, f"weight {name!r}"))


def _constant(name: str, node: NodeProto, prepared: Prepared) -> Initializer:
    tensor = attribute(node, "value", None)
    if tensor is not None:
        return _initializer(name, tensor)
    known = prepared.types.get(name)
    if known is None or known.shape is None or known.elem_type in (0, TensorProto.STRING):
        return Initializer(name, 0, "uint8")
    dtype = dtype_name(known.elem_type, f"constant {name!r}")
    return Initializer(name, known.elements * BITS_PER_ELEMENT[dtype] // 8, dtype)


def _body_weight_name(node: NodeProto, number: int) -> str:
    return f"{node.name}:{number}"


def _operator(
    prepared: Prepared,
    unit: Unit,
    index: int,
    tensors: tuple[Tensor, ...],
    tensor_index: Mapping[str, int],
    initializers: tuple[Initializer, ...],
    index_of: Mapping[str, int],
) -> Operator:
    main = prepared.nodes[unit.main]
    inside = [_body_weight_name(main, number) for number, _ in enumerate(body_weights(main))]
    used = tuple(index_of[name] for name in (*unit.constants, *inside))
    inputs = tuple(tensor_index[name] for name in unit.inputs)
    outputs = tuple(tensor_index[name] for name in unit.outputs)
    return Operator(
        index=index,
        name=main.name,
        op_type=main.op_type,
        inputs=inputs,
        outputs=outputs,
        initializers=used,
        weight_bytes=sum(initializers[i].size_bytes for i in used),
        macs=node_macs(main, prepared.types, prepared.skeleton),
        in_place_input=_in_place_input(main, index, inputs, outputs, tensors),
        nodes=unit.nodes,
        form=operator_form(prepared, unit),
    )


def _in_place_input(
    node: NodeProto,
    index: int,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    tensors: tuple[Tensor, ...],
) -> int | None:
    """An input of the output's size and dtype; rather one that nobody needs after this operator."""
    if node.op_type not in _ELEMENTWISE or len(outputs) != 1:
        return None
    result = tensors[outputs[0]]
    fitting = [
        i
        for i in inputs
        if (tensors[i].size_bytes, tensors[i].dtype) == (result.size_bytes, result.dtype)
        and tensors[i].producer is not None
        and not tensors[i].is_output
    ]
    dying = [i for i in fitting if tensors[i].consumers[-1] == index]
    return next(iter(dying or fitting), None)


def _warnings(prepared: Prepared, units: list[Unit], tensor_index: Mapping[str, int]) -> Iterable[str]:
    unknown = sorted({_qualified(n) for u in units if not is_known_operator(n := prepared.nodes[u.main])})
    if unknown:
        yield f"operators not known to edgecut, their cost is estimated by bytes: {', '.join(unknown)}"
    unused = [name for name in prepared.inputs if name not in tensor_index]
    if unused:
        yield f"inputs that lead to no output are left out: {', '.join(unused)}"
    placed = {position for unit in units for position in unit.nodes}
    dead = [n for p, n in enumerate(prepared.nodes) if p not in placed and n.op_type != "Constant"]
    if dead:
        yield f"nodes that lead to no output are left out: {len(dead)}, the first is {dead[0].name!r}"


def _qualified(node: NodeProto) -> str:
    return node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}"
