"""Building the ONNX sub-model of one segment, found by tensors."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from optimizer.errors import PlanError
from optimizer.graph import Graph
from optimizer.onnx_file import ExternalData, OnnxModel, tensor_bytes
from optimizer.onnx_nodes import node_uses, subgraphs
from optimizer.onnx_prepare import Prepared
from optimizer.zoo import fill_weights, is_stub, materialize

__all__ = ["SubModel", "build_submodel", "link_data", "refers_to_data"]

_EMBED_LIMIT_BYTES = 1_900_000_000
"""Weights above this do not fit into one protobuf message (2 GB, less room for the graph)."""
_DATA_FOLDER = "data"
_IR_WITHOUT_WEIGHT_INPUTS = 4
"""From this IR version on initializers need not be graph inputs."""


@dataclass(frozen=True)
class SubModel:
    """One segment's model; ``data`` are the external files it refers to, by their path beside the model."""

    proto: ModelProto
    data: tuple[tuple[str, Path], ...]


def refers_to_data(model: OnnxModel) -> bool:
    """Whether sub-models refer to the model's external data: where all weights are too large to embed."""
    weights = model.initializers.values()
    return sum(tensor_bytes(t) for t in weights) > _EMBED_LIMIT_BYTES


def build_submodel(
    prepared: Prepared,
    graph: Graph,
    name: str,
    operators: Sequence[int],
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> SubModel:
    """The model that runs these operators in this order, from and to these tensors (indices of the graph).

    Helper nodes and shared weights are repeated in every sub-model that needs them. Zoo weights are made.
    """
    nodes = [prepared.nodes[position] for position in _positions(graph, operators)]
    proto = ModelProto(ir_version=prepared.skeleton.ir_version, producer_name="edgecut")
    proto.opset_import.extend(prepared.skeleton.opset_import)
    proto.functions.extend(prepared.skeleton.functions)
    proto.graph.name = f"{graph.name}_{name}"
    proto.graph.node.extend(nodes)
    proto.graph.input.extend(_value_info(prepared, graph, t) for t in inputs)
    proto.graph.output.extend(_value_info(prepared, graph, t) for t in outputs)
    model = prepared.model
    refer = refers_to_data(model)
    data: dict[str, Path] = {}
    proto.graph.initializer.extend(_inside(model, t, refer, data) for t in _weights(prepared, nodes))
    if any(is_stub(tensor) for tensor in proto.graph.initializer):
        fill_weights(proto)
    if proto.ir_version < _IR_WITHOUT_WEIGHT_INPUTS:
        proto.graph.input.extend(
            helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in proto.graph.initializer
        )
    for node in proto.graph.node:
        _inline_attributes(node, model)
    return SubModel(proto, tuple(data.items()))


def link_data(files: Iterable[tuple[str, Path]], folder: Path) -> None:
    """Make external files appear below the folder without copying them.

    Hard links, because newer versions of ONNX Runtime refuse data whose resolved path leaves the model's
    directory; a symbolic link where the file system allows no hard link and the installed version follows it.
    Raises PlanError where neither will do.
    """
    for location, path in files:
        target = folder / location
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            continue
        try:
            os.link(path.resolve(), target)
        except OSError as e:
            if e.errno == errno.ENOSPC:
                raise
            _symlink(path, target, e)


def _symlink(path: Path, target: Path, cause: OSError) -> None:
    try:
        target.symlink_to(path.resolve())
    except OSError as e:
        raise PlanError(
            "cannot link to the model's external data",
            where=str(target),
            expected=f"a file system that allows a link to {path}",
            got=f"{cause.strerror}; {e.strerror}",
            hint="Write the bundle to the file system that holds the model.",
        ) from e
    if not _runtime_follows(target):
        raise PlanError(
            "ONNX Runtime does not follow a symbolic link to the model's external data",
            where=str(target),
            expected=f"a file system that allows a hard link to {path}",
            got=cause.strerror or type(cause).__name__,
            hint="Write the bundle to the file system that holds the model.",
        ) from cause


def _runtime_follows(data: Path) -> bool:
    """Whether the installed ONNX Runtime loads a model (of one byte) whose external data lies there."""
    from optimizer.split_runtime import LEVEL_ALL, ORT_ERRORS, open_session  # loads ONNX Runtime

    byte = TensorProto(name="byte", data_type=TensorProto.UINT8, dims=[1])
    moved = _moved(byte, ExternalData("byte", data.name, data, 0, 1), data.name)
    end = helper.make_tensor_value_info("end", TensorProto.UINT8, [1])
    node = helper.make_node("Identity", ["byte"], ["end"])
    proto = helper.make_model(
        helper.make_graph([node], "probe", [], [end], [moved]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=7,
    )
    probe = data.with_name("probe.onnx")
    probe.write_bytes(proto.SerializeToString())
    try:
        open_session(probe, LEVEL_ALL)
    except ORT_ERRORS:
        return False
    finally:
        probe.unlink()
    return True


def whole_model(model: OnnxModel, folder: Path) -> Path:
    """A file with the model as it was given, which ONNX Runtime can load; made in the folder where need be.

    Weights that are also graph inputs could be fed, and ONNX Runtime then does not fuse them; in sub-models they
    are constants, so they must be here. It also refuses models where two nodes have one name.
    """
    if model.path is None:
        return materialize(model.source.removeprefix("zoo:"), folder / "whole.onnx")
    graph = model.proto.graph
    inputs = [v for v in graph.input if v.name not in model.initializers]
    names = [n.name for n in graph.node if n.name]
    fed = len(inputs) < len(graph.input) and model.proto.ir_version >= _IR_WITHOUT_WEIGHT_INPUTS
    if not fed and len(set(names)) == len(names):
        return model.path
    whole = ModelProto()
    whole.CopyFrom(model.proto)
    if fed:
        del whole.graph.input[:]
        whole.graph.input.extend(inputs)
    for node in whole.graph.node:
        node.name = ""
        _inline_attributes(node, model)
    data: dict[str, Path] = {}
    for tensor in whole.graph.initializer:
        tensor.CopyFrom(_inside(model, tensor, refers_to_data(model), data))
    link_data(data.items(), folder)
    path = folder / "whole.onnx"
    path.write_bytes(whole.SerializeToString())
    return path


def _positions(graph: Graph, operators: Sequence[int]) -> list[int]:
    """Node positions in running order; a helper stands before the first operator that needs it."""
    return list(dict.fromkeys(position for op in operators for position in graph.operators[op].nodes))


def _weights(prepared: Prepared, nodes: Sequence[NodeProto]) -> list[TensorProto]:
    used = {name for node in nodes for name in node_uses(node)}
    made = {name for node in nodes for name in node.output}
    return [t for name, t in prepared.model.initializers.items() if name in used and name not in made]


def _value_info(prepared: Prepared, graph: Graph, tensor: int) -> ValueInfoProto:
    found = graph.tensors[tensor]
    return helper.make_tensor_value_info(found.name, prepared.types[found.name].elem_type, list(found.shape))


def _inside(model: OnnxModel, tensor: TensorProto, refer: bool, data: dict[str, Path]) -> TensorProto:
    """The tensor for a model file elsewhere: with its elements, or referring to them and noting it in ``data``."""
    external = model.external_data(tensor)
    if external is None or not refer:
        return model.inline(tensor)
    location = f"{_DATA_FOLDER}/{external.location}"
    data[location] = external.path
    return _moved(tensor, external, location)


def _moved(tensor: TensorProto, external: ExternalData, location: str) -> TensorProto:
    """The same elements of the same file, seen from the bundle."""
    moved = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    moved.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": external.offset_bytes, "length": external.length_bytes}
    for key, value in entries.items():
        moved.external_data.add(key=key, value=str(value))
    return moved


def _inline_attributes(node: NodeProto, model: OnnxModel) -> None:
    """Constants and weights of bodies that the file keeps outside come inside: they are few and small."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            attribute.t.CopyFrom(model.inline(attribute.t))
    for body in subgraphs(node):
        for tensor in body.initializer:
            tensor.CopyFrom(model.inline(tensor))
        for inner in body.node:
            _inline_attributes(inner, model)
