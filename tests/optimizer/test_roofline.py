"""Costs from catalog figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from boards.board import System
from boards.catalog import load_system
from optimizer.cost_models.base import CostModel
from optimizer.cost_models.roofline import roofline_costs
from optimizer.costs import check_costs, missing_rows
from optimizer.graph import Graph, Initializer, Operator, Tensor
from optimizer.onnx_model import load_graph

RATE, INT8_RATE, BANDWIDTH, OVERHEAD, POWER = 1e9, 4e9, 1e8, 1e-5, 3.0


@pytest.fixture
def system() -> System:
    demo = load_system("demo")
    processor = replace(
        demo.boards[0].processors[0],
        macs_per_s={"fp32": RATE, "int8": INT8_RATE},
        memory_bytes_per_s=BANDWIDTH,
        operator_overhead_s=OVERHEAD,
        active_power_w=POWER,
    )
    return replace(demo, boards=tuple(replace(b, processors=(processor,)) for b in demo.boards))


def chain(*ops: tuple[str, int], dtype: str = "float32", size: int = 4000) -> Graph:
    """A chain of (type, MACs) with tensors of one size; the first operator has 8000 bytes of float32 weights."""
    tensors = tuple(
        Tensor(f"t{i}", (size,), dtype, size, i - 1 if i else None, (i,) if i < len(ops) else (), i == len(ops))
        for i in range(len(ops) + 1)
    )
    operators = tuple(
        Operator(i, f"op{i}", kind, (i,), (i + 1,), (0,) if i == 0 else (), 8000 if i == 0 else 0, macs)
        for i, (kind, macs) in enumerate(ops)
    )
    weights = (Initializer("w", 8000, "float32"),)
    return Graph("g", "g", "abc", 1, 17, operators, tensors, weights, (0,), (len(ops),))


def test_an_operator_takes_its_arithmetic_or_its_bytes_whichever_is_longer(system: System):
    rows = roofline_costs(chain(("Conv", 10**9), ("Conv", 10)), system).operators
    assert rows["op0", "left/cpu", "fp32"].time_s == pytest.approx(OVERHEAD + 1.0)
    assert rows["op1", "left/cpu", "fp32"].time_s == pytest.approx(OVERHEAD + 8000 / BANDWIDTH)


def test_weights_count_as_bytes_moved(system: System):
    rows = roofline_costs(chain(("Gemm", 1)), system).operators
    assert rows["op0", "left/cpu", "fp32"].time_s == pytest.approx(OVERHEAD + 16_000 / BANDWIDTH)


def test_floats_narrow_to_the_precision_and_integers_stay(system: System):
    floats = roofline_costs(chain(("Conv", 1), ("Conv", 1)), system).operators
    assert floats["op1", "left/cpu", "int8"].time_s == pytest.approx(OVERHEAD + 2000 / BANDWIDTH)
    integers = roofline_costs(chain(("Conv", 1), ("Conv", 1), dtype="int64"), system).operators
    assert integers["op1", "left/cpu", "int8"].time_s == pytest.approx(OVERHEAD + 8000 / BANDWIDTH)


def test_half_floats_are_not_widened(system: System):
    rows = roofline_costs(chain(("Conv", 1), ("Conv", 1), dtype="float16"), system).operators
    assert rows["op1", "left/cpu", "fp32"].time_s == pytest.approx(OVERHEAD + 8000 / BANDWIDTH)


def test_an_operator_without_macs_costs_its_bytes_and_says_so(system: System):
    row = roofline_costs(chain(("Conv", 5), ("Mystery", 0)), system).operators["op1", "left/cpu", "fp32"]
    assert row.time_s == pytest.approx(OVERHEAD + 8000 / BANDWIDTH)
    assert row.provenance.endswith("no MACs known, bytes only")


def test_a_view_costs_its_overhead_only(system: System):
    row = roofline_costs(chain(("Conv", 5), ("Reshape", 0)), system).operators["op1", "left/cpu", "fp32"]
    assert row.time_s == OVERHEAD


def test_energy_is_time_at_active_power(system: System):
    for cost in roofline_costs(chain(("Conv", 10**7), ("Relu", 0)), system).operators.values():
        assert cost.energy_j == pytest.approx(cost.time_s * POWER)


def test_provenance_names_the_board_and_its_figures(system: System):
    row = roofline_costs(chain(("Conv", 1)), system).operators["op0", "left/cpu", "int8"]
    assert row.provenance == "roofline: local-core/cpu int8, 4GMAC/s, 100MB/s"


def test_a_boundary_is_one_more_invocation(system: System):
    boundary = roofline_costs(chain(("Conv", 1)), system).boundaries["right/cpu"]
    assert (boundary.s_per_byte, boundary.segment_s) == (0.0, OVERHEAD)
    assert boundary.provenance.startswith("roofline")


def test_a_faster_processor_is_never_slower(system: System):
    graph = load_graph("zoo:mobilenet_v2")
    slow = roofline_costs(graph, system).operators
    boards = tuple(
        replace(b, processors=tuple(replace(p, macs_per_s={"fp32": 2 * RATE}) for p in b.processors))
        for b in system.boards
    )
    fast = roofline_costs(graph, replace(system, boards=boards)).operators
    assert all(fast[key].time_s <= slow[key].time_s for key in fast)
    assert any(fast[key].time_s < slow[key].time_s for key in fast)


@pytest.mark.parametrize("name", ["four-heterogeneous", "mcu-chain", "eyeriss-simba"])
def test_every_row_that_a_plan_needs_is_there(name: str):
    graph, bench = load_graph("zoo:googlenet"), load_system(name)
    model: CostModel = roofline_costs
    costs = model(graph, bench)
    assert missing_rows(costs, graph, bench) == ()
    check_costs(costs)
    assert costs.model_sha256 == graph.sha256
    precisions = sum(len(ref.processor.macs_per_s) for ref in bench.processors)
    assert len(costs.operators) == len(graph.operators) * precisions
