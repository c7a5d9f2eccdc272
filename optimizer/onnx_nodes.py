"""What single ONNX nodes read, with the bodies of If, Loop and Scan looked into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

__all__ = ["DEFAULT_DOMAINS", "RANDOM_OPERATORS", "attribute", "body_weights", "node_uses", "subgraphs"]

DEFAULT_DOMAINS = ("", "ai.onnx")
"""Two spellings of the standard operator set's domain."""
RANDOM_OPERATORS = frozenset(
    ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
)
"""These give other results each time, or wherever they stand."""


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """The attribute's value as a Python value, or the default."""
    for found in node.attribute:
        if found.name == name:
            return onnx.helper.get_attribute_value(found)
    return default


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The bodies of If, Loop, Scan and the like."""
    for found in node.attribute:
        if found.type == AttributeProto.GRAPH:
            yield found.g
        elif found.type == AttributeProto.GRAPHS:
            yield from found.graphs


def node_uses(node: NodeProto) -> tuple[str, ...]:
    """Names of the tensors the node reads: its inputs and what its bodies capture; each once, in order."""
    names = [name for name in node.input if name]
    for body in subgraphs(node):
        names += _captures(body)
    return tuple(dict.fromkeys(names))


def body_weights(node: NodeProto) -> Iterator[TensorProto]:
    """Initializers and constants inside the node's bodies."""
    for body in subgraphs(node):
        yield from body.initializer
        for inner in body.node:
            if inner.op_type == "Constant":
                yield from (a.t for a in inner.attribute if a.type == AttributeProto.TENSOR)
            yield from body_weights(inner)


def _captures(body: GraphProto) -> Sequence[str]:
    local = {t.name for t in body.initializer} | {v.name for v in body.input}
    captured: list[str] = []
    for inner in body.node:
        captured += [name for name in node_uses(inner) if name not in local]
        local.update(inner.output)
    captured += [v.name for v in body.output if v.name not in local]
    return captured
