"""Small bundles made by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Part:
    """A segment: every output is tanh of the weighted sum of the inputs, with weights by its name."""

    name: str
    board: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    stage: int = 0
    work: int = 0
    """Extra matrix products, to make it slow."""
    noisy: bool = False
    """Whether it adds noise, another each time."""


@dataclass(frozen=True)
class Sample:
    """A network of parts over boards; ``ways`` lists the links for each ordered pair of boards."""

    parts: tuple[Part, ...]
    ways: Mapping[tuple[str, str], tuple[tuple[str, str], ...]]
    source: str
    sink: str
    outputs: tuple[str, ...]
    shape: tuple[int, ...] = (1, 8, 16)
    depth: int = 2
    hop_stages: Mapping[str, int] = field(default_factory=dict)
    """Stage of a tensor's hops; 0 by default."""
    attended: bool = False
    """Whether hops stand in the lists of the processors at both ends too: links that do not overlap."""


def _nodes(part: Part, shape: Sequence[int]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def constant(name: str, value: np.ndarray[Any, Any]) -> str:
        weights.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    for output in part.outputs:
        seed = int.from_bytes(hashlib.sha256(output.encode()).digest()[:4], "little")
        generator = np.random.default_rng(seed)
        total = ""
        for tensor in part.inputs:
            scaled = f"{output}/{tensor}/scaled"
            nodes.append(
                helper.make_node("Mul", [tensor, constant(f"{scaled}/w", generator.normal(size=()))], [scaled])
            )
            if total:
                nodes.append(helper.make_node("Add", [total, scaled], [f"{scaled}/sum"]))
                scaled = f"{scaled}/sum"
            total = scaled
        for number in range(part.work):
            matrix = constant(f"{output}/m{number}", generator.normal(size=(shape[-1], shape[-1])) / shape[-1] ** 0.5)
            nodes.append(helper.make_node("MatMul", [total, matrix], [f"{output}/x{number}"]))
            total = f"{output}/x{number}"
        if part.noisy:
            nodes.append(helper.make_node("RandomNormalLike", [total], [f"{output}/noise"]))
            nodes.append(helper.make_node("Add", [total, f"{output}/noise"], [f"{output}/noisy"]))
            total = f"{output}/noisy"
        nodes.append(helper.make_node("Tanh", [total], [output]))
    return nodes, weights


def _model(
    parts: Sequence[Part], inputs: Sequence[str], outputs: Sequence[str], shape: Sequence[int]
) -> onnx.ModelProto:
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    for part in parts:
        more, values = _nodes(part, shape)
        nodes += more
        weights += values

    def info(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))

    graph = helper.make_graph(nodes, "sample", [info(n) for n in inputs], [info(n) for n in outputs], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def whole_model_outputs(sample: Sample, frames: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """What the undivided network makes of the frames (frames, *shape)."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    model = _model(sample.parts, ["x"], sample.outputs, sample.shape)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = [session.run(list(sample.outputs), {"x": frame}) for frame in frames]
    return {name: np.stack([r[i] for r in results]) for i, name in enumerate(sample.outputs)}


def write_bundle(folder: Path, sample: Sample) -> Path:
    """The bundle directory of a sample."""
    (folder / "segments").mkdir(parents=True)
    names = ["x", *[o for p in sample.parts for o in p.outputs]]
    ids = {name: number for number, name in enumerate(names)}
    segments: list[dict[str, Any]] = []
    orders: dict[str, list[dict[str, Any]]] = {}
    for part in sample.parts:
        data = _model([part], part.inputs, part.outputs, sample.shape).SerializeToString()
        (folder / "segments" / f"{part.name}.onnx").write_bytes(data)
        segments.append(
            {
                "name": part.name,
                "board": part.board,
                "processor": f"{part.board}/cpu",
                "precision": "fp32",
                "file": f"segments/{part.name}.onnx",
                "sha256": hashlib.sha256(data).hexdigest(),
                "size_bytes": len(data),
                "inputs": [ids[n] for n in part.inputs],
                "outputs": [ids[n] for n in part.outputs],
            }
        )
        slot = {"activity": f"segment:{part.name}", "stage": part.stage}
        orders.setdefault(f"{part.board}/cpu", []).append(slot)
    tensors = [_tensor(sample, name, ids[name]) for name in names]
    if sample.attended:
        _attend(tensors, orders)
    for tensor in tensors:
        for hop in tensor["hops"]:
            stage = sample.hop_stages.get(tensor["name"], 0)
            slot = {"activity": f"hop:{tensor['name']}@{hop['link']}", "stage": stage}
            orders.setdefault(hop["link"], []).append(slot)
    boards = sorted({b for t in tensors for b in t["boards"]} | {p.board for p in sample.parts})
    manifest = {
        "schema": "edgecut/bundle/1",
        "model": {"source": "sample", "sha256": "0" * 64, "batch": sample.shape[0]},
        "source": sample.source,
        "sink": sample.sink,
        "boards": boards,
        "inputs": [0],
        "outputs": [ids[n] for n in sample.outputs],
        "tensors": tensors,
        "segments": segments,
        "orders": orders,
        "verification": {"checked": False},
        "prediction": {
            "period_s": 0.001,
            "throughput_per_s": 1000.0,
            "latency_s": 0.002,
            "energy_j": 0.01,
            "occupancy_s": {},
        },
        "power": {f"{b}/cpu": {"active_power_w": 4.0, "idle_power_w": 1.0} for b in boards},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _attend(tensors: Sequence[dict[str, Any]], orders: dict[str, list[dict[str, Any]]]) -> None:
    """Put the hops of a chain into the processors' lists: what comes in first, what leaves last."""
    for tensor in tensors:
        for hop in tensor["hops"]:
            slot = {"activity": f"hop:{tensor['name']}@{hop['link']}", "stage": 0}
            orders[f"{hop['from']}/cpu"].append(slot)
            orders[f"{hop['to']}/cpu"].insert(0, slot)


def _tensor(sample: Sample, name: str, number: int) -> dict[str, Any]:
    maker = next((p for p in sample.parts if name in p.outputs), None)
    start = maker.board if maker else sample.source
    consumers = [p for p in sample.parts if name in p.inputs]
    targets = [p.board for p in consumers] + ([sample.sink] if name in sample.outputs else [])
    hops: list[dict[str, str]] = []
    for target in targets:
        way = sample.ways.get((start, target), ())
        for source, end in way:
            hop = {"link": f"{source}->{end}", "from": source, "to": end}
            if hop not in hops:
                hops.append(hop)
    return {
        "id": number,
        "name": name,
        "dtype": "float32",
        "shape": list(sample.shape),
        "size_bytes": 4 * int(np.prod(sample.shape)),
        "producer": maker.name if maker else None,
        "consumers": [p.name for p in consumers],
        "to_sink": name in sample.outputs,
        "hops": hops,
        "boards": [start, *[h["to"] for h in hops]],
        "depth": sample.depth,
    }


LINE3 = {
    ("a", "b"): (("a", "b"),),
    ("b", "c"): (("b", "c"),),
    ("a", "c"): (("a", "b"), ("b", "c")),
}
"""Three boards in a line; what a sends to c is relayed by b."""


def chain(depth: int = 2, work: int = 0, boards: Sequence[str] = ("a", "b", "c")) -> Sample:
    """One segment a board, in a line."""
    parts: list[Part] = []
    before = "x"
    for number, board in enumerate(boards):
        parts.append(Part(f"s{number}", board, (before,), (f"t{number}",), work=work))
        before = f"t{number}"
    ways = {(p, q): ((p, q),) for p, q in pairwise(boards)}
    return Sample(tuple(parts), ways, boards[0], boards[-1], (before,), depth=depth)


def skip_over_relay(depth: int = 2) -> Sample:
    """a makes two tensors; one goes to b, both go to c: the skip tensor is relayed by b."""
    parts = (
        Part("s0", "a", ("x",), ("t", "skip")),
        Part("s1", "b", ("t",), ("u",)),
        Part("s2", "c", ("u", "t", "skip"), ("y", "z")),
    )
    return Sample(parts, LINE3, "a", "c", ("y", "z"), depth=depth)


def branches(depth: int = 2) -> Sample:
    """Input goes to a and b at once, c joins; the result goes back to a, which is source and sink."""
    pairs = [("a", "b"), ("a", "c"), ("b", "c"), ("c", "a")]
    parts = (
        Part("s0", "a", ("x",), ("p",)),
        Part("s1", "b", ("x",), ("q",)),
        Part("s2", "c", ("p", "q"), ("y",)),
    )
    return Sample(parts, {pair: (pair,) for pair in pairs}, "a", "a", ("y",), depth=depth)


def revisited() -> Sample:
    """a works before and after b: its list serves s0 of frame m, then s2 of frame m - 2."""
    parts = (
        Part("s0", "a", ("x",), ("t",)),
        Part("s1", "b", ("t",), ("u",), stage=1),
        Part("s2", "a", ("u", "t"), ("y",), stage=2),
    )
    ways = {("a", "b"): (("a", "b"),), ("b", "a"): (("b", "a"),)}
    return Sample(parts, ways, "a", "a", ("y",), depth=3, hop_stages={"u": 1})


def frames_for(sample: Sample, count: int) -> np.ndarray[Any, Any]:
    """Random frames (count, *shape)."""
    return np.random.default_rng(7).standard_normal((count, *sample.shape)).astype(np.float32)
