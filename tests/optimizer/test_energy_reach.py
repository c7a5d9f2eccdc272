"""The least energy by downsets and sets of boards, against every plan."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from optimizer.problem import Limits, Problem
from optimizer.search.board_sets import TimeUpError
from optimizer.search.energy_reach import energy_by_downsets
from optimizer.search.pool import Pool
from optimizer.search.screen import Screen
from tests.optimizer.test_board_visits import problem_of
from tests.optimizer.test_energy_bound import with_idle_power

KINDS = ("mesh", "line", "switch", "shared")


def no_limit(seconds: float) -> None:
    assert seconds >= 0


def least(problem: Problem) -> tuple[float, float]:
    """Least energy and least period of any plan."""
    pool = Pool(problem, ("throughput", "energy"))
    screen = Screen(pool)
    every = itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators))
    while some := list(itertools.islice(every, 64)):
        screen.scores([np.array(places) for places in some])
    return pool.best_value("energy"), pool.best_value("throughput")


def with_dear_links(problem: Problem) -> Problem:
    links = tuple(replace(x, energy_j_per_byte=30 * x.energy_j_per_byte) for x in problem.system.links)
    return replace(problem, system=replace(problem.system, links=links))


def with_narrow_second_processors(problem: Problem) -> Problem:
    """Of each board the first processor works in fp32, all others in int8, at the same costs."""
    graph, system = problem.graph, problem.system
    tensors = tuple(replace(t, dtype="float32", size_bytes=4 * t.size_bytes) for t in graph.tensors)
    narrow = [
        b.processors[:1] + tuple(replace(p, macs_per_s={"int8": 1e9}) for p in b.processors[1:]) for b in system.boards
    ]
    boards = tuple(replace(b, processors=p) for b, p in zip(system.boards, narrow, strict=True))
    rows = {}
    for (operator, key, _), cost in problem.costs.operators.items():
        rows[operator, key, "fp32" if key.endswith("p0") else "int8"] = cost
    return replace(
        problem,
        graph=replace(graph, tensors=tensors),
        system=replace(system, boards=boards),
        costs=replace(problem.costs, operators=rows),
    )


def started(problem: Problem) -> Pool:
    """A pool that knows one plan a processor."""
    pool = Pool(problem)
    for q in range(len(problem.processors)):
        pool.score(np.full(len(problem.graph.operators), q))
    return pool


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("processors", [(1, 1), (2, 1), (1, 1, 1)])
def test_no_plan_needs_less(kind: str, processors: tuple[int, ...]) -> None:
    asked = 0
    for seed in range(4):
        problem = with_idle_power(problem_of(seed, processors, kind, 4), seed)
        energy_j, period_s = least(problem)
        if math.isinf(energy_j):
            continue
        bound = energy_by_downsets(started(problem), period_s, no_limit)
        assert bound is not None
        assert bound <= energy_j * (1 + 1e-9), seed
        asked += 1
    assert asked >= 2


@pytest.mark.parametrize("processors", [(1, 3), (3, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_what_three_processors_of_a_board_hand_on_crosses_no_link(processors: tuple[int, ...], seed: int) -> None:
    problem = with_dear_links(problem_of(seed, processors, "switch", 4, plain=True))
    energy_j, period_s = least(problem)
    bound = energy_by_downsets(started(problem), period_s, no_limit)
    assert bound is not None
    assert bound <= energy_j * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_of_two_processors_the_one_that_sends_less_may_send(seed: int) -> None:
    problem = with_narrow_second_processors(with_dear_links(problem_of(seed, (2, 1), "mesh", 4, plain=True)))
    energy_j, period_s = least(problem)
    bound = energy_by_downsets(started(problem), period_s, no_limit)
    assert bound is not None
    assert bound <= energy_j * (1 + 1e-9)


def test_on_a_switch_the_least_energy_is_mostly_found_and_proven() -> None:
    met = 0
    for seed in range(8):
        problem = with_idle_power(problem_of(seed, (1, 1, 1), "switch", 5, plain=True), seed)
        energy_j, period_s = least(problem)
        pool = started(problem)
        bound = energy_by_downsets(pool, period_s, no_limit)
        assert bound is not None
        assert bound <= energy_j * (1 + 1e-9)
        met += bound >= 0.9999 * energy_j and pool.best_value("energy") <= energy_j * 1.0001
    assert met >= 4  # an input that several boards read counts once


@pytest.mark.parametrize("seed", range(4))
def test_a_rate_fixes_the_interval(seed: int) -> None:
    problem = with_idle_power(problem_of(seed, (1, 1, 1), "switch", 5, plain=True), seed)
    problem = replace(problem, limits=Limits(rate_per_s=0.5 / least(problem)[1]))
    energy_j, period_s = least(problem)
    bound = energy_by_downsets(started(problem), period_s, no_limit)
    assert bound is not None
    assert 0.9 * energy_j <= bound <= energy_j * (1 + 1e-9)


def test_without_time_there_is_no_claim() -> None:
    def spent(seconds: float) -> None:
        raise TimeUpError

    problem = with_idle_power(problem_of(1, (2, 1), "switch", 5), 1)
    assert not energy_by_downsets(started(problem), least(problem)[1], spent)


def test_with_a_gap_only_what_is_better_by_that_share_is_looked_for() -> None:
    problem = with_idle_power(problem_of(3, (1, 1, 1), "switch", 6, plain=True), 3)
    pool = started(problem)
    energy_j, period_s = least(problem)
    bound = energy_by_downsets(pool, period_s, no_limit, gap=0.3)
    assert bound is not None
    assert bound <= energy_j
    assert bound >= 0.69 * pool.best_value("energy")
