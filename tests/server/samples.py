"""A small network for uploads."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS = 6
WIDTH = 64


def small_model(layers: int = LAYERS, width: int = WIDTH, seed: int = 0) -> bytes:
    """An ONNX file: ``layers`` fully connected layers, each with a Relu."""
    generator = np.random.default_rng(seed)
    nodes, weights = [], []
    last = "input"
    for i in range(layers):
        weight = generator.standard_normal((width, width)).astype(np.float32) / np.float32(width**0.5)
        weights.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"], name=f"/layer{i}/MatMul"))
        nodes.append(helper.make_node("Relu", [f"m{i}"], [f"r{i}"], name=f"/layer{i}/Relu"))
        last = f"r{i}"
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, width])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, width])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.ModelProto.SerializeToString(model)
