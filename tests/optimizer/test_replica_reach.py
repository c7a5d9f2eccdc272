"""Chains over counts of identical boards with replicas, against every plan of small problems."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from optimizer.costs import CostTable, OperatorCost
from optimizer.problem import Limits, Problem
from optimizer.replicas import frames_of_turn
from optimizer.search.cpsat import Budget, Clock
from optimizer.search.many_boards_chain import Chain
from optimizer.search.pool import Pool
from optimizer.search.pruning import simple_bound
from optimizer.search.replica_reach import ReplicaReach, replica_segments
from optimizer.search.replication_chain import chain_bound
from tests.optimizer.builders import make_graph, random_system
from tests.optimizer.replica_brute import all_plans


def chain_problem(seed: int, n: int, k: int, types: int, kind: str = "mesh", limits: Limits | None = None) -> Problem:
    """A chain on boards of few types; board i is of type i mod ``types``."""
    rng = random.Random(seed)
    sizes = [rng.choice([10, 100, 300, 1000]) for _ in range(n + 1)]
    graph = make_graph([(i, i + 1) for i in range(n - 1)], n, sizes, [rng.choice([0, 50, 200]) for _ in range(n)])
    system = random_system(rng, k, kind)
    boards = tuple(replace(b, processors=system.boards[i % types].processors) for i, b in enumerate(system.boards))
    system = replace(system, boards=boards)
    rows = {}
    for op in graph.operators:
        seconds = [rng.uniform(0.05, 1.0) for _ in range(types)]
        for q, ref in enumerate(system.processors):
            rows[op.name, ref.key, "fp32"] = OperatorCost(seconds[q % types], seconds[q % types], "made")
    return Problem(graph, system, CostTable(rows), limits or Limits())


@pytest.mark.parametrize("kind", ["mesh", "switch", "line", "shared", "polled"])
@pytest.mark.parametrize(("types", "seed"), [(1, 3), (2, 4)])
def test_the_bound_holds_for_every_plan_of_a_chain(kind: str, types: int, seed: int) -> None:
    problem = chain_problem(seed, 4, 3, types, kind)
    best = min(p.score.period_s for p in all_plans(problem, [q % types for q in range(3)]))
    pool, clock = Pool(problem, ("throughput",)), Clock()
    bound = chain_bound(pool, Budget(clock.now() + 20, 1, 0, clock=clock), simple_bound(problem, "throughput"))
    assert bound is not None
    assert bound.value <= best * (1 + 1e-9)
    assert pool.best_value("throughput") >= best * (1 - 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_with_links_that_are_free_the_best_plan_is_found_and_proven(seed: int) -> None:
    types = 1 + seed % 2
    problem = chain_problem(seed, 4, 4, types)
    links = tuple(
        replace(x, bandwidth_bytes_per_s=1e12, setup_s=0.0, send_s_per_byte=0.0, receive_s_per_byte=0.0)
        for x in problem.system.links
    )
    problem = replace(problem, system=replace(problem.system, links=links))
    best = min(p.score.period_s for p in all_plans(problem, [q % types for q in range(4)]))
    pool, clock = Pool(problem, ("throughput",)), Clock()
    bound = chain_bound(pool, Budget(clock.now() + 20, 1, 0, clock=clock), 0.0)
    assert bound is not None
    assert pool.best_value("throughput") == pytest.approx(best, rel=2e-5)
    assert bound.value == pytest.approx(best, rel=5e-5)
    assert bound.complete


@pytest.mark.parametrize("seed", range(4))
def test_stages_cover_the_chain_with_no_more_boards_than_there_are(seed: int) -> None:
    chain = Chain(chain_problem(seed, 12, 6, 2))
    table, memory = ReplicaReach(chain.counts, chain.max_stages), chain.memory_windows()
    answers = []
    for period in (0.1, 0.3, 0.5, 1.0, 2.0, 4.0, 8.0):
        stages = table.stages(lambda periods, p=period: chain.windows(periods * p, memory))  # type: ignore[misc]
        answers.append(stages is not None)
        if stages is None:
            continue
        assert [s[2] for s in stages] == [0, *(s[3] for s in stages[:-1])]
        assert stages[-1][3] == 12
        for kind, count in enumerate(chain.counts):
            assert sum(r for a, r, _, _ in stages if a == kind) <= count
        segments = replica_segments(chain, stages)
        assert frames_of_turn(segments) == math.lcm(*(r for _, r, _, _ in stages))
    assert answers == sorted(answers)  # what fits a period fits a longer one
    assert any(answers)


def test_a_cap_on_boards_counts_replicas() -> None:
    problem = chain_problem(1, 6, 4, 1, limits=Limits(max_boards=2))
    chain = Chain(problem)
    table, memory = ReplicaReach(chain.counts, chain.max_stages), chain.memory_windows()
    stages = table.stages(lambda periods: chain.windows(periods * 100.0, memory))
    assert stages is not None
    assert sum(r for _, r, _, _ in stages) <= 2
    half = table.stages(lambda periods: chain.windows(periods * float(chain.time[0, -1]) / 3, memory))
    assert half is None


def test_a_graph_with_branches_is_left_to_the_sets() -> None:
    problem = chain_problem(1, 4, 3, 1)
    branched = make_graph([(0, 1), (0, 2), (1, 3), (2, 3)], 4, [10] * 5)
    pool, clock = Pool(replace(problem, graph=branched), ("throughput",)), Clock()
    assert chain_bound(pool, Budget(clock.now() + 5, 1, 0, clock=clock), 0.0) is None
