"""Mapping a recorded ONNX Runtime profile to operators, and the fits of boundary and link terms."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boards.board import Link, ProcessorRef
from optimizer.cost_models.profiled import (
    CutTimes,
    LinkTimes,
    fit_boundary,
    fit_link,
    map_profile,
    profile_precision,
    profiled_costs,
    read_kernels,
)
from optimizer.costs import BoundaryCost
from optimizer.errors import CostError
from optimizer.graph import Graph
from optimizer.onnx_model import load_graph
from tests.optimizer.builders import make_board
from tests.optimizer.onnx_builders import make_model, node, save, tensor
from tests.optimizer.profiled_samples import OPTIMISED, TRACE, recorded_graph


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return recorded_graph(tmp_path)


def test_all_kernel_time_is_mapped(graph: Graph) -> None:
    times = map_profile(graph, TRACE, OPTIMISED)
    assert sum(t.time_s for t in times) == pytest.approx(sum(k.time_s for k in read_kernels(TRACE)))
    assert all(t.time_s > 0 for t in times)


def test_fused_operators_share_the_kernel_they_were_fused_into(graph: Graph) -> None:
    times = dict(zip((op.name for op in graph.operators), map_profile(graph, TRACE, OPTIMISED), strict=True))
    # Named after the last operator: what stands before it has no kernel of its own.
    assert times["/stem/Relu"].has_kernel
    assert times["/stem/Conv"].fused_into == "/stem/Relu"
    assert times["/gate/Sigmoid"].fused_into == "/gate/Mul"
    # Sum and activation ride on the product before them, not on the one that follows.
    assert times["/body/Add"].fused_into == "/body/Conv"
    assert times["/body/Relu"].fused_into == "/body/Conv"
    # The multiplications carry the time.
    assert times["/stem/Conv"].time_s > 5 * times["/stem/Relu"].time_s
    assert times["/body/Conv"].time_s > 5 * times["/body/Add"].time_s


def test_layout_changes_belong_to_the_operator_they_are_made_for(graph: Graph) -> None:
    kernels = {k.name: k.time_s for k in read_kernels(TRACE)}
    times = dict(zip((op.name for op in graph.operators), map_profile(graph, TRACE, OPTIMISED), strict=True))
    assert times["/pool"].time_s == pytest.approx(kernels["p_nchwc"] + kernels["ReorderOutput"])


def test_costs_of_the_whole_model_add_up_to_its_unprofiled_time(graph: Graph) -> None:
    times = map_profile(graph, TRACE, OPTIMISED)
    processor = _processor()
    boundary = BoundaryCost(s_per_byte=1e-10, segment_s=5e-5, provenance="test")
    costs = profiled_costs(graph, processor, times, 1e-3, boundary, "profile: test")
    ends = sum(graph.tensors[t].size_bytes for t in (*graph.inputs, *graph.outputs))
    whole_s = sum(c.time_s for c in costs.values()) + boundary.segment_s + boundary.s_per_byte * ends
    assert whole_s == pytest.approx(1e-3)
    power_w = processor.processor.active_power_w
    assert all(c.energy_j == pytest.approx(c.time_s * power_w) for c in costs.values())
    assert costs["/stem/Conv", processor.key, "fp32"].provenance == "profile: test; fused into /stem/Relu"


def test_a_noisy_boundary_fit_cannot_eat_the_operators(graph: Graph) -> None:
    times = map_profile(graph, TRACE, OPTIMISED)
    boundary = BoundaryCost(s_per_byte=0.0, segment_s=1.0, provenance="test")
    costs = profiled_costs(graph, _processor(), times, 1e-3, boundary, "profile: test")
    assert sum(c.time_s for c in costs.values()) == pytest.approx(0.5e-3)


def test_a_view_that_the_runtime_dropped_costs_nothing(graph: Graph) -> None:
    optimised = onnx.ModelProto.FromString(OPTIMISED)
    flatten = next(n for n in optimised.graph.node if n.op_type == "Flatten")
    optimised.graph.node.remove(flatten)
    trace = json.dumps([e for e in json.loads(TRACE) if not e["name"].startswith("/flatten")]).encode()
    times = map_profile(graph, trace, optimised.SerializeToString())
    costs = profiled_costs(graph, _processor(), times, 1e-3, None, "profile: test")
    flatten_cost = costs["/flatten", _processor().key, "fp32"]
    assert (flatten_cost.time_s, flatten_cost.provenance) == (0.0, "profile: no kernel")
    assert sum(c.time_s for c in costs.values()) == pytest.approx(1e-3)


def test_nodes_without_names_are_told_apart_by_their_order(graph: Graph) -> None:
    optimised = onnx.ModelProto.FromString(OPTIMISED)
    events = json.loads(TRACE)
    renamed = {}
    for position, n in enumerate(optimised.graph.node):
        if n.op_type != "Gemm":
            continue
        renamed[n.name] = f"Gemm_{position}"  # what the runtime makes up
        n.name = ""
    for event in events:
        bare = event["name"].removesuffix("_kernel_time")
        if bare in renamed:
            event["name"] = f"{renamed[bare]}_kernel_time"
    before = map_profile(graph, TRACE, OPTIMISED)
    after = map_profile(graph, json.dumps(events).encode(), optimised.SerializeToString())
    assert after == before


def test_a_profile_of_another_model_is_refused(tmp_path: Path) -> None:
    other = make_model([node("Tanh", ["in"], ["out"], "only")], [tensor("in", 1, 4)], [tensor("out", 1, 4)])
    graph = load_graph(save(other, tmp_path / "other.onnx"))
    with pytest.raises(CostError, match="no kernel of the profile belongs"):
        map_profile(graph, TRACE, OPTIMISED)


@pytest.mark.parametrize("trace", [b"", b"{}", b"[]", b'[{"cat": "Session", "name": "run"}]'])
def test_what_is_no_profile_is_refused(trace: bytes) -> None:
    with pytest.raises(CostError, match="the profile cannot be used"):
        read_kernels(trace)


def test_slow_runs_of_a_kernel_are_left_out() -> None:
    event = {"cat": "Node", "name": "a_kernel_time", "args": {"op_name": "Relu", "node_index": "0"}}
    trace = json.dumps([event | {"dur": dur} for dur in (10, 10, 10, 5000)]).encode()
    assert [k.time_s for k in read_kernels(trace)] == [pytest.approx(10e-6)]


@given(
    slope=st.floats(0, 1e-8),
    segment_s=st.floats(0, 1e-3),
    sizes=st.lists(st.integers(1, 10**7), min_size=2, max_size=6, unique=True),
)
def test_boundary_fit_finds_an_exact_line(slope: float, segment_s: float, sizes: list[int]) -> None:
    cuts = [CutTimes(size, 0.1 + segment_s + slope * 2 * size, 0.1) for size in sizes]
    fitted = fit_boundary(cuts, "test")
    for size in sizes:
        expected = segment_s + slope * 2 * size
        assert fitted.segment_s + fitted.s_per_byte * 2 * size == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(st.lists(st.tuples(st.integers(1, 10**7), st.floats(0.01, 0.2), st.floats(0.01, 0.2)), min_size=1, max_size=6))
def test_boundary_is_never_negative(rows: list[tuple[int, float, float]]) -> None:
    fitted = fit_boundary([CutTimes(*row) for row in rows], "test")
    assert fitted.s_per_byte >= 0
    assert fitted.segment_s >= 0


def test_boundary_fit_without_cuts_is_refused() -> None:
    with pytest.raises(CostError, match="no cut"):
        fit_boundary([], "test")


def test_link_fit_reproduces_what_was_measured() -> None:
    link = Link("a->b", "a", "b", "a->b", 1e9, latency_s=2e-3, mtu_bytes=1500, header_bytes=26)
    cost = fit_link(link, LinkTimes(5e-3, 1_500_000, 0.125, 0.003, 0.006), "test")
    assert link.wire_bytes(1_500_000) / cost.bandwidth_bytes_per_s == pytest.approx(0.125)
    assert (cost.latency_s, cost.setup_s) == (pytest.approx(2e-3), pytest.approx(0.5e-3))
    assert (cost.send_s_per_byte, cost.receive_s_per_byte) == (pytest.approx(2e-9), pytest.approx(4e-9))


def test_link_faster_than_its_nominal_latency_has_no_negative_setup() -> None:
    link = Link("a->b", "a", "b", "a->b", 1e6, latency_s=1.0)
    cost = fit_link(link, LinkTimes(1e-3, 1000, 0.001, 0.0, 0.0), "test")
    assert (cost.latency_s, cost.setup_s) == (pytest.approx(0.5e-3), 0.0)


def test_senseless_link_measurement_is_refused() -> None:
    link = Link("a->b", "a", "b", "a->b", 1e6)
    with pytest.raises(CostError, match=r"a->b.*makes no sense"):
        fit_link(link, LinkTimes(1e-3, 0, 0.0, 0.0, 0.0), "test")


def test_precision_is_fp32_where_the_processor_has_it() -> None:
    assert profile_precision(_processor()) == "fp32"


def _processor() -> ProcessorRef:
    board = make_board("left")
    return ProcessorRef(board, board.processors[0])
