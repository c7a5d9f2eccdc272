"""The topologies of the small networks, as float32 graphs whose weights are stubs without a span yet.

Sources: the reference models of MLPerf Tiny (github.com/mlcommons/tiny, benchmark/training; Banbury et al.,
"MLPerf Tiny Benchmark", 2021, arXiv 2106.07597) and MobileNetV2 (Sandler et al., 2018, arXiv 1801.04381).
Batch normalisation is folded. Padding is "same" as TensorFlow has it: what is odd goes to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8


class Builder:
    """A graph in the making. Layers take and give tensor names; a layer's node, output and weights share its name."""

    def __init__(self, name: str, input_shape: tuple[int, ...]) -> None:
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self.shapes: dict[str, tuple[int, ...]] = {"input": input_shape}

    def conv(self, x: str, name: str, channels: int, kernel: tuple[int, int], stride: int = 1, groups: int = 1) -> str:
        _, depth, *size = self.shapes[x]
        after = [-(-n // stride) for n in size]
        missing = [max((a - 1) * stride + k - n, 0) for a, k, n in zip(after, kernel, size, strict=True)]
        pads = [m // 2 for m in missing] + [m - m // 2 for m in missing]
        inputs = [x, *self._weights(name, (channels, depth // groups, *kernel))]
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": [stride] * 2, "pads": pads, "group": groups}
        return self._node("Conv", name, inputs, (1, channels, *after), **attributes)

    def depthwise(self, x: str, name: str, stride: int = 1) -> str:
        channels = self.shapes[x][1]
        return self.conv(x, name, channels, (3, 3), stride, channels)

    def gemm(self, x: str, name: str, features: int) -> str:
        inputs = [x, *self._weights(name, (features, self.shapes[x][1]))]
        return self._node("Gemm", name, inputs, (1, features), transB=1)

    def relu(self, x: str) -> str:
        return self._node("Relu", f"{x}.relu", [x], self.shapes[x])

    def relu6(self, x: str) -> str:
        if not any(t.name == "six" for t in self.weights):
            bounds = {"zero": 0.0, "six": 6.0}
            self.weights += [numpy_helper.from_array(np.float32(v), k) for k, v in bounds.items()]
        return self._node("Clip", f"{x}.relu6", [x, "zero", "six"], self.shapes[x])

    def add(self, left: str, right: str, name: str) -> str:
        return self._node("Add", name, [left, right], self.shapes[left])

    def max_pool(self, x: str, name: str) -> str:
        _, channels, *size = self.shapes[x]
        shape = (1, channels, *(n // 2 for n in size))
        return self._node("MaxPool", name, [x], shape, kernel_shape=[2, 2], strides=[2, 2])

    def average(self, x: str) -> str:
        """Of every channel, by a pool as large as the picture, as the reference models write it."""
        channels, *size = self.shapes[x][1:]
        return self._node("AveragePool", "pool", [x], (1, channels, 1, 1), kernel_shape=size, strides=size)

    def global_average(self, x: str) -> str:
        return self._node("GlobalAveragePool", "pool", [x], (1, self.shapes[x][1], 1, 1))

    def flatten(self, x: str) -> str:
        return self._node("Flatten", "flatten", [x], (1, int(np.prod(self.shapes[x]))))

    def softmax(self, x: str) -> str:
        return self._node("Softmax", "softmax", [x], self.shapes[x], axis=1)

    def model(self, last: str) -> onnx.ModelProto:
        """The graph whose output is the tensor, which is renamed to "output"."""
        self.nodes[-1].output[0] = "output"
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[tensor])
            for name, tensor in (("input", "input"), ("output", last))
        ]
        graph = helper.make_graph(self.nodes, self.name, ends[:1], ends[1:], self.weights)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="edgecut"
        )

    def _node(self, op_type: str, name: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        self.shapes[name] = shape
        return name

    def _weights(self, name: str, dims: tuple[int, ...]) -> list[str]:
        self.weights.append(TensorProto(name=f"{name}.weight", dims=dims, data_type=TensorProto.FLOAT))
        self.weights.append(numpy_helper.from_array(np.zeros(dims[0], np.float32), f"{name}.bias"))
        return [f"{name}.weight", f"{name}.bias"]


def resnet8(name: str) -> onnx.ModelProto:
    """Image classification of MLPerf Tiny: 3 x 32 x 32, three residual stacks, 10 classes."""
    net = Builder(name, (1, 3, 32, 32))
    x = net.relu(net.conv("input", "conv", 16, (3, 3)))
    for stack, channels in enumerate((16, 32, 64), 1):
        stride = 1 if stack == 1 else 2
        y = net.relu(net.conv(x, f"stack{stack}.conv1", channels, (3, 3), stride))
        y = net.conv(y, f"stack{stack}.conv2", channels, (3, 3))
        if stride > 1:
            x = net.conv(x, f"stack{stack}.shortcut", channels, (1, 1), stride)
        x = net.relu(net.add(x, y, f"stack{stack}.add"))
    return net.model(net.softmax(net.gemm(net.flatten(net.average(x)), "classifier", 10)))


def ds_cnn(name: str) -> onnx.ModelProto:
    """Keyword spotting of MLPerf Tiny: 49 time steps x 10 coefficients, depthwise separable, 12 classes."""
    net = Builder(name, (1, 1, 49, 10))
    x = net.relu(net.conv("input", "conv", 64, (10, 4), 2))
    for block in range(1, 5):
        x = net.relu(net.depthwise(x, f"block{block}.depthwise"))
        x = net.relu(net.conv(x, f"block{block}.pointwise", 64, (1, 1)))
    return net.model(net.softmax(net.gemm(net.flatten(net.average(x)), "classifier", 12)))


def mobilenet_v1_025(name: str) -> onnx.ModelProto:
    """Visual wake words of MLPerf Tiny: MobileNetV1 of width 0.25, 3 x 96 x 96, 2 classes."""
    net = Builder(name, (1, 3, 96, 96))
    x = net.relu(net.conv("input", "conv", 8, (3, 3), 2))
    strided = (2, 4, 6, 12)
    for block, channels in enumerate((16, 32, 32, 64, 64, *[128] * 6, 256, 256), 1):
        x = net.relu(net.depthwise(x, f"block{block}.depthwise", 2 if block in strided else 1))
        x = net.relu(net.conv(x, f"block{block}.pointwise", channels, (1, 1)))
    return net.model(net.softmax(net.gemm(net.flatten(net.average(x)), "classifier", 2)))


def autoencoder(name: str) -> onnx.ModelProto:
    """Anomaly detection of MLPerf Tiny: 640 features (5 frames of 128 mel bins), through 8, and back."""
    net = Builder(name, (1, 640))
    x = "input"
    for layer, features in enumerate((128, 128, 128, 128, 8, 128, 128, 128, 128), 1):
        x = net.relu(net.gemm(x, f"dense{layer}", features))
    return net.model(net.gemm(x, "dense10", 640))


def mobilenet_v2_035(name: str) -> onnx.ModelProto:
    """MobileNetV2 of width 0.35 at 96 px with a head of 100 classes, whose scores it gives (no softmax)."""
    net = Builder(name, (1, 3, 96, 96))
    x = net.relu6(net.conv("input", "conv", 16, (3, 3), 2))
    block = 0
    # Expansion, channels times 0.35 (to the next multiple of 8 that loses no more than a tenth), repeats, stride.
    rows = ((1, 8, 1, 1), (6, 8, 2, 2), (6, 16, 3, 2), (6, 24, 4, 2), (6, 32, 3, 1), (6, 56, 3, 2), (6, 112, 1, 1))
    for expansion, channels, repeats, first_stride in rows:
        for repeat in range(repeats):
            x = _inverted_residual(net, x, f"block{block}", expansion, channels, 1 if repeat else first_stride)
            block += 1
    x = net.relu6(net.conv(x, "head", 1280, (1, 1)))
    return net.model(net.gemm(net.flatten(net.global_average(x)), "classifier", 100))


def _inverted_residual(net: Builder, x: str, name: str, expansion: int, channels: int, stride: int) -> str:
    before = net.shapes[x][1]
    y = x if expansion == 1 else net.relu6(net.conv(x, f"{name}.expand", before * expansion, (1, 1)))
    y = net.relu6(net.depthwise(y, f"{name}.depthwise", stride))
    y = net.conv(y, f"{name}.project", channels, (1, 1))
    return net.add(x, y, f"{name}.add") if stride == 1 and before == channels else y


def digits(name: str) -> onnx.ModelProto:
    """Handwritten digits, 8 x 8, brightness 0 to 1: two convolutions and a classifier; scores of 10 classes."""
    net = Builder(name, (1, 1, 8, 8))
    x = net.max_pool(net.relu(net.conv("input", "conv1", 8, (3, 3))), "pool1")
    x = net.max_pool(net.relu(net.conv(x, "conv2", 16, (3, 3))), "pool2")
    return net.model(net.gemm(net.flatten(x), "classifier", 10))


NETWORKS: Mapping[str, Callable[[str], onnx.ModelProto]] = {
    "tiny_resnet8": resnet8,
    "tiny_dscnn": ds_cnn,
    "tiny_mobilenet_v1_025": mobilenet_v1_025,
    "tiny_autoencoder": autoencoder,
    "tiny_mobilenet_v2_035": mobilenet_v2_035,
    "tiny_digits": digits,
}
