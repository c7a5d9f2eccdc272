"""What a small runtime asks of an operator beside its tensors: precision and figures, read from its ONNX nodes.

The figures are those over which the formulas of ``boards/runtimes`` stand (``firmware_interface/coverage.py`` says what
each means).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, numpy_helper

from optimizer.graph import OperatorForm
from optimizer.onnx_forms_shapes import reshape_splits, same_either_way, stored_shape
from optimizer.onnx_nodes import attribute
from optimizer.onnx_prepare import Prepared, standard_opset
from optimizer.onnx_units import Unit
from optimizer.zoo import is_stub

__all__ = ["operator_form"]

_DTYPES: Mapping[int, str] = {TensorProto.FLOAT: "float32", TensorProto.INT8: "int8", TensorProto.UINT8: "int8"}
"""uint8 is int8 less 128 on a board, zero points too."""
_POOLS = ("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean")
_CHANNELWISE = ("Add", "Mul", "Sub", "Div", "BatchNormalization")
_RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")
_COORDINATES = (b"half_pixel", b"pytorch_half_pixel", b"align_corners", b"asymmetric")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class _Operand:
    """An input of the node, with what it is quantized by. ``tensor`` None: left out."""

    tensor: str | None
    constant: bool
    quantized: bool = False
    scale: npt.NDArray[np.generic] | None = None
    zero: npt.NDArray[np.generic] | None = None
    """None where the file keeps them out of reach."""


def operator_form(prepared: Prepared, unit: Unit) -> OperatorForm:
    """Precision and figures of one operator."""
    return _Reader(prepared, unit).form()


@dataclass
class _Reader:
    prepared: Prepared
    unit: Unit
    figures: dict[str, int] = field(default_factory=dict)

    def form(self) -> OperatorForm:
        nodes = self.prepared.nodes
        self.node = nodes[self.unit.main]
        self.inside = {name: nodes[p] for p in self.unit.nodes for name in nodes[p].output if name}
        self.last = self._last()
        self.operands = [self._operand(name) for name in self.node.input]
        if self.node.op_type == "DequantizeLinear":
            self.operands = [self._operand(self.node.output[0])]
        self.activations = [o for o in self.operands if o.tensor is not None and not o.constant]
        precision = self._precision()
        if self.activations and self.unit.outputs and precision in ("int8", "float32", "mixed"):
            self._fill(precision)
        return OperatorForm(precision, self.figures)

    def _last(self) -> NodeProto:
        """The node that makes the operator's outputs: the QuantizeLinear that it ends in, or itself."""
        return self.inside.get(self.unit.outputs[0], self.node) if self.unit.outputs else self.node

    def _operand(self, name: str) -> _Operand:
        if not name:
            return _Operand(None, True)
        maker = self.inside.get(name)
        if maker is not None and maker.op_type == "DequantizeLinear":
            scale = self._values(maker.input[1])
            zero = self._values(maker.input[2]) if len(maker.input) > 2 and maker.input[2] else np.zeros(1, np.int8)
            return _Operand(maker.input[0], maker.input[0] not in self.unit.inputs, True, scale, zero)
        return _Operand(name, name not in self.unit.inputs)

    def _values(self, name: str) -> npt.NDArray[np.generic] | None:
        """The elements of a constant, where the file has them at hand."""
        tensor = self.prepared.model.initializers.get(name)
        if tensor is None:
            maker = self.inside.get(name)
            tensor = attribute(maker, "value", None) if maker is not None and maker.op_type == "Constant" else None
        if tensor is None or is_stub(tensor):
            return None
        return numpy_helper.to_array(self.prepared.model.inline(tensor))

    def _shape(self, name: str | None) -> Shape:
        known = self.prepared.types.get(name or "")
        return () if known is None or known.shape is None else known.shape

    def _precision(self) -> str:
        names = [o.tensor or "" for o in self.activations] + list(self.unit.outputs)
        kinds = {self.prepared.types[n].elem_type for n in names if n in self.prepared.types}
        found = {_DTYPES.get(kind, "other") for kind in kinds}
        if len(found) == 1:
            return found.pop()
        convert = self.node.op_type in ("QuantizeLinear", "DequantizeLinear")
        return "mixed" if found == {"int8", "float32"} and convert else "other"

    def _fill(self, precision: str) -> None:
        kind = self.node.op_type
        source, target = self._shape(self.activations[0].tensor), self._shape(self.unit.outputs[0])
        others = [o for o in self.operands if o is not self.activations[0] or kind == "Concat"]
        self.figures |= {
            "axes": len(source),
            "batch": source[0] if len(source) == 4 else 1,
            "activations": len(self.activations),
            "outputs": len(self.unit.outputs),
            "constant": int(all(o.constant == (kind != "Concat") for o in others)),
            "symmetric": int(self._symmetric()),
            "plain": 1,
            "rescaled": self._rescaled() if precision == "int8" else 0,
            "limited": int(self.last is not self.node and self.last.input[0] not in self.node.output),
            "turned": int(not self._alike(source, target)),
            "repeats": int(self._repeats(target)),
            "ragged": 0,
            "counts_padding": int(bool(attribute(self.node, "count_include_pad", 0))),
        }
        if kind in ("Conv", *_POOLS) and len(source) == len(target) == 4:
            self._window(source, target)
        elif kind in _POOLS and len(source) == 4:
            self._window(source, (target[0], target[1], 1, 1))
        elif kind in ("Gemm", "MatMul"):
            self._product(source, target)
        else:
            channels = stored_shape(target)[-1] if target else 1
            pixels = math.prod(target) // max(channels, 1)
            self._point(pixels, channels, channels)
        if kind in ("Resize", "Upsample") and len(source) == len(target) == 4:
            self._set(height=source[2], width=source[3], out_height=target[2], out_width=target[3])
        if precision == "float32" and any(o.quantized and o.constant for o in self.operands):
            self.figures["constant"] = 0
        self._plain(source, target)
        figures = self.figures
        figures["largest"] = max(
            figures[k] for k in ("height", "width", "channels", "out_height", "out_width", "out_channels", "taps")
        )

    def _set(self, **figures: int) -> None:
        self.figures |= figures

    def _point(self, pixels: int, channels: int, outs: int) -> None:
        """A 1x1 window over one row."""
        self._set(height=1, width=pixels, channels=channels, out_height=1, out_width=pixels, out_channels=outs)
        self._set(taps=1, stride_height=1, stride_width=1, pad_top=0, pad_left=0, groups=1)

    def _product(self, source: Shape, target: Shape) -> None:
        matrix = self._shape(self.operands[1].tensor)
        left = self.operands[0] is self.activations[0]
        usable = left and len(matrix) == 2 and not attribute(self.node, "transA", 0)
        self._point(
            math.prod(source) // max(source[-1], 1) if source else 1,
            source[-1] if source else 1,
            target[-1] if target else 1,
        )
        self.figures["plain"] = int(usable)

    def _window(self, source: Shape, target: Shape) -> None:
        kernel = self._kernel(source)
        strides = attribute(self.node, "strides", [1, 1])
        dilations = attribute(self.node, "dilations", [1, 1])
        pads = self._pads(source, target, kernel, strides, dilations)
        if not len(kernel) == len(strides) == len(dilations) == 2 or len(pads) != 4:
            self._point(1, 1, 1)
            self.figures["plain"] = 0
            return
        over = any(
            (target[2 + a] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] - pads[a] >= source[2 + a] or pads[a] > 0
            for a in (0, 1)
        )
        self._set(height=source[2], width=source[3], channels=source[1], taps=math.prod(kernel))
        self._set(out_height=target[2], out_width=target[3], out_channels=target[1], ragged=int(over))
        self._set(stride_height=strides[0], stride_width=strides[1], pad_top=pads[0], pad_left=pads[1])
        self._set(groups=int(attribute(self.node, "group", 1)))
        if min(pads) < 0:
            self.figures["plain"] = 0

    def _kernel(self, source: Shape) -> Sequence[int]:
        if self.node.op_type == "Conv":
            return self._shape(self.operands[1].tensor)[2:]
        if self.node.op_type in ("AveragePool", "MaxPool"):
            return tuple(attribute(self.node, "kernel_shape", ()))
        return source[2:]

    def _pads(
        self, source: Shape, target: Shape, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
    ) -> list[int]:
        automatic = attribute(self.node, "auto_pad", b"NOTSET")
        if automatic in (b"NOTSET", b"VALID") or len(kernel) != 2:
            return [0] * 4 if automatic == b"VALID" else list(attribute(self.node, "pads", [0, 0, 0, 0]))
        pads = [0] * 4
        for a in (0, 1):
            reach = (target[2 + a] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1
            missing = max(reach - source[2 + a], 0)
            pads[a] = missing // 2 if automatic == b"SAME_UPPER" else missing - missing // 2
        return pads

    def _symmetric(self) -> bool:
        """Whether a second operand is int8 with zero points of 0, as far as can be seen."""
        if len(self.operands) < 2 or not self.operands[1].quantized:
            return False
        known = self.prepared.types.get(self.operands[1].tensor or "")
        zero = self.operands[1].zero
        if known is None or known.elem_type not in (TensorProto.INT8, TensorProto.UINT8):
            return False
        middle = 128 if known.elem_type == TensorProto.UINT8 else 0
        return zero is None or bool(np.all(zero == middle))

    def _rescaled(self) -> int:
        """Outputs that are quantized otherwise than some input."""
        return sum(self._rescales(name) for name in self.unit.outputs)

    def _rescales(self, output: str) -> bool:
        maker = self.inside.get(output, self.node)
        if maker.op_type != "QuantizeLinear":
            return False
        scale = self._values(maker.input[1])
        zero = self._values(maker.input[2]) if len(maker.input) > 2 and maker.input[2] else np.zeros(1)
        names = [output, *(o.tensor for o in self.activations if o.tensor is not None)]
        if len({self.prepared.types[n].elem_type for n in names if n in self.prepared.types}) > 1:
            return True
        for operand in self.activations:
            for own, made in ((operand.scale, scale), (operand.zero, zero)):
                if own is not None and made is not None and not np.array_equal(own.reshape(-1), made.reshape(-1)):
                    return True
        return False

    def _alike(self, source: Shape, target: Shape) -> bool:
        if stored_shape(source) == stored_shape(target):
            return True
        return same_either_way(source) and same_either_way(target)

    def _repeats(self, target: Shape) -> bool:
        """Whether one of two activations has the result's shape and the other repeats along the stored order."""
        shapes = [self._shape(o.tensor) for o in self.activations]
        if len(shapes) != 2 or target not in shapes:
            return False
        other = shapes[1] if shapes[0] == target else shapes[0]
        aligned = (1,) * (len(target) - len(other)) + other
        stored, whole = stored_shape(aligned), stored_shape(target)
        begin = next((i for i, n in enumerate(stored) if n != 1), len(stored))
        return stored[begin:] == whole[begin:]

    def _plain(self, source: Shape, target: Shape) -> None:
        """Attributes that only some operators have; ``plain`` is 0 where no kernel takes theirs."""
        checks: Mapping[str, Callable[[], bool]] = {
            "ReduceMean": lambda: self._axes("axes", 1) == (2, 3),
            "Softmax": lambda: self._softmax(target),
            "Pad": lambda: self._pad(source),
            "Resize": lambda: self._resize(source, target),
            "Upsample": lambda: self._resize(source, target),
            **dict.fromkeys(_RESHAPES, lambda: reshape_splits(source, target)),
            **dict.fromkeys(("AveragePool", "MaxPool"), self._pool),
            "Split": lambda: len(self.unit.outputs) == len(self.node.output),
        }
        kind = self.node.op_type
        fine = checks[kind]() if kind in checks else True
        if kind in _CHANNELWISE and len(self.activations) == 1:
            fine = self._channelwise(target)
        self.figures["plain"] = int(bool(self.figures["plain"]) and fine)

    def _pool(self) -> bool:
        one = len(self.unit.outputs) == 1 and sum(1 for n in self.node.output if n) == 1
        return one and not (attribute(self.node, "count_include_pad", 0) and attribute(self.node, "ceil_mode", 0))

    def _axes(self, name: str, at: int) -> tuple[int, ...]:
        found = attribute(self.node, name, None)
        if found is None and at < len(self.node.input):
            values = self._values(self.node.input[at])
            found = None if values is None else values.reshape(-1).tolist()
        rank = self.figures["axes"]
        return tuple(sorted(int(a) % rank for a in found or ()))

    def _softmax(self, target: Shape) -> bool:
        rank = len(target)
        old = (standard_opset(self.prepared.skeleton) or 0) < 13
        axis = int(attribute(self.node, "axis", 1 if old else -1)) % rank
        if old and rank != 4:
            return True
        flat = same_either_way(target) and all(n == 1 for a, n in enumerate(target) if a > axis)
        return flat or axis == (1 if rank == 4 else rank - 1)

    def _pad(self, source: Shape) -> bool:
        pads = attribute(self.node, "pads", None)
        if pads is None and len(self.node.input) > 1:
            values = self._values(self.node.input[1])
            pads = None if values is None else values.reshape(-1).tolist()
        constant = attribute(self.node, "mode", b"constant") == b"constant"
        return constant and pads is not None and min(pads, default=0) >= 0 and len(pads) == 2 * len(source)

    def _resize(self, source: Shape, target: Shape) -> bool:
        nearest = attribute(self.node, "mode", b"nearest") == b"nearest"
        coordinates = attribute(self.node, "coordinate_transformation_mode", b"half_pixel") in _COORDINATES
        return nearest and coordinates and len(source) == 4 and source[:2] == target[:2]

    def _channelwise(self, target: Shape) -> bool:
        """Whether the constant is a scalar or has one value for each element of the axis stored last."""
        if self.node.op_type == "BatchNormalization":
            return True
        other = next((o for o in self.operands if o.constant and o.tensor is not None), None)
        if other is None or (self.node.op_type == "Div" and self.operands[0] is other):
            return False
        shape = self._shape(other.tensor)
        aligned = stored_shape((1,) * (len(target) - len(shape)) + shape)
        return math.prod(shape) == 1 or (aligned[-1:] == stored_shape(target)[-1:] and math.prod(aligned[:-1]) == 1)
