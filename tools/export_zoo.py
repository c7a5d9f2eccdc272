"""Make optimizer/zoo_data/: torchvision's networks as graphs without weights, about 3 KB each.

Development-time only. In an environment of its own, from the project's root::

    python3 -m venv /tmp/zoo && /tmp/zoo/bin/pip install torch==2.13.0 onnx onnxruntime numpy pillow
    /tmp/zoo/bin/pip install --no-deps torchvision==0.28.0
    /tmp/zoo/bin/python -m tools.export_zoo [NAME...]

Each network goes through three steps: export (TorchScript exporter, opset 17), replacement of every float
weight by a stub (see optimizer/zoo.py), and choice of the stubs' spans. The last runs the network once,
operator by operator, and gives each weight the span at which the output spreads by about one: the residual
branches less, or their sums would grow with depth; the logits more, so that they differ.
"""

from __future__ import annotations

import io
import lzma
import math
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from optimizer.zoo import SEED_LOCATION, seeded_elements

NAMES = (
    "squeezenet1_1",
    "vgg16",
    "vgg19",
    "googlenet",
    "resnet50",
    "resnet152",
    "regnet_x_400mf",
    "efficientnet_b0",
    "inception_v3",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "vit_b_16",
)
OUT = Path(__file__).parent.parent / "optimizer" / "zoo_data"
OPSET = 17

SPREAD = 1.0
RESIDUAL_SPREAD = 0.4
LOGIT_SPREAD = 3.0
BIAS_SPAN = 0.2

Array = npt.NDArray[Any]


def export(name: str) -> onnx.ModelProto:
    """The network as the TorchScript exporter gives it, with random weights."""
    torch, torchvision = import_torch()
    options: dict[str, object] = {"weights": None}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": False}
    network = getattr(torchvision.models, name)(**options).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        # The exporter merges equal initializers (all biases are zero at first) through Identity nodes.
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5, generator=generator)
    size = 299 if name == "inception_v3" else 224
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, size, size),),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            do_constant_folding=True,
            input_names=["input"],
            output_names=["output"],
        )
    return onnx.load_model_from_string(buffer.getvalue())


@cache
def import_torch() -> tuple[Any, Any]:
    """torch and torchvision, whose operators do not load beside a CPU torch: their names are enough."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for schema in ("nms", "qnms"):
        library.define(f"{schema}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

    torchvision.edgecut_library = library  # the definitions live as long as this object
    return torch, torchvision


def strip(model: onnx.ModelProto, name: str) -> None:
    """Replace float weights by stubs with first spans; drop what does not belong to the graph."""
    graph = model.graph
    graph.name = name
    model.doc_string = graph.doc_string = ""
    del graph.value_info[:]
    for node in graph.node:
        node.doc_string = ""
    roles = {tensor: (node.op_type, position) for node in graph.node for position, tensor in enumerate(node.input)}
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.dims:
            del tensor.float_data[:]
            tensor.ClearField("raw_data")
            centre, span = first_range(*roles[tensor.name], tuple(tensor.dims))
            set_stub(tensor, centre, span)


def first_range(op_type: str, position: int, dims: tuple[int, ...]) -> tuple[float, float]:
    """Centre and span of a weight by what it does; operators with a product get another span later."""
    match op_type, position:
        case ("BatchNormalization", 1) | ("LayerNormalization", 1):
            return 1.0, BIAS_SPAN
        case "BatchNormalization", 4:  # variance: positive
            return 1.0, 1.0
        case (("Conv" | "Gemm" | "MatMul"), 1):
            fan_in = dims[0] if op_type == "MatMul" else math.prod(dims[1:])
            return 0.0, rounded(math.sqrt(12 / fan_in))
        case _:
            return 0.0, BIAS_SPAN


def set_stub(tensor: onnx.TensorProto, centre: float, span: float) -> None:
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", SEED_LOCATION), ("centre", f"{centre:g}"), ("span", f"{span:g}")):
        tensor.external_data.add(key=key, value=value)


def rounded(value: float) -> float:
    """Two significant digits: enough, and short in the file."""
    return float(f"{value:.2g}")


def calibrate(model: onnx.ModelProto) -> None:
    """Run the network operator by operator and set the spans of products by their outputs' spread."""
    graph = model.graph
    stubs = {t.name: t for t in graph.initializer}
    targets = spread_targets(graph)
    size = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    values: dict[str, Array] = {graph.input[0].name: picture(tuple(size))}
    last_use = {tensor: index for index, node in enumerate(graph.node) for tensor in node.input}
    for index, node in enumerate(graph.node):
        feeds = {name: seeded_elements(stubs[name]) if name in stubs else values[name] for name in node.input if name}
        outputs = run_node(node, feeds, model.opset_import)
        if index in targets:
            weight = stubs[node.input[1]]
            span = next(float(e.value) for e in weight.external_data if e.key == "span")
            set_stub(weight, 0.0, rounded(span * targets[index] / float(np.std(outputs[0]))))
            outputs = run_node(node, feeds | {weight.name: seeded_elements(weight)}, model.opset_import)
        values.update(zip(node.output, outputs, strict=True))
        for name in node.input:
            if last_use[name] == index:
                values.pop(name, None)
    output = values[graph.output[0].name]
    if not np.isfinite(output).all() or np.std(output) < 0.1:
        raise RuntimeError(f"{graph.name}: degenerate output, spread {np.std(output)}")


