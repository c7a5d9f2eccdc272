"""Operators as nested loops."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from optimizer.layer_loops import Loops, layer_loops
from optimizer.onnx_model import load_graph
from optimizer.zoo import zoo_names


@pytest.mark.parametrize("name", zoo_names())
def test_loops_make_the_macs_of_every_convolution_and_product(name: str) -> None:
    graph = load_graph(f"zoo:{name}")
    loops = layer_loops(f"zoo:{name}")
    priced = {op.name: op.macs for op in graph.operators if op.macs}
    assert {n: lo.macs for n, lo in loops.items()} == {n: priced[n] for n in loops}
    assert sum(lo.macs for lo in loops.values()) >= 0.99 * graph.macs


def _saved(
    path: str, node: str, inputs: dict[str, list[int]], weights: dict[str, list[int]], **attributes: object
) -> str:
    made = helper.make_node(node, [*inputs, *weights], ["y"], name="n", **attributes)
    graph = helper.make_graph(
        [made],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(s, np.float32), n) for n, s in weights.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_strided_dilated_grouped_convolution(tmp_path: object) -> None:
    path = _saved(
        f"{tmp_path}/m.onnx", "Conv", {"x": [2, 8, 20, 21]}, {"w": [12, 4, 3, 5]},
        group=2, strides=[2, 1], dilations=[1, 2], pads=[1, 4, 0, 3],
    )  # fmt: skip
    assert layer_loops(path)["n"] == Loops(2, 2, 6, 4, (10, 20), (20, 21), (3, 5), (2, 1), (1, 2), (1, 4, 0, 3))


def test_padding_that_the_model_leaves_to_the_sizes(tmp_path: object) -> None:
    path = _saved(f"{tmp_path}/m.onnx", "Conv", {"x": [1, 3, 9, 8]}, {"w": [4, 3, 3, 4]}, auto_pad="SAME_UPPER")
    assert layer_loops(path)["n"].padding == (1, 1, 1, 2)


def test_products_of_stacked_matrices_have_a_matrix_a_group(tmp_path: object) -> None:
    path = _saved(f"{tmp_path}/m.onnx", "MatMul", {"a": [2, 3, 5, 7], "b": [2, 3, 7, 11]}, {})
    assert layer_loops(path)["n"] == Loops(5, 6, 11, 7, (1, 1), (1, 1))


def test_three_dimensions_are_left_out(tmp_path: object) -> None:
    path = _saved(f"{tmp_path}/m.onnx", "Conv", {"x": [1, 2, 6, 6, 6]}, {"w": [4, 2, 3, 3, 3]})
    assert layer_loops(path) == {}
