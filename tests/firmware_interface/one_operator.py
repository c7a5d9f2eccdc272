"""Models of one operator, float32 or between QuantizeLinear and DequantizeLinear, and cases of all that boards run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Floats = npt.NDArray[np.float32]
_KEEP = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose", "Concat", "Slice", "Split",
                   "Pad", "Resize", "Upsample"))  # fmt: skip
"""These keep the scale of their input, or no kernel runs them."""
_WEIGHT_AXIS = {"Conv": 0, "Gemm": 0, "MatMul": 1}


@dataclass(frozen=True)
class OneOperator:
    """``constants`` by position among the inputs; the other positions are the activations, in order."""

    name: str
    op_type: str
    shapes: Sequence[tuple[int, ...]]
    constants: Mapping[int, npt.NDArray[Any]] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    activation: str = ""
    opset: int = 17
    float32: bool = True
    int8: bool = True
    rescale: bool = False
    """int8: another scale at the output, also where the operator would keep it."""


def build_model(case: OneOperator, *, quantized: bool, unsigned: bool = False) -> onnx.ModelProto:
    """The model; inputs x0, x1, ..., outputs y0, y1, ... ``unsigned``: activations and weights are uint8."""
    return _Builder(case, quantized, unsigned).model()


class _Builder:
    def __init__(self, case: OneOperator, quantized: bool, unsigned: bool) -> None:
        self.case, self.quantized = case, quantized
        self.integer, self.offset = (np.uint8, 128) if unsigned else (np.int8, 0)
        self.kind = (TensorProto.UINT8 if unsigned else TensorProto.INT8) if quantized else TensorProto.FLOAT
        self.rng = np.random.default_rng(len(case.name))
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        case = self.case
        scales = [(0.05, 3), (0.03, -7), (0.04, 0)]
        if case.op_type in _KEEP:
            scales = [(0.05, 3)] * 3
        inputs, names, values = [], [], []
        shapes = iter(case.shapes)
        count = len(case.shapes) + len(case.constants)
        for position in range(count):
            if position in case.constants:
                names.append(self.constant(position, scales[0][0]))
                continue
            number = len(inputs)
            shape = next(shapes)
            inputs.append(helper.make_tensor_value_info(f"x{number}", self.kind, shape))
            scale, zero = scales[number % 3]
            names.append(self.dequantize(f"x{number}", scale, zero) if self.quantized else f"x{number}")
            values.append(((self.rng.integers(-128, 128, shape) - zero) * scale).astype(np.float32))
        if self.quantized:
            self.quantized_outputs(names, values, scales[0])
        else:
            made = [f"y{n}" for n in range(case.outputs)]
            self.nodes.append(self.node(names, [f"{m}_raw" for m in made] if case.activation else made))
            if case.activation:
                self.nodes += [helper.make_node(case.activation, [f"{m}_raw"], [m], name=f"act_{m}") for m in made]
        shapes_out = [v.shape for v in self.outputs(names, values)]
        outs = [helper.make_tensor_value_info(f"y{n}", self.kind, s) for n, s in enumerate(shapes_out)]
        graph = helper.make_graph(self.nodes, "one", inputs, outs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=8)

    def node(self, names: Sequence[str], outputs: Sequence[str]) -> onnx.NodeProto:
        return helper.make_node(self.case.op_type, names, outputs, name="op", **self.case.attributes)

    def stored(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Integers from -128 to 127 in the dtype of the model."""
        return (values.astype(np.int16) + self.offset).astype(self.integer)

    def add(self, name: str, values: npt.ArrayLike) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def constant(self, position: int, input_scale: float) -> str:
        values = np.asarray(self.case.constants[position])
        name = f"c{position}"
        plain = not self.quantized or values.dtype != np.float32 or self.case.op_type in ("BatchNormalization", "Clip")
        if plain or self.case.op_type in _KEEP:
            return self.add(name, values)
        axis = _WEIGHT_AXIS.get(self.case.op_type)
        if axis is None:
            scale = np.float32(max(float(np.abs(values).max()), 1e-3) / 100)
            self.add(name, self.stored(np.clip(np.rint(values / scale), -128, 127)))
            return self.dequantize(name, float(scale), 0)
        if position == 1:
            if self.case.op_type == "Gemm" and not self.case.attributes.get("transB"):
                axis = 1
            others = tuple(a for a in range(values.ndim) if a != axis)
            self.weight_scales = (np.abs(values).max(axis=others) / 127).astype(np.float32)
            shape = [1] * values.ndim
            shape[axis] = -1
            self.add(name, self.stored(np.rint(values / self.weight_scales.reshape(shape))))
            return self.dequantize(name, self.weight_scales, self.stored(np.zeros(len(self.weight_scales))), axis)
        scale = (self.weight_scales * np.float32(input_scale)).astype(np.float32)
        self.add(name, np.rint(values / scale).astype(np.int32))
        return self.dequantize(name, scale, np.zeros(len(scale), np.int32), 0)

    def dequantize(self, name: str, scale: npt.ArrayLike, zero: npt.ArrayLike, axis: int | None = None) -> str:
        self.add(f"{name}_scale", np.asarray(scale, np.float32))
        self.add(f"{name}_zero", zero if isinstance(zero, np.ndarray) else self.stored(np.array(zero)))
        rest = {} if axis is None else {"axis": axis}
        self.nodes.append(
            helper.make_node("DequantizeLinear", [name, f"{name}_scale", f"{name}_zero"], [f"{name}_f"], **rest)
        )
        return f"{name}_f"

    def outputs(self, names: Sequence[str], values: Sequence[Floats]) -> list[Floats]:
        """What the operator makes of these activations in float32."""
        case = self.case
        fed, rest = iter(values), {}
        inner = []
        for position in range(len(names)):
            inner.append(f"i{position}")
            rest[f"i{position}"] = case.constants[position] if position in case.constants else next(fed)
        infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
                 for n, v in rest.items()]  # fmt: skip
        made = [f"o{n}" for n in range(case.outputs)]
        outs = [helper.make_tensor_value_info(m, TensorProto.FLOAT, None) for m in made]
        graph = helper.make_graph([self.node(inner, made)], "inner", infos, outs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=8)
        return list(ReferenceEvaluator(model).run(None, rest))

    def quantized_outputs(self, names: Sequence[str], values: Sequence[Floats], like: tuple[float, int]) -> None:
        case = self.case
        made = self.outputs(names, values)
        self.nodes.append(self.node(names, [f"f{n}" for n in range(case.outputs)]))
        for n, result in enumerate(made):
            name = f"f{n}"
            if case.activation:
                self.nodes.append(helper.make_node(case.activation, [name], [f"a{n}"], name=f"act{n}"))
                name = f"a{n}"
            scale, zero = float(np.abs(result).max()) / 120, -5
            if case.op_type in _KEEP and not case.rescale:
                scale, zero = like
            if case.op_type in ("MaxPool", "GlobalMaxPool") and not case.rescale:
                scale, zero = like
            self.add(f"y{n}_scale", np.float32(scale))
            self.add(f"y{n}_zero", self.stored(np.array(zero)))
            self.nodes.append(helper.make_node("QuantizeLinear", [name, f"y{n}_scale", f"y{n}_zero"], [f"y{n}"]))


