"""From the model as its file has it to a uniform node list, where both planner and splitter start.

Functions are inlined, nodes sorted and named, the batch bound, all types inferred, and shapes that nodes ask
for replaced by constants. The same file and batch always give the same list, so that positions in it can be
stored. Large weights are left out; they stay in ``OnnxModel.proto``.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from optimizer.errors import ModelError
from optimizer.onnx_batch import bind_batch
from optimizer.onnx_file import OnnxModel, tensor_bytes
from optimizer.onnx_nodes import DEFAULT_DOMAINS, attribute, node_uses, subgraphs
from optimizer.onnx_shapes import infer_types
from optimizer.onnx_types import TensorType
from optimizer.zoo import is_stub

__all__ = ["Prepared", "prepare", "standard_opset"]

_SMALL_BYTES = 1024
"""Initializers up to this size may hold shapes or axes and go through shape inference with their elements."""
_OLDEST_OPSET = 7
"""The oldest that ONNX Runtime runs; edgecut promises and tests 9 and later."""


@dataclass(frozen=True)
class Prepared:
    """A model made uniform for one batch size. Treat the protos as read-only."""

    model: OnnxModel
    batch: int
    skeleton: ModelProto
    """Nodes, inputs without weights, outputs, operator sets, functions that could not be inlined. Its
    ``graph.input`` also declares the large weights; its ``graph.initializer`` holds the small ones."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: frozenset[str]
    """Names of the initializers."""
    types: Mapping[str, TensorType]
    """By tensor name, weights included; what cannot be inferred is missing or has no shape."""
    warnings: tuple[str, ...]

    @cached_property
    def nodes(self) -> tuple[NodeProto, ...]:
        return tuple(self.skeleton.graph.node)


def prepare(model: OnnxModel, batch: int = 1) -> Prepared:
    """Make the model uniform. Raises ModelError for a graph that cannot be planned (see the messages)."""
    skeleton = _skeleton(model)
    _check_opset(skeleton, model.source)
    skeleton = _inline_functions(skeleton)
    graph = skeleton.graph
    inputs = [v for v in graph.input if v.name not in model.initializers]
    warnings = bind_batch(graph, inputs, batch, model.source)
    _outputs_made_by_nodes(graph, model)
    _sort(graph, model.source)
    _name_nodes(graph)
    types = infer_types(skeleton)
    _fold_shapes(graph, types)
    names = tuple(v.name for v in inputs)
    outputs = tuple(dict.fromkeys(v.name for v in graph.output))
    left_outside = {v.name for v in graph.input}.difference(names)
    weights = frozenset(left_outside | {t.name for t in graph.initializer})
    return Prepared(model, batch, skeleton, names, outputs, weights, types, tuple(warnings))


def standard_opset(model: ModelProto) -> int | None:
    """Version of the standard operator set, None where the model does not import it."""
    return next((o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS), None)


def _skeleton(model: OnnxModel) -> ModelProto:
    """A copy without large weights, which become declared inputs (shape inference needs only their types)."""
    source = model.proto
    skeleton = ModelProto(ir_version=source.ir_version)
    skeleton.opset_import.extend(source.opset_import)
    skeleton.functions.extend(source.functions)
    graph = skeleton.graph
    graph.name = source.graph.name or "main"
    graph.node.extend(source.graph.node)
    graph.output.extend(source.graph.output)
    graph.value_info.extend(source.graph.value_info)
    weights = model.initializers
    graph.input.extend(v for v in source.graph.input if v.name not in weights)
    for name, tensor in weights.items():
        if tensor_bytes(tensor) <= _SMALL_BYTES and not is_stub(tensor):
            graph.initializer.append(model.inline(tensor))
        else:
            graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
    if not graph.output:
        raise ModelError(
            "the model has no outputs", where=model.source, expected="at least one graph output", got="none",
            hint="Name the tensors you want as outputs when exporting the model.",
        )  # fmt: skip
    return skeleton


def _check_opset(skeleton: ModelProto, source: str) -> None:
    version, newest = standard_opset(skeleton), onnx.defs.onnx_opset_version()
    if version is not None and not _OLDEST_OPSET <= version <= newest:
        newer = version > newest
        raise ModelError(
            "the model's operator set is not supported",
            where=source,
            expected=f"opset 9 to {newest}",
            got=f"opset {version}",
            hint="Install a newer onnx package." if newer else "Convert it with onnx.version_converter.",
        )
    # Shape inference refuses nodes of a domain that is not imported, even of one it knows nothing about.
    known = {o.domain for o in skeleton.opset_import}
    for domain in sorted({d for node in skeleton.graph.node for d in _domains(node)} - known):
        if domain in DEFAULT_DOMAINS and version is not None:
            skeleton.opset_import.append(helper.make_opsetid(domain, version))
        elif domain not in DEFAULT_DOMAINS:
            skeleton.opset_import.append(helper.make_opsetid(domain, 1))
        else:
            raise ModelError(
                "the model does not say which operator set it uses",
                where=source,
                expected="an opset_import for the domain ai.onnx",
                got=", ".join(sorted(known)) or "none",
                hint="Export the model again.",
            )


