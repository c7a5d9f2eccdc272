"""From a small float32 network to the same in int8, as QuantizeLinear and DequantizeLinear (QDQ).

Weights: symmetric, a scale for each output channel. Activations: a scale and a zero point for each tensor, after
the activation function where there is one. Biases: int32 in steps of input scale times weight scale. Inputs and
outputs of the network are int8 too. An int8 tensor has the name of its float32 original.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from optimizer.zoo_weights import INT8_LOCATION, channel_scales, is_stub, quantized_rows, stub_elements

Step = tuple[np.float32, int]
"""Scale and zero point."""

_ACTIVATIONS = ("Relu", "Clip")
_VIEWS = ("Flatten", "MaxPool")
"""Their output holds elements of their input, so it has its scale."""
_SOFTMAX: Step = (np.float32(1 / 256), -128)


def quantize(model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], input_step: Step | None = None) -> None:
    """Rewrite the float32 model, whose weights are stubs or inline, in place.

    ``ranges`` are least and greatest value of every tensor that an operator makes, and of the input.
    """
    _Quantizer(model, ranges, input_step).run()


class _Quantizer:
    def __init__(
        self, model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], input_step: Step | None
    ) -> None:
        self.graph = model.graph
        self.weights = {t.name: t for t in model.graph.initializer}
        self.ranges = ranges
        self.steps: dict[str, Step] = {"input": input_step or _step(ranges["input"])}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []

    def run(self) -> None:
        graph, nodes = self.graph, list(self.graph.node)
        self._dequantize("input")
        for node, following in zip(nodes, [*nodes[1:], None], strict=True):
            fused = following is not None and following.op_type in _ACTIVATIONS
            self._operator(node, fused)
        del graph.node[:]
        del graph.initializer[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(self.initializers)
        for value in (*graph.input, *graph.output):
            value.type.tensor_type.elem_type = TensorProto.INT8

    def _operator(self, node: onnx.NodeProto, fused: bool) -> None:
        """The node between its surroundings; what an activation function follows stays in float32."""
        copy, (made,) = onnx.NodeProto(), node.output
        copy.CopyFrom(node)
        if node.op_type in _ACTIVATIONS:
            copy.input[0] += ".float"
            self.initializers += [w for n in node.input[1:] if (w := self.weights[n]) not in self.initializers]
        else:
            copy.input[:] = [f"{name}.dequantized" for name in node.input]
        if node.op_type in ("Conv", "Gemm"):
            self._weight_and_bias(*node.input)
        copy.output[0] = f"{made}.float"
        self.nodes.append(copy)
        if fused:
            return
        if node.op_type in _VIEWS:
            self.steps[made] = self.steps[node.input[0]]
        else:
            self.steps[made] = _SOFTMAX if node.op_type == "Softmax" else _step(self.ranges[made])
        names = [f"{made}.float", f"{made}.scale", f"{made}.zero_point"]
        self.nodes.append(helper.make_node("QuantizeLinear", names, [made], name=f"{made}.quantize"))
        self._dequantize(made)

    def _dequantize(self, name: str) -> None:
        """Scale and zero point of an activation, and the node that reads them unless nothing follows."""
        scale, zero_point = self.steps[name]
        self.initializers.append(numpy_helper.from_array(scale, f"{name}.scale"))
        self.initializers.append(numpy_helper.from_array(np.int8(zero_point), f"{name}.zero_point"))
        if name != "output":
            self._dequantize_node(name)

    def _dequantize_node(self, name: str, **attributes: int) -> None:
        names = [name, f"{name}.scale", f"{name}.zero_point"]
        node = helper.make_node(
            "DequantizeLinear", names, [f"{name}.dequantized"], name=f"{name}.dequantize", **attributes
        )
        self.nodes.append(node)

    def _weight_and_bias(self, x: str, weight_name: str, bias_name: str) -> None:
        weight = self.weights[weight_name]
        floats = stub_elements(weight) if is_stub(weight) else numpy_helper.to_array(weight)
        scales = channel_scales(floats)
        input_scale = self.steps[x][0]
        bias_scales = input_scale * scales
        bias = np.rint(numpy_helper.to_array(self.weights[bias_name]) / bias_scales).astype(np.int32)
        parts = {
            weight_name: (quantized_rows(floats, scales), "weight"),
            f"{weight_name}.scale": (scales, "scale"),
            f"{bias_name}.scale": (bias_scales, "bias-scale"),
        }
        for name, (elements, part) in parts.items():
            if is_stub(weight):
                self.initializers.append(_stub(name, elements, part, weight, input_scale))
            else:
                self.initializers.append(numpy_helper.from_array(elements, name))
        self.initializers.append(numpy_helper.from_array(bias, bias_name))
        for name, dtype in ((weight_name, np.int8), (bias_name, np.int32)):
            self.initializers.append(numpy_helper.from_array(np.zeros(len(bias), dtype), f"{name}.zero_point"))
            self._dequantize_node(name, axis=0)


def _step(bounds: tuple[float, float]) -> Step:
    """The range, made to hold 0, over 255 steps."""
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    scale = np.float32((high - low) / 255)
    return scale, int(np.clip(np.rint(-128 - low / float(scale)), -128, 127))


def _stub(
    name: str, elements: npt.NDArray[np.generic], part: str, weight: TensorProto, input_scale: np.float32
) -> TensorProto:
    """A quantized stub that is made from the seeded stub ``weight``."""
    stub = TensorProto(name=name, dims=elements.shape)
    stub.data_type = helper.np_dtype_to_tensor_dtype(elements.dtype)
    stub.data_location = TensorProto.EXTERNAL
    seed = {e.key: e.value for e in weight.external_data}
    entries = {
        "location": INT8_LOCATION,
        "part": part,
        "weight": weight.name,
        "dims": ",".join(map(str, weight.dims)),
        "centre": seed["centre"],
        "span": seed["span"],
    }
    if part == "bias-scale":
        entries["input_scale"] = str(float(input_scale))
    for key, value in entries.items():
        stub.external_data.add(key=key, value=value)
    return stub