def _random(*shape: int) -> Floats:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def _ints(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


_IMAGE = (1, 6, 7, 5)
CASES = (
    OneOperator("conv", "Conv", [_IMAGE], {1: _random(4, 6, 3, 3), 2: _random(4)}, {"pads": [1, 1, 1, 1]}),
    OneOperator("conv without bias", "Conv", [_IMAGE], {1: _random(4, 6, 2, 3)},
                {"strides": [2, 1], "pads": [0, 1, 1, 0]}),
    OneOperator("conv same", "Conv", [_IMAGE], {1: _random(5, 6, 3, 3)}, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    OneOperator("conv lower", "Conv", [_IMAGE], {1: _random(5, 6, 2, 2)},
                {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    OneOperator("conv dilated", "Conv", [_IMAGE], {1: _random(4, 6, 2, 2)}, {"dilations": [2, 3]}),
    OneOperator("conv grouped", "Conv", [_IMAGE], {1: _random(4, 3, 3, 3), 2: _random(4)}, {"group": 2}),
    OneOperator("conv of a batch", "Conv", [(2, 3, 5, 4)], {1: _random(4, 3, 3, 3)}, {"pads": [1, 1, 1, 1]}),
    OneOperator("conv and relu", "Conv", [_IMAGE], {1: _random(4, 6, 1, 1), 2: _random(4)}, activation="Relu"),
    OneOperator("depthwise", "Conv", [_IMAGE], {1: _random(6, 1, 3, 3), 2: _random(6)},
                {"group": 6, "pads": [1, 1, 1, 1]}),
    OneOperator("depth multiplier", "Conv", [_IMAGE], {1: _random(12, 1, 3, 3)}, {"group": 6}),
    OneOperator("gemm", "Gemm", [(3, 10)], {1: _random(4, 10), 2: _random(4)}, {"transB": 1}),
    OneOperator("gemm scaled", "Gemm", [(2, 10)], {1: _random(10, 4)}, {"alpha": 0.5}),
    OneOperator("matmul", "MatMul", [(2, 3, 10)], {1: _random(10, 4)}),
    OneOperator("average", "AveragePool", [_IMAGE], {}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    OneOperator("average with padding", "AveragePool", [_IMAGE], {},
                {"kernel_shape": [3, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    OneOperator("average ceiled", "AveragePool", [_IMAGE], {},
                {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    OneOperator("average whole", "AveragePool", [_IMAGE], {}, {"kernel_shape": [7, 5]}),
    OneOperator("global average", "GlobalAveragePool", [(2, 3, 5, 4)]),
    OneOperator("mean", "ReduceMean", [_IMAGE], {}, {"axes": [2, 3], "keepdims": 0}),
    OneOperator("maximum", "MaxPool", [_IMAGE], {}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    OneOperator("maximum rescaled", "MaxPool", [_IMAGE], {}, {"kernel_shape": [2, 2]}, rescale=True, float32=False),
    OneOperator("global maximum", "GlobalMaxPool", [_IMAGE]),
    OneOperator("softmax", "Softmax", [(3, 10)]),
    OneOperator("softmax of channels", "Softmax", [_IMAGE], {}, {"axis": 1}),
    OneOperator("add", "Add", [_IMAGE, _IMAGE]),
    OneOperator("add and relu", "Add", [_IMAGE, _IMAGE], activation="Relu"),
    OneOperator("add by channel", "Add", [(1, 6, 1, 1), _IMAGE]),
    OneOperator("mul", "Mul", [(2, 9), (2, 9)]),
    OneOperator("mul by channel", "Mul", [_IMAGE, (1, 6, 1, 1)]),
    OneOperator("mul by scalar", "Mul", [_IMAGE, (1,)]),
    OneOperator("add constants", "Add", [_IMAGE], {1: _random(1, 6, 1, 1)}),
    OneOperator("add a constant", "Add", [(3, 8)], {1: np.array(0.7, np.float32)}),
    OneOperator("mul constants", "Mul", [(3, 8)], {1: _random(8)}),
    OneOperator("sub constants", "Sub", [_IMAGE], {1: _random(6, 1, 1)}),
    OneOperator("sub from a constant", "Sub", [(3, 8)], {0: np.array(0.7, np.float32)}),
    OneOperator("div constants", "Div", [(3, 8)], {1: np.abs(_random(8)) + 1}),
    OneOperator("batch normalization", "BatchNormalization", [_IMAGE],
                {1: _random(6), 2: _random(6), 3: _random(6), 4: np.abs(_random(6)) + 1}),
    OneOperator("relu", "Relu", [_IMAGE]),
    OneOperator("clip", "Clip", [_IMAGE], {1: np.array(-1, np.float32), 2: np.array(2, np.float32)}),
    OneOperator("sigmoid", "Sigmoid", [_IMAGE]),
    OneOperator("hard swish", "HardSwish", [_IMAGE]),
    *(OneOperator(n.lower(), n, [_IMAGE], float32=False) for n in ("HardSigmoid", "LeakyRelu", "Elu", "Tanh", "Erf",
                                                                  "Abs", "Neg")),
    OneOperator("flatten of a pixel", "Flatten", [(1, 6, 1, 1)]),
    OneOperator("flatten of an image", "Flatten", [_IMAGE]),
    OneOperator("flatten rescaled", "Flatten", [_IMAGE], rescale=True, float32=False),
    OneOperator("flatten of a pixel rescaled", "Flatten", [(1, 6, 1, 1)], rescale=True, float32=False),
    OneOperator("reshape", "Reshape", [(2, 12)], {1: _ints(2, 3, 4)}),
    OneOperator("reshape to an image", "Reshape", [(2, 30)], {1: _ints(2, 5, 3, 2)}),
    OneOperator("reshape of channels", "Reshape", [(1, 6, 2, 2)], {1: _ints(1, 2, 3, 4)}),
    OneOperator("squeeze", "Squeeze", [(1, 6, 1, 1)], {1: _ints(2, 3)}),
    OneOperator("unsqueeze", "Unsqueeze", [(2, 6)], {1: _ints(1)}),
    OneOperator("identity", "Identity", [_IMAGE]),
    OneOperator("transpose", "Transpose", [_IMAGE], {}, {"perm": [0, 2, 3, 1]}),
    OneOperator("transpose of a matrix", "Transpose", [(4, 9)], {}, {"perm": [1, 0]}),
    OneOperator("concat", "Concat", [_IMAGE, (1, 3, 7, 5)], {}, {"axis": 1}),
    OneOperator("concat of rows", "Concat", [_IMAGE, (1, 6, 2, 5), _IMAGE], {}, {"axis": 2}),
    OneOperator("slice", "Slice", [_IMAGE], {1: _ints(1, 0), 2: _ints(5, 100), 3: _ints(1, 2), 4: _ints(2, 3)}),
    OneOperator("slice backwards", "Slice", [_IMAGE], {1: _ints(-1), 2: _ints(-100), 3: _ints(3), 4: _ints(-1)}),
    OneOperator("split", "Split", [_IMAGE], {1: _ints(2, 4)}, {"axis": 1}, outputs=2),
    OneOperator("split rescaled", "Split", [_IMAGE], {1: _ints(3, 3)}, {"axis": 1}, outputs=2, float32=False,
                rescale=True),
    OneOperator("pad", "Pad", [_IMAGE], {1: _ints(0, 1, 2, 0, 0, 0, 1, 3), 2: np.array(0.5, np.float32)}),
    OneOperator("resize", "Resize", [_IMAGE], {1: np.array([], np.float32), 2: np.array([1, 1, 2, 2], np.float32)},
                {"mode": "nearest"}),
    OneOperator("resize smaller", "Resize", [_IMAGE],
                {1: np.array([], np.float32), 2: np.array([1, 1, 0.6, 0.7], np.float32)},
                {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
)  # fmt: skip
