"""Cost tables: what they lack, how they join, what they may not hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from boards.board import Processor
from boards.catalog import load_board, load_system
from optimizer.costs import (
    BoundaryCost,
    CostTable,
    LinkCost,
    OperatorCost,
    check_costs,
    default_precision,
    merge_costs,
    missing_rows,
    require_rows,
)
from optimizer.errors import CostError
from optimizer.onnx_model import load_graph

LINK = LinkCost(1e6, 0.0, 0.0, 0.0, 0.0, "made")


def table(time_s: float = 1.0, **changes: object) -> CostTable:
    rows = {("a", "left/cpu", "fp32"): OperatorCost(time_s, 2.0, "made")}
    return replace(CostTable(rows), **changes)  # type: ignore[arg-type]


def test_a_float_model_runs_at_fp32_where_the_processor_has_it_else_at_its_first():
    base = load_board("raspberry-pi-5").processors[0]
    assert default_precision(base) == "fp32"
    assert default_precision(replace(base, macs_per_s={"int8": 1.0, "fp32": 1.0})) == "fp32"
    assert default_precision(replace(base, macs_per_s={"int8": 1.0, "fp16": 1.0})) == "int8"
    assert isinstance(base, Processor)


def test_later_tables_win_and_keep_their_provenance():
    other = CostTable(
        {
            ("a", "left/cpu", "fp32"): OperatorCost(5.0, 6.0, "later"),
            ("b", "left/cpu", "fp32"): OperatorCost(0.0, 0.0, "later"),
        },
        {"left/cpu": BoundaryCost(0.0, 1.0, "later")},
        {"left->right": LINK},
        "abc",
    )
    merged = merge_costs(table(boundaries={"left/cpu": BoundaryCost(9.0, 9.0, "first")}), other)
    assert merged.operators["a", "left/cpu", "fp32"].provenance == "later"
    assert len(merged.operators) == 2
    assert merged.boundaries["left/cpu"].segment_s == 1.0
    assert merged.links == {"left->right": LINK}
    assert merged.model_sha256 == "abc"


def test_tables_of_different_models_are_not_merged():
    with pytest.raises(CostError, match="different models"):
        merge_costs(table(model_sha256="abc"), table(), table(model_sha256="def"))


def test_missing_rows_are_named():
    graph, system = load_graph("zoo:squeezenet1_1"), load_system("demo")
    everything = {
        (op.name, ref.key, "fp32"): OperatorCost(0.0, 0.0, "made")
        for ref in system.processors
        for op in graph.operators
    }
    require_rows(CostTable(everything), graph, system)
    gone = [(graph.operators[i].name, "right/cpu", "fp32") for i in (3, 5)]
    partial = CostTable({k: v for k, v in everything.items() if k not in gone})
    assert missing_rows(partial, graph, system) == tuple(gone)
    with pytest.raises(CostError) as caught:
        require_rows(partial, graph, system, where="costs.json")
    assert f"{gone[0][0]} on right/cpu at fp32; {gone[1][0]}" in caught.value.what
    assert caught.value.where == "costs.json"
    with pytest.raises(CostError, match=f"and {2 * len(graph.operators) - 5} more"):
        require_rows(CostTable({}), graph, system)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e-9])
def test_impossible_figures_are_named(value: float):
    with pytest.raises(CostError, match="time_s of operator 'a' on left/cpu at fp32") as caught:
        check_costs(table(value), where="here")
    assert caught.value.got == repr(value)
    with pytest.raises(CostError, match="segment_s of the boundary of left/cpu"):
        check_costs(table(boundaries={"left/cpu": BoundaryCost(0.0, value, "made")}))
    with pytest.raises(CostError, match="latency_s of link left->right"):
        check_costs(table(links={"left->right": replace(LINK, latency_s=value)}))


def test_a_link_without_bandwidth_is_refused_and_sound_tables_pass():
    with pytest.raises(CostError, match="bandwidth_bytes_per_s"):
        check_costs(table(links={"left->right": replace(LINK, bandwidth_bytes_per_s=0.0)}))
    check_costs(table(0.0, links={"left->right": LINK}))
