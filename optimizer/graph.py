"""The network as the planner sees it: operators, tensors, initializers.

Only activations are tensors here; weights are initializers. Operators stand in a topological order that
never changes, and everything refers to them by position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

__all__ = ["Graph", "Initializer", "Operator", "Tensor"]


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
    """Positions in the ONNX file's node list: the operator's own node last, helpers before it."""


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
    def parameters_bytes(self) -> int:
        return sum(i.size_bytes for i in self.initializers)

    @cached_property
    def operator_by_name(self) -> dict[str, Operator]:
        return {op.name: op for op in self.operators}
