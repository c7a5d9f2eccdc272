"""A recorded ONNX Runtime profile and the model it was recorded from."""

from __future__ import annotations

from pathlib import Path

from optimizer.graph import Graph
from optimizer.onnx_model import load_graph
from tests.optimizer.onnx_builders import make_model, node, save, tensor, weight

# Recorded with onnxruntime 1.31 at level "all": nodes were fused and laid out anew.
_RECORDED = Path(__file__).parents[1] / "data" / "profile"
TRACE = (_RECORDED / "trace.json").read_bytes()
OPTIMISED = (_RECORDED / "optimised.onnx").read_bytes()


def recorded_graph(folder: Path) -> Graph:
    """The model, written into the folder."""
    model = make_model(
        [
            node("Conv", ["input", "w1"], ["c1"], "/stem/Conv", kernel_shape=[3, 3], pads=[1] * 4),
            node("Relu", ["c1"], ["r1"], "/stem/Relu"),
            node("Conv", ["r1", "w2"], ["c2"], "/body/Conv", kernel_shape=[3, 3], pads=[1] * 4),
            node("Add", ["c2", "r1"], ["a2"], "/body/Add"),
            node("Relu", ["a2"], ["r2"], "/body/Relu"),
            node("Conv", ["r2", "w3"], ["c3"], "/gate/Conv", kernel_shape=[1, 1]),
            node("Sigmoid", ["c3"], ["s3"], "/gate/Sigmoid"),
            node("Mul", ["c3", "s3"], ["m3"], "/gate/Mul"),
            node("GlobalAveragePool", ["m3"], ["p"], "/pool"),
            node("Flatten", ["p"], ["f"], "/flatten"),
            node("Gemm", ["f", "w4"], ["output"], "/head/Gemm"),
        ],
        [tensor("input", 1, 8, 32, 32)],
        [tensor("output", 1, 10)],
        [
            weight("w1", 32, 8, 3, 3),
            weight("w2", 32, 32, 3, 3),
            weight("w3", 64, 32, 1, 1),
            weight("w4", 64, 10),
        ],
    )
    return load_graph(save(model, folder / "recorded.onnx"))
