"""The network as the planner sees it: operators, tensors, initializers.

Only activations are tensors here; weights are initializers. Operators stand in a topological order that
never changes, and everything refers to them by position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = [
    "BITS_PER_ELEMENT",
    "Cut",
    "Graph",
    "Initializer",
    "LiveSet",
    "Operator",
    "OperatorForm",
    "Tensor",
    "cut_points",
    "is_topological",
    "live_ranges",
    "live_sets",
    "predecessors",
    "successors",
]

BITS_PER_ELEMENT: Mapping[str, int] = {
    "bool": 8,
    "int2": 2,
    "uint2": 2,
    "int4": 4,
    "uint4": 4,
    "float4_e2m1fn": 4,
    "float6_e2m3fn": 6,
    "float6_e3m2fn": 6,
    "int8": 8,
    "uint8": 8,
    "float8_e4m3fn": 8,
    "float8_e4m3fnuz": 8,
    "float8_e5m2": 8,
    "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 8,
    "int16": 16,
    "uint16": 16,
    "float16": 16,
    "bfloat16": 16,
    "int32": 32,
    "uint32": 32,
    "float32": 32,
    "int64": 64,
    "uint64": 64,
    "float64": 64,
    "complex64": 64,
    "complex128": 128,
}
"""Storage of one element by dtype; elements under a byte are packed."""


@dataclass(frozen=True)
class Tensor:
    """An activation: a model input or the output of an operator."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """NumPy name: "float32", "float16", "int8", "uint8", "int64", "bool", ..."""
    size_bytes: int
    producer: int | None
    """Operator index; None for a model input."""
    consumers: tuple[int, ...]
    """Operator indices, ascending, without repeats."""
    is_output: bool


@dataclass(frozen=True)
class Initializer:
    """A constant of the model; shared ones appear once here and count once a board."""

    name: str
    size_bytes: int
    dtype: str

    @property
    def elements(self) -> int:
        return self.size_bytes * 8 // BITS_PER_ELEMENT[self.dtype]


@dataclass(frozen=True)
class OperatorForm:
    """What a small runtime asks of an operator beside its tensors (see optimizer.onnx_forms)."""

    precision: str
    """Of its activations: "int8", "float32", "mixed" (a conversion between the two), or "other"."""
    figures: Mapping[str, int]
    """Empty for precisions that no such runtime has."""


@dataclass(frozen=True)
class Operator:
    """One unit the planner may place: an ONNX node with the constant and shape nodes that stay with it."""

    index: int
    name: str
    """ONNX node name, made unique ("Conv_12" where the file has none)."""
    op_type: str
    inputs: tuple[int, ...]
    """Tensor indices of activation inputs, without repeats."""
    outputs: tuple[int, ...]
    """Tensor indices of all outputs that anybody uses."""
    initializers: tuple[int, ...]
    """Indices into Graph.initializers."""
    weight_bytes: int
    macs: int
    in_place_input: int | None = None
    """Tensor index of an input that an elementwise operator may overwrite, else None."""
    nodes: tuple[int, ...] = ()
    """Ascending positions in the prepared node list (optimizer.onnx_prepare): helper nodes (constants,
    dequantisation of inputs), which operators may share; the operator's own node; a QuantizeLinear it ends in
    (with the Relu or Clip between them), which runtimes fuse with it."""
    form: OperatorForm | None = field(default=None, repr=False, compare=False)
    """None where the graph does not come from an ONNX file."""


@dataclass(frozen=True)
class Graph:
    """A model. ``operators`` is a topological order."""

    name: str
    source: str
    """What the user named: a path or "zoo:NAME"."""
    sha256: str
    batch: int
    opset: int
    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    initializers: tuple[Initializer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    tensor_index: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def macs(self) -> int:
        return sum(op.macs for op in self.operators)

    @cached_property
    def span(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(t,) operator that makes each tensor (0 for an input) and (t,) the last that uses it (its maker where
        nobody does)."""
        first = [t.producer or 0 for t in self.tensors]
        last = [max(t.consumers, default=made) for t, made in zip(self.tensors, first, strict=True)]
        return np.array(first, dtype=np.int64), np.array(last, dtype=np.int64)

    @cached_property
    def parameters_bytes(self) -> int:
        return sum(i.size_bytes for i in self.initializers)

    @cached_property
    def parameters(self) -> int:
        """Number of weight elements; shapes, indices (int64) and masks (bool) are not weights."""
        return sum(i.elements for i in self.initializers if i.dtype not in ("int64", "bool"))

    @cached_property
    def operator_by_name(self) -> dict[str, Operator]:
        return {op.name: op for op in self.operators}


