"""Small ONNX models and hand-made plans for them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from boards.board import Link, System
from optimizer.graph import Graph
from optimizer.onnx_file import load_onnx
from optimizer.onnx_prepare import prepare
from optimizer.plan import Hop, Plan, Score, Segment, Slot, Transfer
from optimizer.split import Bundle, crossings, split
from tests.optimizer.builders import make_board

FLOAT = TensorProto.FLOAT
node = helper.make_node


def tensor(name: str, *shape: int | str, dtype: int = FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, list(shape))


def weight(name: str, *shape: int, seed: int = 0, dtype: str = "float32") -> TensorProto:
    values = np.random.default_rng(seed).standard_normal(shape) / 2
    return numpy_helper.from_array(values.astype(dtype), name)


def constant(name: str, values: object, dtype: str = "int64") -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=dtype), name)


def make_model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: Sequence[TensorProto] = (),
    *,
    opset: int = 17,
    ir: int = 8,
    domains: Mapping[str, int] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
    value_info: Sequence[ValueInfoProto] = (),
) -> ModelProto:
    graph = helper.make_graph(nodes, "small", inputs, outputs, list(weights), value_info=list(value_info))
    opsets = {"": opset, **(domains or {})}
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(d, v) for d, v in opsets.items()],
        ir_version=ir,
        functions=list(functions),
    )


def save(model: ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def make_body(
    name: str,
    nodes: Sequence[NodeProto],
    outputs: Sequence[ValueInfoProto],
    weights: Sequence[TensorProto] = (),
    inputs: Sequence[ValueInfoProto] = (),
) -> GraphProto:
    return helper.make_graph(nodes, name, inputs, outputs, list(weights))


def line_of_boards(k: int) -> System:
    """Boards b0 .. b(k-1), links between neighbours only, so that skips must be relayed."""
    boards = tuple(make_board(f"b{i}") for i in range(k))
    links = []
    for i in range(k - 1):
        links.append(Link(f"b{i}->b{i + 1}", f"b{i}", f"b{i + 1}", f"wire{i}", 1e6))
        links.append(Link(f"b{i + 1}->b{i}", f"b{i + 1}", f"b{i}", f"wire{i}r", 1e6))
    return System("line", boards, tuple(links), "b0", f"b{k - 1}")


def make_plan(graph: Graph, system: System, board_of: Sequence[int]) -> Plan:
    """The plan that runs operator i on board number ``board_of[i]``, with made-up figures."""
    segments = tuple(
        Segment(f"s{number}", f"b{board}/cpu", "fp32", operators)
        for number, board in enumerate(dict.fromkeys(board_of))
        if (operators := tuple(i for i, b in enumerate(board_of) if b == board))
    )
    board = {s.name: s.processor.partition("/")[0] for s in segments}
    transfers = []
    for crossing in crossings(graph, segments):
        start = system.source if crossing.producer is None else board[crossing.producer]
        ends = [board[c] for c in crossing.consumers] + [system.sink] * crossing.to_sink
        hops: dict[int, None] = {}
        for end in ends:
            hops.update(dict.fromkeys(system.route(start, end) or ()))
        links = [system.links[i] for i in hops]
        found = graph.tensors[crossing.tensor]
        transfers.append(
            Transfer(
                tensor=crossing.tensor,
                name=found.name,
                size_bytes=found.size_bytes,
                producer=crossing.producer,
                consumers=crossing.consumers,
                to_sink=crossing.to_sink,
                hops=tuple(Hop(crossing.tensor, link.name) for link in links),
                boards=tuple(dict.fromkeys([start, *(link.target for link in links)])),
                depth=2,
            )
        )
    score = Score(1.0, 1.0, 2.0, 3.0, 4, {}, {"b0/cpu": 1.0})
    orders = {s.processor: (Slot(f"segment:{s.name}", i),) for i, s in enumerate(segments)}
    return Plan(segments, tuple(transfers), orders, score)


def split_over(
    graph: Graph, board_of: Sequence[int], out_dir: Path, *, k: int | None = None, verify: bool = True
) -> Bundle:
    """Split a loaded model by hand."""
    system = line_of_boards(k or max(board_of) + 1)
    plan = make_plan(graph, system, board_of)
    return split(graph, load_onnx(graph.source), plan, system, out_dir, verify=verify)


def prepared_nodes(path: Path, batch: int = 1) -> list[str]:
    return [n.op_type for n in prepare(load_onnx(path), batch).nodes]


def random_cuts(rng: random.Random, graph: Graph, k: int) -> list[int]:
    """A contiguous assignment: board numbers that never fall along an edge, not only along one order."""
    board_of: list[int] = []
    progress = sorted(rng.random() for _ in range(k - 1))
    for op in graph.operators:
        producers = [graph.tensors[t].producer for t in op.inputs]
        least = max((board_of[p] for p in producers if p is not None), default=0)
        wished = sum(p < (op.index + 1) / len(graph.operators) for p in progress)
        board_of.append(max(least, min(k - 1, max(0, wished + rng.choice((-1, 0, 0, 1))))))
    names = sorted(set(board_of))
    return [names.index(b) for b in board_of]
