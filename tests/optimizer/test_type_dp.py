"""Reach-DP over counts of each type, and the prices that stand in for it, on small chains."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import numpy as np
import pytest

from optimizer.costs import CostTable, OperatorCost
from optimizer.problem import Limits, Problem
from optimizer.search.many_boards_chain import Chain, is_chain, occupancy_s
from optimizer.search.many_boards_prices import Prices
from optimizer.search.type_dp import TypeReach
from tests.optimizer.builders import make_graph, random_graph, random_system


def chain_problem(seed: int, n: int, k: int, types: int, limits: Limits | None = None, kind: str = "mesh") -> Problem:
    rng = random.Random(seed)
    sizes = [rng.choice([10, 100, 300, 1000]) for _ in range(n + 1)]
    weights = [rng.choice([0, 50, 200]) for _ in range(n)]
    graph = make_graph([(i, i + 1) for i in range(n - 1)], n, sizes, weights)
    system = random_system(rng, k, kind)
    rows = {}
    for op in graph.operators:
        seconds = [rng.uniform(0.05, 1.0) for _ in range(types)]
        for q, ref in enumerate(system.processors):
            rows[op.name, ref.key, "fp32"] = OperatorCost(seconds[q % types], seconds[q % types], "made")
    return Problem(graph, system, CostTable(rows), limits or Limits())


def test_a_chain_is_told_from_a_graph_with_branches() -> None:
    problem = chain_problem(1, 6, 2, 2)
    assert is_chain(problem)
    branched = make_graph([(0, 1), (0, 2), (1, 3), (2, 3)], 4, [10] * 5)
    assert not is_chain(replace(problem, graph=branched, costs=_flat(branched, problem)))


def _flat(graph: object, problem: Problem) -> CostTable:
    rows = {
        (op.name, ref.key, "fp32"): OperatorCost(1.0, 1.0, "made")
        for op in graph.operators  # type: ignore[attr-defined]
        for ref in problem.processors
    }
    return CostTable(rows)


def test_many_messages_take_as_long_as_each_alone() -> None:
    for link in random_system(random.Random(3), 3).links:
        sizes = [0, 1, 127, 128, 129, 5000]
        together = occupancy_s(link, np.array(sizes, dtype=np.float64))
        assert together.tolist() == pytest.approx([link.occupancy_s(s) for s in sizes], rel=1e-15)


@pytest.mark.parametrize("seed", range(8))
def test_stages_cover_the_chain_with_no_more_of_a_type_than_there_are(seed: int) -> None:
    chain = Chain(chain_problem(seed, 12, 6, 2))
    table = TypeReach(chain.counts, chain.max_stages)
    memory = chain.memory_windows()
    periods = np.linspace(0.2, 8.0, 40)
    answers = [table.stages(chain.windows(float(t), memory)) for t in periods]
    known = [a is not None for a in answers]
    assert known == sorted(known)  # what fits a period fits a longer one
    assert any(known)
    for stages in answers:
        if stages is None:
            continue
        assert [s[1] for s in stages] == [0, *(s[2] for s in stages[:-1])]
        assert stages[-1][2] == 12
        for kind, count in enumerate(chain.counts):
            assert sum(s[0] == kind for s in stages) <= count


@pytest.mark.parametrize("seed", range(8))
def test_prices_rule_out_only_what_the_table_rules_out(seed: int) -> None:
    chain = Chain(chain_problem(seed, 14, 5, 5))
    table = TypeReach(chain.counts, chain.max_stages)
    memory = chain.memory_windows()
    prices = Prices(chain.n / chain.time[:, -1], chain.counts)
    ruled_out = 0
    for period in np.linspace(0.1, 3.0, 30).tolist():
        windows = chain.windows(period, memory)
        if prices.proves_infeasible(windows, 60, time.monotonic() + 20):
            ruled_out += 1
            assert table.stages(windows) is None
        stages = prices.beam(windows, 50, chain.max_stages)
        if stages is not None:
            assert table.stages(windows) is not None
    assert ruled_out > 0


def test_a_type_with_more_states_than_memory_is_left_to_the_prices() -> None:
    assert TypeReach.applies([16] * 4)
    assert TypeReach.applies([1] * 16)
    assert not TypeReach.applies([1] * 64)


def test_random_graphs_are_seldom_chains() -> None:
    graphs = [random_graph(random.Random(seed), 7) for seed in range(20)]
    system = random_system(random.Random(0), 2)
    problems = [Problem(g, system, _flat(g, chain_problem(0, 7, 2, 1))) for g in graphs]
    assert sum(is_chain(p) for p in problems) < 5
