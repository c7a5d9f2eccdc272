"""Damaged files: whatever the bytes, the answer is a graph or a ModelError."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from optimizer.errors import ModelError
from optimizer.onnx_model import load_graph
from tests.optimizer.onnx_builders import constant, make_body, make_model, node, tensor, weight


def varied_model() -> bytes:
    """One of everything that is looked into: shapes, bodies, constants, quantisation, recurrence, Einsum."""
    then = make_body("then", [node("Neg", ["a"], ["t"])], [tensor("t", 2, 4)])
    other = make_body("else", [node("MatMul", ["a", "w"], ["e"])], [tensor("e", 2, 4)])
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Shape", ["x"], ["shape"], start=0),
        node("Reshape", ["a", "shape"], ["b"]),
        node("If", ["c"], ["d"], then_branch=then, else_branch=other),
        node("QuantizeLinear", ["d", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["f"]),
        node("Einsum", ["f", "w"], ["g"], equation="ij,jk->ik"),
        node("Unsqueeze", ["g", "axis"], ["h"]),
        node("RNN", ["h", "r", "r"], ["y"], hidden_size=4),
    ]
    weights = [
        weight("w", 4, 4), weight("r", 1, 4, 4), constant("axis", [0]),
        constant("s", 0.1, "float32"), constant("z", 0, "int8"),
    ]  # fmt: skip
    inputs = [tensor("x", "batch", 4), tensor("c", dtype=9)]
    return make_model(nodes, inputs, [tensor("y", 1, 1, "batch", 4)], weights).SerializeToString()


MODEL = varied_model()


@settings(max_examples=400)
@given(seed=st.integers(0, 10**9), changes=st.integers(0, 4))
@example(seed=0, changes=0)
def test_changed_bytes(seed: int, changes: int) -> None:
    rng = random.Random(seed)
    data = bytearray(MODEL)
    for _ in range(changes):
        data[rng.randrange(len(data))] = rng.randrange(256)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(bytes(data))
        try:
            graph = load_graph(path, batch=2)
        except ModelError as e:
            assert str(path) in str(e) or e.where
            assert changes
        else:
            assert graph.operators
