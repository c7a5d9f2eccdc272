"""The graphs of the zoo: known cuts and MACs, and how long loading takes."""

from __future__ import annotations

import pytest

from optimizer.graph import cut_points, is_topological, live_sets
from optimizer.onnx_model import load_graph

KNOWN = {
    # single-tensor cuts, GMAC (four digits)
    "squeezenet1_1": (32, 0.349),
    "mobilenet_v2": (49, 0.301),
    "mobilenet_v3_large": (46, 0.217),
    "efficientnet_b0": (55, 0.386),
    "regnet_x_400mf": (48, 0.414),
    "googlenet": (21, 1.498),
    "densenet121": (23, 2.834),
    "resnet50": (37, 4.089),
    "resnet152": (105, 11.51),
    "inception_v3": (25, 5.713),
    "vgg16": (37, 15.47),
    "vgg19": (43, 19.63),
    "vit_b_16": (31, 17.56),
}


@pytest.mark.parametrize("name", KNOWN)
def test_cuts_and_macs_are_the_known_ones(name: str) -> None:
    graph = load_graph(f"zoo:{name}")
    cuts, gmacs = KNOWN[name]
    assert len(cut_points(graph)) == cuts
    assert graph.macs / 1e9 == pytest.approx(gmacs, rel=0.002)
    assert graph.warnings == ()
    assert is_topological(graph, range(len(graph.operators)))


@pytest.mark.parametrize("name", KNOWN)
def test_no_tensor_is_sent_for_its_shape(name: str) -> None:
    graph = load_graph(f"zoo:{name}")
    assert {t.dtype for t in graph.tensors} == {"float32"}
    assert not {"Shape", "Constant"} & {op.op_type for op in graph.operators}


def test_widest_live_set_of_a_chain_is_two_neighbours() -> None:
    graph = load_graph("zoo:vgg16")
    widest = max(live_sets(graph), key=lambda s: s.size_bytes)
    assert widest.size_bytes == 2 * 64 * 224 * 224 * 4
    assert len(widest.tensors) == 2
