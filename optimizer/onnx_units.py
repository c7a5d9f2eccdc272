"""Grouping ONNX nodes into operators: what the planner may place, and the helper nodes that stay with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from onnx import NodeProto

from optimizer.onnx_nodes import DEFAULT_DOMAINS, RANDOM_OPERATORS, node_uses
from optimizer.onnx_prepare import Prepared

__all__ = ["Unit", "group_nodes"]

_FOLDABLE_DOMAINS = (*DEFAULT_DOMAINS, "ai.onnx.ml", "com.microsoft")
"""Nodes of these domains compute the same from the same inputs; others may not."""
_ACTIVATIONS = ("Relu", "Clip")
"""What ONNX Runtime drops between an operator and QuantizeLinear, because the zero point clamps already."""


@dataclass(frozen=True)
class Unit:
    """One operator in the making."""

    main: int
    """Position of the node that names it."""
    nodes: tuple[int, ...]
    inputs: tuple[str, ...]
    """Activations it reads, in order, each once."""
    constants: tuple[str, ...]
    """Names of the initializers and Constant nodes' outputs that it reads, directly or by helpers."""
    outputs: tuple[str, ...]
    """Those that another unit reads or that are model outputs."""


@dataclass(frozen=True)
class _Analysis:
    prepared: Prepared
    nodes: tuple[NodeProto, ...]
    uses: tuple[tuple[str, ...], ...]
    producer: dict[str, int]
    helpers: Set[int]
    """Positions of nodes that are repeated wherever they are needed."""
    constant: Set[str]


def group_nodes(prepared: Prepared) -> list[Unit]:
    """Units in topological order. Nodes that lead to no output are left out."""
    analysis = _analyse(prepared)
    tails = _quantized_tails(analysis)
    swallowed = {p for tail in tails.values() for p in tail}
    mains = [p for p in range(len(analysis.nodes)) if p not in swallowed and _is_operator(analysis, p)]
    drafts = [_unit(analysis, p, tails.get(p, ())) for p in mains]
    return _without_dead(drafts, prepared.outputs)


def _analyse(prepared: Prepared) -> _Analysis:
    nodes = prepared.nodes
    uses = tuple(node_uses(node) for node in nodes)
    producer = {name: p for p, node in enumerate(nodes) for name in node.output if name}
    constant = set(prepared.weights)
    helpers: set[int] = set()
    for position, node in enumerate(nodes):
        if _is_constant(node, uses[position], constant):
            constant.update(name for name in node.output if name)
            helpers.add(position)
        elif _is_dequantisation(node, constant):
            helpers.add(position)
    return _Analysis(prepared, nodes, uses, producer, helpers, constant)


def _is_constant(node: NodeProto, uses: Sequence[str], constant: Set[str]) -> bool:
    foldable = node.domain in _FOLDABLE_DOMAINS and node.op_type not in RANDOM_OPERATORS
    return foldable and all(name in constant for name in uses)


def _is_dequantisation(node: NodeProto, constant: Set[str]) -> bool:
    """Of an activation, with fixed scale: every consumer repeats it, so that the quantized tensor is sent."""
    return node.op_type == "DequantizeLinear" and all(name in constant for name in node.input[1:] if name)


def _is_operator(analysis: _Analysis, position: int) -> bool:
    """A helper that makes a model output is an operator too, beside being repeated where it is read."""
    outputs = analysis.prepared.outputs
    return position not in analysis.helpers or any(n in outputs for n in analysis.nodes[position].output)