def _domains(node: NodeProto) -> set[str]:
    found = {node.domain}
    for body in subgraphs(node):
        for inner in body.node:
            found |= _domains(inner)
    return found


def _inline_functions(skeleton: ModelProto) -> ModelProto:
    if not skeleton.functions:
        return skeleton
    import onnx.inliner  # loaded for the few models that have functions

    return onnx.inliner.inline_local_functions(skeleton)


def _outputs_made_by_nodes(graph: GraphProto, model: OnnxModel) -> None:
    """A weight that is an output becomes a Constant node: every output then has a node or is an input."""
    weights = model.initializers
    for name in dict.fromkeys(v.name for v in graph.output if v.name in weights):
        kept = [t for t in graph.initializer if t.name != name]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        declared = [v for v in graph.input if v.name != name]
        del graph.input[:]
        graph.input.extend(declared)
        graph.node.insert(0, helper.make_node("Constant", [], [name], value=model.inline(weights[name])))


def _sort(graph: GraphProto, source: str) -> None:
    """Bring the nodes into a topological order, file order where there is a choice."""
    producer: dict[str, int] = {}
    for position, node in enumerate(graph.node):
        for name in node.output:
            if name and producer.setdefault(name, position) != position:
                raise ModelError(
                    f"tensor {name!r} is made twice", where=f"{source}, node {_label(graph, position)}",
                    expected="one producer", got="two", hint="Check the file with `onnx.checker`.",
                )  # fmt: skip
    given = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    uses = [node_uses(node) for node in graph.node]
    for position, names in enumerate(uses):
        for name in names:
            if name not in producer and name not in given:
                raise ModelError(
                    f"tensor {name!r} is read, but neither an input nor a weight nor made by a node",
                    where=f"{source}, node {_label(graph, position)}",
                    expected="a model with its weights",
                    got="a name that leads nowhere",
                    hint="The weights are missing from the file; export the model again with weights.",
                )
    for name in (v.name for v in graph.output):
        if name not in producer and name not in given:
            raise ModelError(
                f"output {name!r} is made by no node", where=source, expected="a producer", got="none",
                hint="Check the file with `onnx.checker`.",
            )  # fmt: skip
    before = [{producer[name] for name in names if name in producer} for names in uses]
    if all(p < position for position, found in enumerate(before) for p in found):
        return
    order = _topological_order(before)
    if len(order) < len(before):
        stuck = sorted(set(range(len(before))) - set(order))
        raise ModelError(
            "the graph has a cycle", where=source, expected="nodes that can be run one after the other",
            got="nodes that wait for each other, among them "
            + ", ".join(_label(graph, position) for position in stuck[:5]),
            hint="A recurrent network must be written with Loop, Scan or LSTM.",
        )  # fmt: skip
    nodes = [graph.node[position] for position in order]
    copy = GraphProto()
    copy.node.extend(nodes)
    del graph.node[:]
    graph.node.extend(copy.node)


def _topological_order(before: list[set[int]]) -> list[int]:
    """Smallest position first; shorter than the input where there is a cycle."""
    missing = [len(found) for found in before]
    after: list[list[int]] = [[] for _ in before]
    for position, found in enumerate(before):
        for p in found:
            after[p].append(position)
    ready = [position for position, count in enumerate(missing) if count == 0]
    order: list[int] = []
    while ready:
        position = heapq.heappop(ready)
        order.append(position)
        for follower in after[position]:
            missing[follower] -= 1
            if missing[follower] == 0:
                heapq.heappush(ready, follower)
    return order


def _label(graph: GraphProto, position: int) -> str:
    node = graph.node[position]
    return repr(node.name) if node.name else f"{position} ({node.op_type})"


def _name_nodes(graph: GraphProto) -> None:
    """Give every node a unique name; a name that only one node has is never changed."""
    taken = {node.name for node in graph.node}
    seen: set[str] = set()
    for position, node in enumerate(graph.node):
        if node.name and node.name not in seen:
            seen.add(node.name)
            continue
        name = f"{node.name or node.op_type}_{position}"
        while name in taken:
            name += "_"
        taken.add(name)
        seen.add(name)
        node.name = name


def _fold_shapes(graph: GraphProto, types: Mapping[str, TensorType]) -> None:
    """Replace Shape and Size of static tensors by their values, so that no tensor is sent for its shape."""
    for node in graph.node:
        if node.op_type not in ("Shape", "Size") or node.domain not in DEFAULT_DOMAINS:
            continue
        known = types.get(node.input[0])
        if known is None or known.shape is None:
            continue
        if node.op_type == "Size":
            value = np.array(known.elements, dtype=np.int64)
        else:
            end = attribute(node, "end", None)
            value = np.array(known.shape[attribute(node, "start", 0) : end], dtype=np.int64)
        tensor: TensorProto = numpy_helper.from_array(value, node.output[0])
        node.CopyFrom(helper.make_node("Constant", [], [node.output[0]], name=node.name, value=tensor))
