"""Every kind of ONNX file the loader promises to read, as small made models; each splits exactly."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from optimizer.onnx_model import load_graph
from optimizer.onnx_shapes import infer_types
from tests.optimizer.onnx_builders import (
    constant,
    make_model,
    node,
    split_over,
    tensor,
    weight,
)
from tests.optimizer.onnx_reading import input_names, load, op_types, operator, split_everywhere

DATA = Path(__file__).parents[1] / "data"


def conv_model(opset: int, ir: int, *, weights_are_inputs: bool = False) -> ModelProto:
    weights = [weight("w1", 4, 3, 3, 3), weight("b1", 4, seed=1), weight("w2", 4, 4, 1, 1, seed=2)]
    inputs = [tensor("x", 1, 3, 6, 6)]
    if weights_are_inputs:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in weights]
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"], name="relu"),
        node("Conv", ["b", "w2"], ["c"], name="relu"),
        node("Add", ["b", "c"], ["y"]),
    ]
    return make_model(nodes, inputs, [tensor("y", 1, 4, 6, 6)], weights, opset=opset, ir=ir)


OPSETS = [(9, 4), (11, 6), (13, 7), (17, 8), (21, 10), (23, 11)]


@pytest.mark.parametrize(
    ("opset", "ir", "weights_are_inputs"),
    [(9, 3, True), *((opset, ir, fed) for opset, ir in OPSETS for fed in (False, True))],
)
def test_opsets_old_and_new(opset: int, ir: int, weights_are_inputs: bool, tmp_path: Path) -> None:
    graph = load(conv_model(opset, ir, weights_are_inputs=weights_are_inputs), tmp_path)
    assert [graph.tensors[t].name for t in graph.inputs] == ["x"]
    assert graph.opset == opset
    assert [op.macs for op in graph.operators] == [36 * 4 * 27, 0, 36 * 4 * 4, 0]
    assert [op.weight_bytes for op in graph.operators] == [(4 * 27 + 4) * 4, 0, 64, 0]
    assert graph.parameters == 4 * 27 + 4 + 16
    split_everywhere(graph, tmp_path)


def test_nodes_get_unique_names(tmp_path: Path) -> None:
    graph = load(conv_model(17, 8), tmp_path)
    assert [op.name for op in graph.operators] == ["Conv_0", "relu", "relu_2", "Add_3"]
    assert set(graph.operator_by_name) == {op.name for op in graph.operators}


def test_half_precision(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["b"]), node("MatMul", ["b", "w"], ["y"])]
    half = TensorProto.FLOAT16
    model = make_model(
        nodes,
        [tensor("x", 2, 8, dtype=half)],
        [tensor("y", 2, 8, dtype=half)],
        [weight("w", 8, 8, dtype="float16")],
    )
    graph = load(model, tmp_path)
    assert {t.dtype for t in graph.tensors} == {"float16"}
    assert graph.tensors[0].size_bytes == 2 * 8 * 2
    assert [op.weight_bytes for op in graph.operators] == [128, 0, 128]
    assert graph.parameters == 64  # shared, counted once
    # ONNX Runtime rounds to half precision only where a tensor is handed over, so a cut adds a rounding.
    check = split_over(graph, [0, 0, 1], tmp_path / "bundle").verification
    assert check.checked
    assert check.ort_level_all_max_relative < 2.0**-7


def test_constants_and_what_is_computed_from_them_stay_with_their_consumers(tmp_path: Path) -> None:
    nodes = [
        node("Constant", [], ["k"], value=constant("k", [[1.0, 2.0], [3.0, 4.0]], "float32")),
        node("Constant", [], ["axis"], value_ints=[0]),
        node("Transpose", ["k"], ["kt"]),
        node("Unsqueeze", ["kt", "axis"], ["kk"]),
        node("MatMul", ["x", "kk"], ["a"]),
        node("Add", ["a", "kk"], ["y"]),
    ]
    graph = load(make_model(nodes, [tensor("x", 1, 2, 2)], [tensor("y", 1, 2, 2)]), tmp_path)
    assert op_types(graph) == ["MatMul", "Add"]
    assert [op.nodes for op in graph.operators] == [(0, 1, 2, 3, 4), (0, 1, 2, 3, 5)]
    assert sorted(i.name for i in graph.initializers) == ["axis", "k"]
    assert graph.parameters == 4
    split_everywhere(graph, tmp_path)


def test_shapes_of_other_tensors_are_constants(tmp_path: Path) -> None:
    """Shape -> Gather -> Concat -> Reshape: Reshape must not read the tensor whose shape it takes."""
    weights = [constant("zero", 0), constant("axis", [0]), constant("rest", [-1])]
    nodes = [
        node("Relu", ["x"], ["far"]),
        node("Shape", ["far"], ["shape"]),
        node("Gather", ["shape", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axis"], ["n1"]),
        node("Concat", ["n1", "rest"], ["target"], axis=0),
        node("MaxPool", ["far"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["pooled", "target"], ["flat"]),
        node("Sigmoid", ["flat"], ["y"]),
    ]
    model = make_model(nodes, [tensor("x", "batch", 3, 4, 4)], [tensor("y", "batch", "rest")], weights)
    graph = load(model, tmp_path, batch=2)
    assert op_types(graph) == ["Relu", "MaxPool", "Reshape", "Sigmoid"]
    assert input_names(graph, operator(graph, "Reshape")) == ["pooled"]
    assert graph.tensors[graph.outputs[0]].shape == (2, 12)
    split_everywhere(graph, tmp_path)


def test_shape_arithmetic_that_onnx_does_not_propagate_is_computed(tmp_path: Path) -> None:
    """The target shape goes through Div, ReduceProd, Where and ConstantOfShape."""
    weights = [constant("two", [2]), constant("zero", [0]), constant("minus", [-1]), constant("axes", [0])]
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("ReduceProd", ["shape"], ["all"], keepdims=1),
        node("Div", ["all", "two"], ["half"]),
        node("Equal", ["half", "zero"], ["none"]),
        node("Where", ["none", "minus", "half"], ["columns"]),
        node("Concat", ["two", "columns"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["a"]),
        node("ConstantOfShape", ["target"], ["ones"], value=constant("v", [1.0], "float32")),
        node("Add", ["a", "ones"], ["y"]),
    ]
    graph = load(make_model(nodes, [tensor("x", 1, 4, 6)], [tensor("y", "?", "?")], weights), tmp_path)
    assert op_types(graph) == ["Reshape", "Add"]
    assert graph.tensors[graph.outputs[0]].shape == (2, 12)
    split_everywhere(graph, tmp_path)


def test_the_symbolic_batch_is_bound(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])]
    # The declared inner and output shapes are stale on purpose: inference has the last word.
    model = make_model(
        nodes,
        [tensor("x", "batch_size", 8)],
        [tensor("y", 1, 4)],
        [weight("w", 8, 4)],
        value_info=[tensor("a", 1, 4)],
    )
    assert load(model, tmp_path).macs == 32
    graph = load(model, tmp_path, batch=3)
    assert graph.batch == 3
    assert graph.macs == 3 * 32
    assert [t.shape for t in graph.tensors] == [(3, 8), (3, 4), (3, 4)]
    split_everywhere(graph, tmp_path)


def test_several_symbols_in_front_are_taken_for_the_batch_with_a_warning(tmp_path: Path) -> None:
    model = make_model(
        [node("Add", ["x", "z"], ["y"])], [tensor("x", "s0", 2), tensor("z", "s7", 2)], [tensor("y", "s0", 2)]
    )
    graph = load(model, tmp_path, batch=2)
    assert {t.shape for t in graph.tensors} == {(2, 2)}
    assert "s0, s7" in graph.warnings[0]


def test_a_real_dynamo_export(tmp_path: Path) -> None:
    """Attention and grouped convolution as torch.onnx.export(dynamo=True) writes them, dynamic batch."""
    graph = load_graph(DATA / "dynamo_attention.onnx", batch=2)
    assert [graph.tensors[t].shape for t in graph.outputs] == [(2, 5), (2, 64)]
    assert graph.warnings == ()
    assert {t.dtype for t in graph.tensors} == {"float32"}
    half = len(graph.operators) // 2
    for first in (3, half, len(graph.operators) - 3):
        board_of = [0] * first + [1] * (len(graph.operators) - first)
        assert split_over(graph, board_of, tmp_path / "bundle").verification.checked


def test_optional_inputs_unused_outputs_and_dead_nodes(tmp_path: Path) -> None:
    weights = [weight("w", 1, 16, 3), weight("r", 1, 16, 4, seed=1), weight("dead", 2)]
    nodes = [
        node("LSTM", ["x", "w", "r", "", "", "h"], ["", "last"], hidden_size=4, name="lstm"),
        node("Dropout", ["last"], ["kept", "mask"], name="drop"),
        node("Split", ["kept"], ["left", "right"], axis=2, num_outputs=2, name="halves"),
        node("Neg", ["right"], ["nothing"], name="dead"),
        node("Identity", ["left"], ["y"], name="end"),
    ]
    inputs = [tensor("x", 5, 1, 3), tensor("h", 1, 1, 4), tensor("unused", 7)]
    graph = load(make_model(nodes, inputs, [tensor("y", 1, 1, 2)], weights, opset=18), tmp_path)
    assert [op.name for op in graph.operators] == ["lstm", "drop", "halves", "end"]
    assert [t.name for t in graph.tensors] == ["x", "h", "last", "kept", "left", "y"]
    assert operator(graph, "LSTM").macs == 5 * (16 * 3 + 16 * 4)
    assert any("unused" in w for w in graph.warnings)
    assert any("'dead'" in w for w in graph.warnings)
    assert "dead" not in {i.name for i in graph.initializers}
    split_everywhere(graph, tmp_path)


def test_inputs_and_weights_that_are_outputs(tmp_path: Path) -> None:
    outputs = [tensor("x", 2), tensor("w", 2), tensor("y", 2), tensor("k", 2)]
    nodes = [
        node("Constant", [], ["k"], value=constant("k", [1.0, 2.0], "float32"), name="fixed"),
        node("Add", ["x", "w"], ["a"]),
        node("Add", ["a", "k"], ["y"]),
    ]
    graph = load(make_model(nodes, [tensor("x", 2)], outputs, [weight("w", 2)]), tmp_path)
    assert [graph.tensors[t].name for t in graph.outputs] == ["x", "w", "y", "k"]
    passing = graph.tensors[graph.tensor_index["x"]]
    assert passing.producer is None
    assert passing.is_output
    assert op_types(graph) == ["Constant", "Constant", "Add", "Add"]
    split_everywhere(graph, tmp_path)


def test_nodes_in_any_order_are_sorted(tmp_path: Path) -> None:
    model = conv_model(17, 8)
    nodes = list(model.graph.node)
    shuffled = [nodes[i] for i in (3, 1, 0, 2)]
    copy = onnx.GraphProto()
    copy.node.extend(shuffled)
    del model.graph.node[:]
    model.graph.node.extend(copy.node)
    graph = load(model, tmp_path)
    assert op_types(graph) == ["Conv", "Relu", "Conv", "Add"]


def test_declared_shapes_are_believed_where_inference_gives_up(tmp_path: Path) -> None:
    nodes = [
        node("Strange", ["x"], ["a"], domain="acme", name="strange"),
        node("Relu", ["a"], ["y"], name="relu"),
    ]
    model = make_model(
        nodes,
        [tensor("x", "n", 4)],
        [tensor("y", "n", 2)],
        domains={"acme": 1},
        value_info=[tensor("a", "n", 2)],
    )
    graph = load(model, tmp_path, batch=3)
    assert [t.shape for t in graph.tensors] == [(3, 4), (3, 2), (3, 2)]
    assert any("acme.Strange" in w for w in graph.warnings)


def test_elementwise_operators_name_an_input_they_may_overwrite(tmp_path: Path) -> None:
    nodes = [
        node("Neg", ["x"], ["a"], name="reads the model input"),
        node("Relu", ["a"], ["b"], name="a is needed later"),
        node("Add", ["a", "b"], ["c"], name="both die"),
        node("Add", ["c", "small"], ["d"], name="broadcast"),
        node("MatMul", ["d", "w"], ["e"], name="not elementwise"),
        node("Sigmoid", ["e"], ["y"], name="end"),
    ]
    weights = [weight("small", 1, 4), weight("w", 4, 4)]
    graph = load(make_model(nodes, [tensor("x", 3, 4)], [tensor("y", 3, 4)], weights), tmp_path)
    named = {
        op.name: None if op.in_place_input is None else graph.tensors[op.in_place_input].name for op in graph.operators
    }
    assert named == {
        "reads the model input": None,
        "a is needed later": "a",
        "both die": "a",
        "broadcast": "c",
        "not elementwise": None,
        "end": "e",
    }


@pytest.mark.parametrize(
    ("op_type", "opset", "values"),
    [
        ("Range", 17, (0, 5, 0)),
        ("Gather", 17, ([1, 2], [5])),
        ("Expand", 17, ([1], [10**14])),
        ("Expand", 17, ([1, 2, 3], [2, 2])),
        ("Pad", 17, ([1, 2], [1])),
        ("MatMul", 17, ([1, 2], [1, 2, 3])),
        ("Slice", 9, ([1, 2],)),
        ("Div", 17, ([1], [0])),
        ("Mod", 17, ([1], [0])),
    ],
)
def test_a_constant_that_cannot_be_computed_is_left_open(op_type: str, opset: int, values: tuple[object, ...]) -> None:
    names = [f"c{i}" for i in range(len(values))]
    model = make_model(
        [node(op_type, names, ["odd"]), node("Unknown", ["x"], ["open"], domain="nowhere"), node("Relu", ["x"], ["y"])],
        [tensor("x", 1, 3)],
        [tensor("y", 1, 3)],
        [constant(name, value) for name, value in zip(names, values, strict=True)],
        opset=opset,
        domains={"nowhere": 1},
    )
    types = infer_types(model)
    assert types["y"].shape == (1, 3)
    assert "open" not in types or types["open"].shape is None