def picture(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Noise with equal power in every octave, as photographs have it; mean 0, spread 1."""
    rng = np.random.default_rng(0)
    total = np.zeros(shape, dtype=np.float32)
    for cells in (4, 8, 16, 32, 64, 128):
        at = [np.arange(n) * cells // n for n in shape[2:]]
        coarse = rng.standard_normal((*shape[:2], cells, cells), dtype=np.float32)
        total += coarse[:, :, at[0][:, None], at[1]]
    total -= total.mean()
    return np.asarray(total / total.std(), dtype=np.float32)


def run_node(node: onnx.NodeProto, feeds: dict[str, Array], opsets: object) -> list[Array]:
    """The node alone in ONNX Runtime."""
    inputs = [
        onnx.helper.make_tensor_value_info(k, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = onnx.helper.make_graph([node], "node", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: list[Array] = session.run(None, feeds)
    return result


def spread_targets(graph: onnx.GraphProto) -> dict[int, float]:
    """Wanted spread of the output, by node index, for every product with a weight."""
    weights = {t.name for t in graph.initializer}
    producer = {tensor: i for i, node in enumerate(graph.node) for tensor in node.output}
    products = [
        i
        for i, node in enumerate(graph.node)
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in weights
    ]
    targets = dict.fromkeys(products, SPREAD)
    targets[products[-1]] = LOGIT_SPREAD

    def activations(node: onnx.NodeProto) -> list[str]:
        return [t for t in node.input if t in producer and graph.node[producer[t]].op_type != "Constant"]

    for node in graph.node:
        ends = activations(node)
        if node.op_type != "Add" or len(ends) < 2:
            continue
        for end in ends:
            # Back through a bias or a reshape to the product that ends this branch.
            at = producer[end]
            while at not in targets and len(activations(graph.node[at])) == 1:
                if graph.node[at].op_type not in ("Add", "Reshape", "Transpose"):
                    break
                at = producer[activations(graph.node[at])[0]]
            if at in targets:
                targets[at] = RESIDUAL_SPREAD
    return targets


def main() -> None:
    OUT.mkdir(exist_ok=True)
    for name in sys.argv[1:] or NAMES:
        model = export(name)
        strip(model, name)
        calibrate(model)
        packed = lzma.compress(model.SerializeToString(), preset=9 | lzma.PRESET_EXTREME)
        (OUT / f"{name}.onnx.xz").write_bytes(packed)
        print(f"{name}: {len(model.graph.node)} nodes, {len(packed)} bytes", flush=True)
    total = sum(p.stat().st_size for p in OUT.glob("*.onnx.xz"))
    print(f"all: {total} bytes")


if __name__ == "__main__":
    main()
