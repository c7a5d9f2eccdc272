"""Boards of two processors in the reach-DP: its bounds and plans against brute force."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from optimizer.costs import BoundaryCost, CostTable, OperatorCost
from optimizer.problem import Limits, Problem
from optimizer.search.cpsat import Budget
from optimizer.search.fluid import fluid_bound_s
from optimizer.search.many_boards_lattice import LatticeSearch
from optimizer.search.pool import Pool
from tests.optimizer.builders import make_processor, random_graph, random_system

KINDS = ("mesh", "line", "switch", "shared", "polled")
SEEDS = st.integers(0, 10**6)


def problem_of(seed: int, processors: tuple[int, ...], kind: str, operators: int, *, plain: bool = False) -> Problem:
    """Random; ``processors``: how many each board has. ``plain``: no costs of cuts and messages but the links'."""
    rng = random.Random(seed)
    graph = random_graph(rng, operators)
    system = random_system(rng, len(processors), kind)
    boards = tuple(
        replace(board, processors=tuple(make_processor(f"p{i}") for i in range(count)))
        for board, count in zip(system.boards, processors, strict=True)
    )
    links = system.links
    if plain:
        links = tuple(replace(x, send_s_per_byte=0.0, receive_s_per_byte=0.0) for x in links)
    system = replace(system, boards=boards, links=links)
    speed = [rng.uniform(0.3, 1.5) for _ in system.processors]
    rows = {}
    for op in graph.operators:
        base = rng.choice([0.05, 0.2, 1.0])
        for i, ref in enumerate(system.processors):
            seconds = base * speed[i] * rng.uniform(0.7, 1.3)
            rows[op.name, ref.key, "fp32"] = OperatorCost(seconds, seconds, "made")
    boundaries = {}
    if not plain and rng.random() < 0.5:
        boundaries = {ref.key: BoundaryCost(1e-5, 0.01, "made") for ref in system.processors}
    ram = {f"b{i}": rng.choice([700, 1500, 3000]) for i in range(len(boards))}
    choices = [Limits(), Limits(max_ram_bytes=ram), Limits(max_boards=2), Limits(colocations=(("op1", "op3"),))]
    limits = Limits() if plain else rng.choice([*choices, Limits(pins={"op1": "b1"}, forbids=(("op2", "b0/p0"),))])
    return Problem(graph, system, CostTable(rows, boundaries), limits)


def brute_force_s(problem: Problem) -> float:
    pool = Pool(problem, ("throughput",))
    for places in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool.best_value("throughput")


def searched(problem: Problem) -> tuple[Pool, float]:
    pool = Pool(problem, ("throughput",))
    budget = Budget(time.monotonic() + 60, workers=1, seed=0)
    found = LatticeSearch(pool, budget, fluid_bound_s(problem)).run()
    assert found is not None
    return pool, found[0]


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), processors=st.sampled_from([(2, 1), (1, 2), (2, 2), (3, 1)]))
@example(seed=869, kind="switch", processors=(3, 1))  # one processor of the source need run something, not all three
@example(seed=379958, kind="switch", processors=(1, 2))  # no start of a board of two keeps the period
@example(seed=871922, kind="polled", processors=(1, 2))  # the source runs what its inputs would else cross a link for
def test_no_plan_is_better_than_the_bound(seed: int, kind: str, processors: tuple[int, ...]) -> None:
    problem = problem_of(seed, processors, kind, 4)
    pool, bound = searched(problem)
    best = brute_force_s(problem)
    assert bound <= best * (1 + 1e-9)
    assert pool.best_value("throughput") >= best * (1 - 1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("processors", [(2, 1), (2, 2), (1, 1, 2)])
def test_on_switches_the_best_period_is_found_and_proven(seed: int, processors: tuple[int, ...]) -> None:
    problem = problem_of(seed, processors, "switch", 6 if sum(processors) == 3 else 5, plain=True)
    first, last = (problem.system.processors[i].board.name for i in (0, -1))
    system = replace(problem.system, source=last if seed % 4 == 1 else first, sink=first if seed % 2 else last)
    problem = replace(problem, system=system)
    pool, bound = searched(problem)
    best = brute_force_s(problem)
    assert pool.best_value("throughput") == pytest.approx(best, rel=1e-4)
    assert bound <= best * (1 + 1e-9)
    if len(problem.system.board(problem.system.source).processors) == 1:
        assert bound == pytest.approx(best, rel=1e-4)
