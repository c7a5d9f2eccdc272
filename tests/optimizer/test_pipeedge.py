"""The counterexamples on which an exact search that confuses hosts with types of hosts goes wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from boards.board import Link, System
from optimizer.costs import CostTable, OperatorCost
from optimizer.plan import Front
from optimizer.problem import Limits, Problem
from optimizer.solve import SolveOptions, solve
from tests.optimizer.builders import make_board, make_graph

MB = 1_000_000
LAYERS = 8


def pipeedge() -> Problem:
    """Three slow hosts (1.0 s a layer), a fast one (0.1 s a layer), eight equal layers of 1 MB, free links."""
    graph = make_graph([(i, i + 1) for i in range(LAYERS - 1)], LAYERS, [MB // 4] * (LAYERS + 1), [MB] * LAYERS)
    boards = (*(make_board(f"slow{i}") for i in range(3)), make_board("fast"))
    names = [b.name for b in boards]
    links = tuple(
        Link(name=f"{a}->{b}", source=a, target=b, medium=f"{a}->{b}", bandwidth_bytes_per_s=1e15)
        for a in names
        for b in names
        if a != b
    )
    rows = {
        (op.name, f"{name}/cpu", "fp32"): OperatorCost(seconds, seconds, "made")
        for op in graph.operators
        for name, seconds in zip(names, (1.0, 1.0, 1.0, 0.1), strict=True)
    }
    return Problem(graph, System("pipeedge", boards, links, "slow0", "slow2"), CostTable(rows))


def best(problem: Problem) -> Front:
    front = solve(problem, SolveOptions(objectives=("throughput",), time_limit_s=20.0, workers=1))
    assert isinstance(front, Front)
    return front


def test_everything_runs_on_the_fast_host() -> None:
    front = best(pipeedge())
    plan = front.plans[front.chosen]
    assert [s.processor for s in plan.segments] == ["fast/cpu"]
    assert plan.score.period_s == pytest.approx(0.8, rel=1e-9)
    assert front.certificates["throughput"].status == "proven"


def test_hosts_with_room_for_few_layers_share_the_work() -> None:
    """The fast host holds one layer (2 MB with its buffers), the slow ones three each."""
    problem = pipeedge()
    flash = {f"slow{i}": 3 * MB for i in range(3)}
    front = best(replace(problem, limits=Limits(max_ram_bytes={"fast": 2 * MB}, max_flash_bytes=flash)))
    plan = front.plans[front.chosen]
    assert plan.score.period_s == pytest.approx(3.0, rel=1e-9)
    assert all(len(s.operators) <= (1 if s.processor == "fast/cpu" else 3) for s in plan.segments)
    assert front.certificates["throughput"].status == "proven"
