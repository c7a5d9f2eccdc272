"""Random networks, randomly cut: the chain must equal the whole bit for bit."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto

from optimizer.graph import live_ranges
from optimizer.onnx_model import load_graph
from tests.optimizer.onnx_builders import (
    constant,
    make_body,
    make_model,
    node,
    random_cuts,
    save,
    split_over,
    tensor,
    weight,
)

SHAPE = (1, 4, 6, 6)


class Maker:
    """Grows a network of tensors of one shape, in blocks of one to four nodes."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.nodes: list[NodeProto] = []
        self.ready = ["x"]
        self.count = 0

    def name(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def pick(self) -> str:
        """Rather a recent tensor, sometimes an old one: that makes skips."""
        return self.rng.choice(self.ready[-3:] if self.rng.random() < 0.7 else self.ready)

    def add(self, op_type: str, inputs: list[str], **attributes: object) -> str:
        out = self.name()
        self.nodes.append(node(op_type, inputs, [out], name=f"{op_type}.{out}", **attributes))
        return out

    def convolution(self) -> str:
        return self.add("Conv", [self.pick(), self.rng.choice(("w3", "v3"))], pads=[1, 1, 1, 1])

    def grouped(self) -> str:
        return self.add("Conv", [self.pick(), "g3", "bias"], pads=[1, 1, 1, 1], group=2)

    def activation(self) -> str:
        return self.add(self.rng.choice(("Relu", "Sigmoid", "Tanh")), [self.pick()])

    def sum(self) -> str:
        return self.add(self.rng.choice(("Add", "Mul")), [self.pick(), self.pick()])

    def concatenation(self) -> str:
        return self.add("Conv", [self.add("Concat", [self.pick(), self.pick()], axis=1), "w8"])

    def halves(self) -> str:
        left, right = self.name(), self.name()
        self.nodes.append(node("Split", [self.pick(), "two_two"], [left, right], axis=1))
        return self.add("Concat", [right, left], axis=1)

    def computed_constant(self) -> str:
        fixed = self.add("Constant", [], value=constant("c", [[[[0.5]]]], "float32"))
        return self.add("Add", [self.pick(), self.add("Tanh", [fixed])])

    def reshaped_like_another(self) -> str:
        shape = self.add("Shape", [self.pick()])
        flat = self.add("Flatten", [self.pick()], axis=1)
        return self.add("Reshape", [flat, shape])

    def branch(self) -> str:
        other, out = self.pick(), self.name()
        then, els = f"then{out}", f"else{out}"
        first = make_body("then", [node("Add", [self.pick(), other], [then])], [tensor(then, *SHAPE)])
        second = make_body("else", [node("Conv", [other, "w3"], [els], pads=[1, 1, 1, 1])], [tensor(els, *SHAPE)])
        self.nodes.append(node("If", ["flag"], [out], then_branch=first, else_branch=second))
        return out

    def model(self, blocks: int) -> ModelProto:
        kinds: list[Callable[[], str]] = [
            self.convolution, self.grouped, self.activation, self.sum, self.concatenation,
            self.halves, self.computed_constant, self.reshaped_like_another, self.branch,
        ]  # fmt: skip
        for _ in range(blocks):
            self.ready.append(self.rng.choice(kinds)())
        read = {name for n in self.nodes for name in n.input}
        outputs = [t for t in self.ready[1:] if t not in read] or [self.ready[-1]]
        outputs += [t for t in self.ready[1:] if t not in outputs and self.rng.random() < 0.1]
        weights = [
            weight("w3", 4, 4, 3, 3), weight("v3", 4, 4, 3, 3, seed=1), weight("g3", 4, 2, 3, 3, seed=2),
            weight("w8", 4, 8, 1, 1, seed=3), weight("bias", 4, seed=4), constant("two_two", [2, 2]),
        ]  # fmt: skip
        inputs = [tensor("x", *SHAPE), tensor("flag", dtype=TensorProto.BOOL)]
        return make_model(self.nodes, inputs, [tensor(t, *SHAPE) for t in outputs], weights)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), blocks=st.integers(1, 14), k=st.integers(1, 4))
def test_the_chain_is_the_whole_bit_for_bit(seed: int, blocks: int, k: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        graph = load_graph(save(Maker(seed).model(blocks), Path(folder) / "m.onnx"))
        assert not {"Shape", "Constant"} & {op.op_type for op in graph.operators}
        assert all(first <= last for first, last in live_ranges(graph))
        bundle = split_over(graph, random_cuts(random.Random(seed), graph, k), Path(folder) / "b", k=k)
        assert bundle.verification.bit_exact
        assert bundle.verification.ort_level == "extended"
