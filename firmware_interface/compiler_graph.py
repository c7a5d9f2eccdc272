"""Reading an ONNX sub-model for a board: its constants, and its nodes grouped into steps with integer scales.

A step is what the planner calls an operator: a node, the DequantizeLinear nodes that it reads through, and the Relu or
Clip and the QuantizeLinear that it ends in. It carries the name of its node, as the planner's operator does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from firmware_interface.errors import CompileError

__all__ = ["Constant", "Step", "Steps", "Stored", "Tensor", "read_steps"]

_DEFAULT_DOMAINS = ("", "ai.onnx")
_DTYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "uint8",
}
_ELEMENT_BYTES = {"float32": 4, "int8": 1, "uint8": 1}
_UNSIGNED_OFFSET = 128
"""Boards hold a uint8 less this, as int8; zero points likewise."""


@dataclass(frozen=True)
class Tensor:
    """An activation on the board. ``dtype`` is "int8", "uint8" or "float32"; the shape is ONNX's."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def integer(self) -> bool:
        return self.dtype != "float32"

    @property
    def unsigned(self) -> bool:
        """Whether its bytes on the wire are not those on the board."""
        return self.dtype == "uint8"

    @property
    def element_bytes(self) -> int:
        return _ELEMENT_BYTES[self.dtype]

    @property
    def size_bytes(self) -> int:
        return self.elements * self.element_bytes

    @property
    def stored_axes(self) -> tuple[int, ...]:
        """ONNX's axes in the order in which the board stores them: four axes with channels last, all others as is."""
        return (0, 2, 3, 1) if len(self.shape) == 4 else tuple(range(len(self.shape)))

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return tuple(self.shape[a] for a in self.stored_axes)

    @property
    def same_either_way(self) -> bool:
        """Whether channels first and channels last are the same bytes."""
        return len(self.shape) != 4 or self.shape[1] == 1 or self.shape[2] * self.shape[3] == 1


@dataclass(frozen=True)
class Stored:
    """An activation as a step reads or writes it: int8 with a scale and a zero point; float32 has the scale 1."""

    tensor: Tensor
    scale: float = 1.0
    zero: int = 0

    def alike(self, other: Stored) -> bool:
        """Whether the same bytes stand for the same values, here and on the wire."""
        return (self.scale, self.zero, self.tensor.dtype) == (other.scale, other.zero, other.tensor.dtype)

    def quantized(self, value: float) -> int:
        """The int8 nearest to a value: halves to even, saturated."""
        return int(np.clip(np.rint(np.float32(value) / np.float32(self.scale)) + self.zero, -128, 127))


@dataclass(frozen=True)
class Constant:
    """A constant operand: its elements, and how they are quantized where they are (scales along ``axis``)."""

    values: npt.NDArray[Any]
    scales: npt.NDArray[np.float64] | None = None
    zeros: npt.NDArray[np.int64] | None = None
    axis: int = 0

    def real(self) -> npt.NDArray[np.float64]:
        """The values that it stands for."""
        if self.scales is None or self.zeros is None:
            return np.asarray(self.values, np.float64)
        shape = [1] * self.values.ndim
        if self.scales.size > 1:
            shape[self.axis] = self.scales.size
        zeros, scales = self.zeros.reshape(shape), self.scales.reshape(shape)
        return np.asarray((self.values.astype(np.int64) - zeros) * scales, np.float64)


Operand = Stored | Constant


@dataclass(frozen=True)
class Step:
    """One operator. ``inputs`` stand as in ONNX, None where one is left out."""

    name: str
    op_type: str
    attributes: Mapping[str, Any]
    inputs: tuple[Operand | None, ...]
    outputs: tuple[Stored, ...]
    low: float = -math.inf
    """Limits of the result, from a Relu or Clip that the operator ends in."""
    high: float = math.inf
    opset: int = 17

    @property
    def output(self) -> Stored:
        return self.outputs[0]

    @property
    def integer(self) -> bool:
        return self.output.tensor.integer

    def stored(self) -> tuple[Stored, ...]:
        """The activations that it reads."""
        return tuple(i for i in self.inputs if isinstance(i, Stored))

    def refuse(self, problem: str, takes: str) -> CompileError:
        """The error that says why there is no kernel for it."""
        return CompileError(self.name, self.op_type, problem, takes)


