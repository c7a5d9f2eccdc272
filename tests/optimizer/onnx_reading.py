"""Reading a model in a test, and looking at the graph."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto

from optimizer.graph import Graph, Operator
from optimizer.onnx_model import load_graph
from tests.optimizer.onnx_builders import (
    save,
    split_over,
)


def load(model: ModelProto, tmp_path: Path, batch: int = 1) -> Graph:
    return load_graph(save(model, tmp_path / "model.onnx"), batch)


def split_everywhere(graph: Graph, tmp_path: Path) -> None:
    """Cut after each operator in turn; the check inside ``split`` compares with the whole model."""
    n = len(graph.operators)
    for first in range(1, n):
        bundle = split_over(graph, [0] * first + [1] * (n - first), tmp_path / "bundle")
        assert bundle.verification.bit_exact


def op_types(graph: Graph) -> list[str]:
    return [op.op_type for op in graph.operators]


def operator(graph: Graph, op_type: str) -> Operator:
    return next(op for op in graph.operators if op.op_type == op_type)


def input_names(graph: Graph, op: Operator) -> list[str]:
    return [graph.tensors[t].name for t in op.inputs]