@dataclass(frozen=True)
class Cut:
    """A place where one tensor alone separates the operators before from those behind."""

    tensor: int
    name: str
    size_bytes: int
    operators_before: int
    """Operators 0 .. operators_before - 1 stand before the cut, all others behind it."""
    macs_before: int


@dataclass(frozen=True)
class LiveSet:
    """What is in memory while one operator runs: its inputs and outputs and whatever is needed later."""

    step: int
    """Position in the order."""
    operator: int
    tensors: tuple[int, ...]
    size_bytes: int


def cut_points(graph: Graph) -> list[Cut]:
    """Single-tensor cuts in order: the tensors through which every path from an input to an output leads.

    Model inputs and outputs are not cuts. Linear in the size of the graph: paths are counted with exact
    integers, and a tensor is a cut when the paths through it are all there are.
    """
    to_tensor = [0] * len(graph.tensors)
    for index in graph.inputs:
        to_tensor[index] = 1
    for op in graph.operators:
        paths = sum(to_tensor[t] for t in op.inputs) if op.inputs else 1
        for index in op.outputs:
            to_tensor[index] = paths
    from_tensor = [int(t.is_output) for t in graph.tensors]
    for op in reversed(graph.operators):
        paths = sum(from_tensor[t] for t in op.outputs)
        for index in op.inputs:
            from_tensor[index] += paths
    total = sum(to_tensor[t] for t in graph.outputs)
    cuts: list[Cut] = []
    macs_before = 0
    for op in graph.operators:
        macs_before += op.macs
        for index in op.outputs:
            tensor = graph.tensors[index]
            if not tensor.is_output and to_tensor[index] * from_tensor[index] == total:
                # Every other operator lies on a path through the tensor, so it is an ancestor of this one or
                # a descendant of the tensor: in any topological order the former stand before the latter.
                cuts.append(Cut(index, tensor.name, tensor.size_bytes, op.index + 1, macs_before))
    return cuts


def live_ranges(graph: Graph, order: Sequence[int] | None = None) -> list[tuple[int, int]]:
    """First and last step (both included) at which each tensor is in memory; by tensor index.

    ``order`` lists operator indices (default: the graph's own order). A model input is there from step 0, an
    output until the end; an input that nobody reads and that is no output has the range (0, -1).
    """
    steps = range(len(graph.operators)) if order is None else order
    step_of = {operator: step for step, operator in enumerate(steps)}
    end = len(graph.operators) - 1
    ranges: list[tuple[int, int]] = []
    for tensor in graph.tensors:
        first = 0 if tensor.producer is None else step_of[tensor.producer]
        uses = [step_of[c] for c in tensor.consumers]
        last = end if tensor.is_output else max(uses, default=-1 if tensor.producer is None else first)
        ranges.append((first, last))
    return ranges


def live_sets(graph: Graph, order: Sequence[int] | None = None) -> list[LiveSet]:
    """The tensors in memory at each step of the order; the widest is what an arena holds at least."""
    steps = list(range(len(graph.operators)) if order is None else order)
    starts: list[list[int]] = [[] for _ in steps]
    ends: list[list[int]] = [[] for _ in steps]
    for index, (first, last) in enumerate(live_ranges(graph, steps)):
        if first <= last:
            starts[first].append(index)
            ends[last].append(index)
    live: set[int] = set()
    size_bytes = 0
    sets: list[LiveSet] = []
    for step, operator in enumerate(steps):
        live.update(starts[step])
        size_bytes += sum(graph.tensors[t].size_bytes for t in starts[step])
        sets.append(LiveSet(step, operator, tuple(sorted(live)), size_bytes))
        live.difference_update(ends[step])
        size_bytes -= sum(graph.tensors[t].size_bytes for t in ends[step])
    return sets


def predecessors(graph: Graph) -> list[tuple[int, ...]]:
    """For each operator the operators whose outputs it reads, ascending."""
    found = [{graph.tensors[t].producer for t in op.inputs} for op in graph.operators]
    return [tuple(sorted(p for p in producers if p is not None)) for producers in found]


def successors(graph: Graph) -> list[tuple[int, ...]]:
    """For each operator the operators that read its outputs, ascending."""
    found = [{c for t in op.outputs for c in graph.tensors[t].consumers} for op in graph.operators]
    return [tuple(sorted(consumers)) for consumers in found]


def is_topological(graph: Graph, order: Sequence[int]) -> bool:
    """Whether the order holds every operator once, each behind those it reads from."""
    step_of = {operator: step for step, operator in enumerate(order)}
    if len(order) != len(graph.operators) or set(step_of) != set(range(len(graph.operators))):
        return False
    return all(step_of[p] < step_of[operator] for operator, before in enumerate(predecessors(graph)) for p in before)
