"""Single operators between QuantizeLinear and DequantizeLinear, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Int8 = npt.NDArray[np.int8]


@dataclass(frozen=True)
class ScaleZero:
    scale: float
    zero: int


def quantize(values: npt.NDArray[np.float32], target: ScaleZero) -> Int8:
    """QuantizeLinear."""
    return np.clip(np.rint(values / np.float32(target.scale)) + target.zero, -128, 127).astype(np.int8)


def depthwise_weights(weights: Int8) -> Int8:
    """ONNX's [channels, 1, height, width] as a record's [height, width, channels]."""
    return np.ascontiguousarray(weights[:, 0].transpose(1, 2, 0))


def run_qdq(
    operator: str,
    inputs: Sequence[tuple[Int8, ScaleZero]],
    output: ScaleZero,
    *,
    weights: tuple[Int8, npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.float32]] | None = None,
    **attributes: Any,
) -> Int8:
    """int8 images [height, width, channels] in and out; ``weights`` are weights, their scales, bias, its scales."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def dequantize(name: str, scale: npt.ArrayLike, zero: npt.NDArray[Any], axis: int | None = None) -> str:
        constants.append(numpy_helper.from_array(np.asarray(scale, np.float32), f"{name}_scale"))
        constants.append(numpy_helper.from_array(zero, f"{name}_zero"))
        rest = {} if axis is None else {"axis": axis}
        nodes.append(
            helper.make_node("DequantizeLinear", [name, f"{name}_scale", f"{name}_zero"], [f"{name}_f"], **rest)
        )
        return f"{name}_f"

    fed, names, values_in = {}, [], []
    for at, (values, how) in enumerate(inputs):
        fed[f"x{at}"] = np.ascontiguousarray(values.transpose(2, 0, 1)[None])
        values_in.append(helper.make_tensor_value_info(f"x{at}", TensorProto.INT8, fed[f"x{at}"].shape))
        names.append(dequantize(f"x{at}", how.scale, np.array(how.zero, np.int8)))
    if weights is not None:
        w, scales, bias, bias_scales = weights
        constants.extend([numpy_helper.from_array(w, "w"), numpy_helper.from_array(bias, "b")])
        names.append(dequantize("w", scales, np.zeros(len(scales), np.int8), 0))
        names.append(dequantize("b", bias_scales, np.zeros(len(scales), np.int32), 0))
    nodes.append(helper.make_node(operator, names, ["y_f"], **attributes))
    constants.append(numpy_helper.from_array(np.float32(output.scale), "y_scale"))
    constants.append(numpy_helper.from_array(np.array(output.zero, np.int8), "y_zero"))
    nodes.append(helper.make_node("QuantizeLinear", ["y_f", "y_scale", "y_zero"], ["y"]))
    graph = helper.make_graph(
        nodes, "one", values_in, [helper.make_tensor_value_info("y", TensorProto.INT8, None)], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    made = session.run(None, fed)[0]
    return np.asarray(made[0].transpose(1, 2, 0), np.int8)
