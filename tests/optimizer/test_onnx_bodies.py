"""Operators with bodies (If, Loop, Scan), and functions."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto, TensorProto, helper

from tests.optimizer.onnx_builders import (
    constant,
    make_body,
    make_model,
    node,
    tensor,
    weight,
)
from tests.optimizer.onnx_reading import input_names, load, op_types, operator, split_everywhere


def test_bodies_are_part_of_their_operator_and_captures_are_inputs(tmp_path: Path) -> None:
    then = make_body("then", [node("MatMul", ["a", "w"], ["t"])], [tensor("t", 2, 4)])
    other = make_body("else", [node("Add", ["a", "k"], ["e"])], [tensor("e", 2, 4)], [weight("k", 4)])
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("If", ["c"], ["b"], then_branch=then, else_branch=other),
        node("Add", ["a", "b"], ["y"]),
    ]
    model = make_model(
        nodes,
        [tensor("x", 2, 4), tensor("c", dtype=TensorProto.BOOL)],
        [tensor("y", 2, 4)],
        [weight("w", 4, 4)],
    )
    graph = load(model, tmp_path)
    branch = operator(graph, "If")
    assert input_names(graph, branch) == ["c", "a"]
    assert branch.macs == 2 * 4 * 4
    assert branch.weight_bytes == 64 + 16
    split_everywhere(graph, tmp_path)


def loop_model() -> ModelProto:
    body = make_body(
        "body",
        [
            node("Identity", ["go"], ["on"]),
            node("MatMul", ["v", "w"], ["m"]),
            node("Add", ["m", "a"], ["out"]),
        ],
        [tensor("on", dtype=TensorProto.BOOL), tensor("out", 2, 4)],
        inputs=[
            tensor("i", dtype=TensorProto.INT64),
            tensor("go", dtype=TensorProto.BOOL),
            tensor("v", 2, 4),
        ],
    )
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Loop", ["trips", "yes", "a"], ["b"], body=body),
        node("Neg", ["b"], ["y"]),
    ]
    weights = [weight("w", 4, 4), constant("trips", 3), constant("yes", True, "bool")]
    return make_model(nodes, [tensor("x", 2, 4)], [tensor("y", 2, 4)], weights)


def test_loops_count_their_body_for_every_trip(tmp_path: Path) -> None:
    graph = load(loop_model(), tmp_path)
    assert operator(graph, "Loop").macs == 3 * 2 * 4 * 4
    assert input_names(graph, operator(graph, "Loop")) == ["a"]
    split_everywhere(graph, tmp_path)


def test_scans_count_their_body_for_every_element(tmp_path: Path) -> None:
    body = make_body(
        "body",
        [
            node("MatMul", ["state", "w"], ["m"]),
            node("Add", ["m", "v"], ["n"]),
            node("Identity", ["n"], ["o"]),
        ],
        [tensor("n", 2, 4), tensor("o", 2, 4)],
        inputs=[tensor("state", 2, 4), tensor("v", 2, 4)],
    )
    nodes = [node("Relu", ["x"], ["a"]), node("Scan", ["h", "a"], ["end", "y"], body=body, num_scan_inputs=1)]
    model = make_model(
        nodes,
        [tensor("x", 5, 2, 4), tensor("h", 2, 4)],
        [tensor("end", 2, 4), tensor("y", 5, 2, 4)],
        [weight("w", 4, 4)],
    )
    graph = load(model, tmp_path)
    assert operator(graph, "Scan").macs == 5 * 2 * 4 * 4
    split_everywhere(graph, tmp_path)


def test_functions_are_inlined(tmp_path: Path) -> None:
    body = helper.make_function(
        "custom",
        "Scaled",
        ["a", "b"],
        ["c"],
        [node("MatMul", ["a", "b"], ["m"]), node("Relu", ["m"], ["c"])],
        [helper.make_opsetid("", 17)],
    )
    nodes = [
        node("Scaled", ["x", "w"], ["h"], domain="custom", name="one"),
        node("Scaled", ["h", "w"], ["y"], domain="custom", name="two"),
    ]
    model = make_model(
        nodes,
        [tensor("x", 2, 4)],
        [tensor("y", 2, 4)],
        [weight("w", 4, 4)],
        domains={"custom": 1},
        functions=[body],
    )
    graph = load(model, tmp_path)
    assert op_types(graph) == ["MatMul", "Relu", "MatMul", "Relu"]
    split_everywhere(graph, tmp_path)