def _quantized_tails(analysis: _Analysis) -> dict[int, tuple[int, ...]]:
    """By operator position: the QuantizeLinear that alone reads its output, after a Relu or Clip or not.

    Runtimes fuse the group into one integer kernel, whose result differs from that of the parts in the last
    quantum; a cut inside it would also send four times the bytes.
    """
    readers: dict[str, list[int]] = {}
    for position, names in enumerate(analysis.uses):
        for name in names:
            readers.setdefault(name, []).append(position)
    tails: dict[int, tuple[int, ...]] = {}
    for position, node in enumerate(analysis.nodes):
        if node.op_type != "QuantizeLinear" or not _fixed_but_first(analysis, position):
            continue
        before = _sole_source(analysis, readers, position)
        if before is None:
            continue
        if analysis.nodes[before].op_type in _ACTIVATIONS and _fixed_but_first(analysis, before):
            earlier = _sole_source(analysis, readers, before)
            if earlier is not None:
                tails[earlier] = (before, position)
                continue
        tails[before] = (position,)
    for position, node in enumerate(analysis.nodes):
        if node.op_type == "Split":
            tails.update(_split_tail(analysis, readers, position))
    return tails


def _split_tail(
    analysis: _Analysis, readers: Mapping[str, Sequence[int]], position: int
) -> Mapping[int, tuple[int, ...]]:
    """The QuantizeLinear of each part of a Split, where every part has one and nobody else reads it."""
    read = [n for n in analysis.nodes[position].output if n in readers or n in analysis.prepared.outputs]
    found = []
    for name in read:
        ends = readers.get(name, ())
        if len(ends) != 1 or name in analysis.prepared.outputs:
            return {}
        end = analysis.nodes[ends[0]]
        if end.op_type != "QuantizeLinear" or end.input[0] != name or not _fixed_but_first(analysis, ends[0]):
            return {}
        found.append(ends[0])
    return {position: tuple(found)} if found else {}


def _fixed_but_first(analysis: _Analysis, position: int) -> bool:
    node = analysis.nodes[position]
    fixed = all(name in analysis.constant for name in node.input[1:] if name)
    return fixed and position not in analysis.helpers


def _sole_source(analysis: _Analysis, readers: dict[str, list[int]], position: int) -> int | None:
    """The operator node that makes the node's first input, where nobody else sees what it makes."""
    name = analysis.nodes[position].input[0]
    source = analysis.producer.get(name)
    if source is None or source in analysis.helpers or analysis.nodes[source].op_type == "QuantizeLinear":
        return None
    if len(readers[name]) != 1 or name in analysis.prepared.outputs:
        return None
    others = [n for n in analysis.nodes[source].output if n and n != name]
    return None if any(n in readers or n in analysis.prepared.outputs for n in others) else source


def _unit(analysis: _Analysis, main: int, tail: tuple[int, ...]) -> Unit:
    own = (main, *tail)
    made = {name for p in own for name in analysis.nodes[p].output}
    nodes = set(own)
    inputs: dict[str, None] = {}
    constants: dict[str, None] = {}
    waiting = [name for p in reversed(own) for name in reversed(analysis.uses[p])]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name in made:
            continue
        seen.add(name)
        source = analysis.producer.get(name)
        if source is not None and source in analysis.helpers:
            nodes.add(source)
            waiting += reversed(analysis.uses[source])
            if analysis.nodes[source].op_type == "Constant":
                constants[name] = None
        elif name in analysis.prepared.weights:
            constants[name] = None
        else:
            inputs[name] = None
    if analysis.nodes[main].op_type == "Constant":
        constants.update(dict.fromkeys(analysis.nodes[main].output))
    ends = tail if analysis.nodes[main].op_type == "Split" and tail else own[-1:]
    outputs = tuple(n for p in ends for n in analysis.nodes[p].output if n)
    return Unit(main, tuple(sorted(nodes)), tuple(inputs), tuple(constants), outputs)


def _without_dead(drafts: list[Unit], model_outputs: Sequence[str]) -> list[Unit]:
    """Drop outputs that nobody reads, and units left without any."""
    needed = set(model_outputs)
    kept: list[Unit] = []
    for unit in reversed(drafts):
        outputs = tuple(name for name in unit.outputs if name in needed)
        if outputs:
            kept.append(Unit(unit.main, unit.nodes, unit.inputs, unit.constants, outputs))
            needed.update(unit.inputs)
    return kept[::-1]
