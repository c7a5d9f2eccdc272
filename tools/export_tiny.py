"""Make the small networks of optimizer/zoo_data/ (tiny_*), in float32 and int8.

Development-time only; from the project's root::

    python -m tools.export_tiny [NAME...]

Each topology of tools/tiny_networks.py goes through the steps of tools/export_zoo.py: seeded weights, and one
run over seeded inputs, operator by operator, that chooses each weight's span. Here every bias is stored: it
sets each channel's mean, as a folded batch normalisation does, or all inputs would look alike behind a few
layers. The ranges met in a second run give the scales of the int8 form.

The weights of ``tiny_digits`` are trained (tools/train_digits.py) and kept inline.
"""

from __future__ import annotations

import lzma
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from optimizer.zoo_digits import digits_pictures
from optimizer.zoo_weights import stub_elements
from tools.export_zoo import RESIDUAL_SPREAD, SPREAD, Array, picture, rounded, run_node, set_stub
from tools.tiny_networks import NETWORKS
from tools.tiny_quantize import quantize

OUT = Path(__file__).parent.parent / "optimizer" / "zoo_data"
SAMPLES = 32
CENTRES = {"Relu": 1.0, "Clip": 2.0}
"""Mean of every channel before an activation function. Around zero each layer would amplify small differences,
rounding errors among them; far above it the network would be linear."""
_AVERAGES = ("AveragePool", "GlobalAveragePool")
BIAS_STEP = 1 / 32
"""Biases are stored: coarse ones are short."""
DIGITS_STEP = (np.float32(1 / 16), 0)
"""The int8 input of tiny_digits is the pixel, 0 to 16."""


def sample_inputs(shape: tuple[int, ...], count: int = SAMPLES) -> npt.NDArray[np.float32]:
    """Seeded inputs of a network with that input shape (batch 1): pictures, or rows of them."""
    if len(shape) == 2:
        return picture((count, 1, 5, shape[1] // 5)).reshape(count, -1)
    return picture((count, *shape[1:]))


def input_shape(model: onnx.ModelProto) -> tuple[int, ...]:
    return tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)


def choose_weights(model: onnx.ModelProto, samples: Array) -> None:
    """Set every weight's span and every bias, layer by layer."""
    graph = model.graph
    weights = {t.name: t for t in graph.initializer}
    targets = spread_targets(graph)
    values: dict[str, Array] = {"input": samples}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            weight, bias = (weights[name] for name in node.input[1:])
            span = rounded(math.sqrt(12 / math.prod(weight.dims[1:])))
            set_stub(weight, 0.0, span)
            made = run(model, node, values, weights)
            axes = (0, *range(2, made.ndim))
            # Between samples: what the border's padding does is the same for all, and no information.
            spread = float(np.std(made - made.mean(axis=0)))
            wanted, centre = targets[node.name]
            set_stub(weight, 0.0, rounded(span * wanted / spread))
            made = run(model, node, values, weights)
            shift = np.rint((centre - made.mean(axis=axes)) / BIAS_STEP) * BIAS_STEP
            bias.CopyFrom(numpy_helper.from_array(shift.astype(np.float32), bias.name))
        values[node.output[0]] = run(model, node, values, weights)


def spread_targets(graph: onnx.GraphProto) -> dict[str, tuple[float, float]]:
    """Wanted spread of the output, and mean of each channel, by name of a layer."""
    readers = {name: node for node in graph.node for name in node.input}
    found = {}
    for node in graph.node:
        following = readers.get(node.output[0])
        op_type = following.op_type if following else ""
        last = readers.get(following.output[0]) if following else None
        # An average over the picture keeps all of the mean and little of what differs.
        centre = 0.0 if last is not None and last.op_type in _AVERAGES else CENTRES.get(op_type, 0.0)
        found[node.name] = (RESIDUAL_SPREAD if op_type == "Add" else SPREAD, centre)
    return found


def run(
    model: onnx.ModelProto, node: onnx.NodeProto, values: Mapping[str, Array], weights: Mapping[str, onnx.TensorProto]
) -> Array:
    feeds = {name: elements(weights[name]) if name in weights else values[name] for name in node.input}
    return run_node(node, feeds, model.opset_import)[0]


def elements(tensor: onnx.TensorProto) -> Array:
    return stub_elements(tensor) if tensor.external_data else numpy_helper.to_array(tensor)


def met_ranges(model: onnx.ModelProto, samples: Array) -> dict[str, tuple[float, float]]:
    """Least and greatest value of every tensor over the samples."""
    weights = {t.name: t for t in model.graph.initializer}
    values: dict[str, Array] = {"input": samples}
    for node in model.graph.node:
        values[node.output[0]] = run(model, node, values, weights)
    return {name: (float(v.min()), float(v.max())) for name, v in values.items()}


def make(name: str) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The network in float32 and in int8."""
    model = NETWORKS[name](name)
    step = None
    if name == "tiny_digits":
        from tools.train_digits import train  # needs scikit-learn

        pictures = digits_pictures(train(model))
        step = DIGITS_STEP
    else:
        pictures = sample_inputs(input_shape(model))
        choose_weights(model, pictures)
    yield name, model
    int8 = onnx.ModelProto()
    int8.CopyFrom(model)
    int8.graph.name = f"{name}_int8"
    quantize(int8, met_ranges(model, pictures), step)
    yield int8.graph.name, int8


def main() -> None:
    for wanted in sys.argv[1:] or NETWORKS:
        for name, model in make(wanted):
            packed = lzma.compress(model.SerializeToString(deterministic=True), preset=9 | lzma.PRESET_EXTREME)
            (OUT / f"{name}.onnx.xz").write_bytes(packed)
            print(f"{name}: {len(model.graph.node)} nodes, {len(packed)} bytes", flush=True)


if __name__ == "__main__":
    main()