@dataclass(frozen=True)
class Steps:
    """A sub-model as the board runs it."""

    steps: tuple[Step, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def readers(self) -> dict[str, list[int]]:
        """Positions of the steps that read each tensor."""
        found: dict[str, list[int]] = {}
        for at, step in enumerate(self.steps):
            for stored in dict.fromkeys(s.tensor.name for s in step.stored()):
                found.setdefault(stored, []).append(at)
        return found


def read_steps(model: onnx.ModelProto) -> Steps:
    """The steps of a sub-model in its own order. Raises CompileError for what no board takes."""
    return _Reader(model).read()


@dataclass
class _Reader:
    model: onnx.ModelProto
    constants: dict[str, Constant] = field(default_factory=dict)
    stored: dict[str, Stored] = field(default_factory=dict)
    """By the name of a tensor or of its dequantized form."""

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.opset = next((o.version for o in self.model.opset_import if o.domain in _DEFAULT_DOMAINS), 0)
        self.constants = {t.name: Constant(numpy_helper.to_array(t)) for t in graph.initializer}
        self.outputs = [v.name for v in graph.output]
        self.inputs = [v.name for v in graph.input if v.name not in self.constants]
        self.types = _types(self.model)
        self.readers: dict[str, list[int]] = {}
        for at, node in enumerate(graph.node):
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(at)

    def read(self) -> Steps:
        nodes = self.model.graph.node
        readers = {name: nodes[self.readers[name][0]] for name in self.inputs if name in self.readers}
        inputs = tuple(self.tensor(name, readers.get(name)) for name in self.inputs)
        steps: list[Step] = []
        taken: set[int] = set()
        for at, node in enumerate(self.model.graph.node):
            if at in taken or self._is_helper(node):
                continue
            tail = self._tail(at)
            taken.update(tail)
            steps.append(self._step(at, tail))
        outputs = tuple(self.tensor(name, None) for name in self.outputs)
        return Steps(tuple(steps), inputs, outputs)

    def tensor(self, name: str, node: NodeProto | None) -> Tensor:
        """The activation of that name. Raises CompileError where it is of no dtype that boards have."""
        known = self.types.get(name)
        where = (name, "tensor") if node is None else (node.name, node.op_type)
        if known is None:
            raise CompileError(*where, f"the shape of {name!r} is not known", "tensors of fixed shape")
        shape, elem_type = known
        if elem_type not in _DTYPES:
            got = onnx.helper.tensor_dtype_to_string(elem_type).removeprefix("TensorProto.").lower()
            raise CompileError(*where, f"{name!r} is {got}", "int8, uint8 or float32 activations")
        return Tensor(name, shape, _DTYPES[elem_type])

    def _is_helper(self, node: NodeProto) -> bool:
        """Notes constants and dequantized forms; whether that is all there is to the node."""
        names = [n for n in node.input if n]
        if all(n in self.constants for n in names) and node.op_type not in ("If", "Loop", "Scan"):
            self._fold(node)
            return True
        if node.op_type != "DequantizeLinear" or any(n not in self.constants for n in names[1:]):
            return False
        source = self.tensor(node.input[0], node)
        scale, zero = self._scale(node, source.name)
        self.stored[node.output[0]] = Stored(source, scale, zero)
        return node.output[0] not in self.outputs

    def _fold(self, node: NodeProto) -> None:
        if node.op_type == "DequantizeLinear" and self.constants[node.input[0]].scales is None:
            values = self.constants[node.input[0]].values
            scales = self.constants[node.input[1]].values.astype(np.float64).reshape(-1)
            zeros = np.zeros(scales.size, np.int64)
            if len(node.input) > 2 and node.input[2]:
                zeros = self.constants[node.input[2]].values.astype(np.int64).reshape(-1)
            if values.dtype == np.uint8:
                values = (values.astype(np.int16) - _UNSIGNED_OFFSET).astype(np.int8)
                zeros = zeros - _UNSIGNED_OFFSET
            axis = _attributes(node).get("axis", 1) % max(values.ndim, 1)
            self.constants[node.output[0]] = Constant(values, scales, zeros, axis)
            return
        fed = {n: self.constants[n].real() if self.constants[n].scales is not None else self.constants[n].values
               for n in node.input if n}  # fmt: skip
        made = ReferenceEvaluator(node, opsets={"": self.opset}).run(None, fed)
        self.constants.update(
            {name: Constant(np.asarray(v)) for name, v in zip(node.output, made, strict=False) if name}
        )

    def _scale(self, node: NodeProto, tensor: str) -> tuple[float, int]:
        scales = self.constants[node.input[1]].values
        zeros = self.constants[node.input[2]].values if len(node.input) > 2 and node.input[2] else np.zeros(1, np.int8)
        offset = _UNSIGNED_OFFSET if self.tensor(tensor, node).unsigned else 0
        if scales.size != 1:
            problem = f"{tensor!r} has {scales.size} scales"
            raise CompileError(node.name, node.op_type, problem, "one scale for an activation")
        if zeros.dtype not in (np.int8, np.uint8):
            raise CompileError(node.name, node.op_type, f"{tensor!r} is quantized to {zeros.dtype}", "int8 or uint8")
        return float(scales.reshape(-1)[0]), int(zeros.reshape(-1)[0]) - offset

    def _tail(self, at: int) -> tuple[int, ...]:
        """Positions of the Relu or Clip and the QuantizeLinear that the node ends in; of a Split one for each part."""
        nodes = self.model.graph.node
        if nodes[at].op_type == "QuantizeLinear":
            return ()
        if nodes[at].op_type == "Split":
            parts = [self._reader_of(n) for n in nodes[at].output if n and (n in self.readers or n in self.outputs)]
            ends = tuple(p for p in parts if p is not None and self._quantizes(p))
            return ends if len(ends) == len(parts) else ()
        first = self._sole_reader(at)
        if first is None:
            return ()
        if self._quantizes(first):
            return (first,)
        if nodes[first].op_type in ("Relu", "Clip") and self._fixed(first):
            second = self._sole_reader(first)
            if second is not None and self._quantizes(second):
                return (first, second)
        return ()

    def _sole_reader(self, at: int) -> int | None:
        made = [n for n in self.model.graph.node[at].output if n and (n in self.readers or n in self.outputs)]
        return self._reader_of(made[0]) if len(made) == 1 else None

    def _reader_of(self, name: str) -> int | None:
        """The node whose first input it is, where no other sees it."""
        if name in self.outputs or len(self.readers[name]) != 1:
            return None
        reader = self.readers[name][0]
        return reader if self.model.graph.node[reader].input[0] == name else None

    def _quantizes(self, at: int) -> bool:
        return self.model.graph.node[at].op_type == "QuantizeLinear" and self._fixed(at)

    def _fixed(self, at: int) -> bool:
        return all(n in self.constants for n in self.model.graph.node[at].input[1:] if n)

    def _step(self, at: int, tail: Sequence[int]) -> Step:
        node = self.model.graph.node[at]
        if node.domain not in _DEFAULT_DOMAINS:
            raise CompileError(node.name, f"{node.domain}.{node.op_type}", "no kernel for it", "ONNX's own operators")
        ends = [self.model.graph.node[t] for t in (tail if node.op_type == "Split" else tail[-1:])] or [node]
        low, high = -math.inf, math.inf
        for between in tail[:-1] if node.op_type != "Split" else ():
            low, high = self._limits(self.model.graph.node[between])
        if node.op_type == "DequantizeLinear":
            inputs: tuple[Operand | None, ...] = (self.stored[node.output[0]],)
        else:
            inputs = tuple(self._operand(name, node) for name in node.input)
        read = [(name, end) for end in ends for name in end.output if name in self.readers or name in self.outputs]
        outputs = tuple(self._made(name, end) for name, end in read)
        for made in outputs:
            self.stored[made.tensor.name] = made
        name = node.name or f"{node.op_type}_{at}"
        return Step(name, node.op_type, _attributes(node), inputs, outputs, low, high, self.opset)

    def _operand(self, name: str, node: NodeProto) -> Operand | None:
        if not name:
            return None
        if name in self.constants:
            return self.constants[name]
        found = self.stored.get(name)
        return Stored(self.tensor(name, node)) if found is None else found

    def _made(self, name: str, node: NodeProto) -> Stored:
        tensor = self.tensor(name, node)
        if node.op_type == "QuantizeLinear":
            return Stored(tensor, *self._scale(node, name))
        return Stored(tensor)

    def _limits(self, node: NodeProto) -> tuple[float, float]:
        if node.op_type == "Relu":
            return 0.0, math.inf
        given = _attributes(node)
        bounds = [given.get("min", -math.inf), given.get("max", math.inf)]
        for slot, name in enumerate(node.input[1:3]):
            if name:
                bounds[slot] = float(self.constants[name].real().reshape(()))
        return float(bounds[0]), float(bounds[1])


def _types(model: onnx.ModelProto) -> dict[str, tuple[tuple[int, ...], int]]:
    """Shape and element type of every activation whose shape is fixed."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            found[value.name] = tuple(d.dim_value for d in dims), value.type.tensor_type.elem_type
    return found


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
